//! Phase 2's vocabulary: all of the head's rows, or those of tokens that the memory meets.
//!
//! A data owner's targets use a small part of the model's vocabulary. With the softmax over that part
//! alone, the head loss, nearly all of phase 2's work, shrinks with it. What an adapter never met has
//! probability 0 under it; in a mixture the PLM's distribution stays whole.

use std::collections::BTreeSet;

use burn::tensor::{Tensor, TensorData};
use pema_core::id::TokenId;
use serde::{Deserialize, Serialize};

use crate::config::AdapterConfig;
use crate::head::Head;
use crate::memory::{Memory, Rows};
use crate::tensor_file::read_f32;
use crate::train::TrainError;

/// Rows of the memory whose logits are looked at together.
const ROWS_PER_LOOK: usize = 64;

/// What phase 2's softmax is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Vocabulary {
    /// Every token, as the paper.
    #[default]
    Full,
    /// Tokens that occur in targets, or are to be imitated, and those that the PLM finds likeliest in a training context.
    Met {
        /// How many of these in each context; more than 0 costs a pass over the memory.
        top_k: usize,
    },
}

/// The tokens of a vocabulary that is not full, ascending; at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<TokenId>", into = "Vec<TokenId>")]
pub(crate) struct Kept(Vec<TokenId>);

impl Kept {
    /// The tokens that `memory` meets; none if the vocabulary is full.
    pub(crate) async fn of<R: Rows>(config: &AdapterConfig, memory: &Memory<R>, head: &Head) -> Result<Option<Self>, TrainError> {
        let Vocabulary::Met { top_k } = config.vocabulary else { return Ok(None) };
        let mut met: BTreeSet<TokenId> = taught(config, memory).collect();
        let contexts = if top_k > 0 { memory.training_contexts() } else { Vec::new() };
        for rows in contexts.chunks(ROWS_PER_LOOK) {
            let h = TensorData::new(memory.contexts_at(rows)?, [rows.len(), memory.d()]);
            let logits = read_f32(head.logits(Tensor::from_data(h, head.device())).await?).await?;
            met.extend(logits.chunks_exact(head.v()).flat_map(|logits| likeliest(logits, top_k)));
        }
        Ok(Some(Self(met.into_iter().collect())))
    }

    /// The tokens.
    pub(crate) fn tokens(&self) -> &[TokenId] {
        &self.0
    }

    /// Each token's place among these; one that no head has for another token.
    pub(crate) fn places(&self, tokens: &[TokenId]) -> Vec<TokenId> {
        tokens.iter().map(|token| TokenId(self.0.binary_search(token).map_or(u32::MAX, |place| place as u32))).collect()
    }

    /// Whether all that `memory` teaches is among these, and all of these in the head.
    pub(crate) fn fits<R: Rows>(&self, config: &AdapterConfig, memory: &Memory<R>, head: &Head) -> bool {
        let has = |token: TokenId| self.0.binary_search(&token).is_ok();
        taught(config, memory).all(has) && self.0.iter().all(|token| (token.0 as usize) < head.v())
    }

    /// Rules the other tokens out of logits `[v]`.
    pub(crate) fn restrict(&self, logits: &mut [f32]) {
        let mut kept = self.0.iter().peekable();
        for (token, logit) in (0..).zip(logits) {
            if kept.next_if_eq(&&TokenId(token)).is_none() {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

impl TryFrom<Vec<TokenId>> for Kept {
    type Error = &'static str;

    fn try_from(tokens: Vec<TokenId>) -> Result<Self, Self::Error> {
        match !tokens.is_empty() && tokens.is_sorted_by(|a, b| a < b) {
            true => Ok(Self(tokens)),
            false => Err("its vocabulary must be tokens in ascending order"),
        }
    }
}

impl From<Kept> for Vec<TokenId> {
    fn from(kept: Kept) -> Self {
        kept.0
    }
}

/// The tokens that training has as targets.
fn taught<R: Rows>(config: &AdapterConfig, memory: &Memory<R>) -> impl Iterator<Item = TokenId> {
    memory.targets().chain(memory.own_words().filter(|_| config.contrast))
}

/// The `k` tokens of the largest logits.
fn likeliest(logits: &[f32], k: usize) -> impl Iterator<Item = TokenId> {
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let larger = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]);
    if k < ids.len() {
        ids.select_nth_unstable_by(k, larger);
        ids.truncate(k);
    }
    ids.into_iter().map(TokenId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_are_found() {
        let mut two: Vec<u32> = likeliest(&[0.1, 3.0, -2.0, 4.0], 2).map(|token| token.0).collect();
        two.sort_unstable();
        assert_eq!(two, [1, 3]);
        assert_eq!(likeliest(&[0.5, 0.1], 9).count(), 2);
    }

    #[test]
    fn other_tokens_are_ruled_out() {
        let kept: Kept = serde_json::from_str("[1,3,9]").unwrap();
        let mut logits = [1.0, 2.0, 3.0, 4.0];
        kept.restrict(&mut logits);
        assert_eq!(logits, [f32::NEG_INFINITY, 2.0, f32::NEG_INFINITY, 4.0]);
        assert_eq!(kept.places(&[9, 1, 2].map(TokenId)), [2, 0, u32::MAX].map(TokenId));
    }

    #[test]
    fn a_vocabulary_out_of_order_is_refused() {
        for wrong in ["[]", "[3,1]", "[2,2]"] {
            assert!(serde_json::from_str::<Kept>(wrong).is_err(), "{wrong}");
        }
    }
}
