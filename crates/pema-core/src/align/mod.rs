//! Joining a memory's rows with the local targets.
//!
//! With [`Contexts::Steps`] by position: `f(c_i)` with `y_i`. Rows past a target's end are not used:
//! step budgets are rounded up so that the service does not learn the target's length. With
//! [`Contexts::Prompt`] a prompt's one row, `f(prompt)`, meets every `y_i` of its target, and with
//! [`Contexts::PromptAll`] the last of its rows. Steps may be paired anew by monotone alignment with the
//! model's own words ([`align_prefixes`]).
//!
//! `y` ends in EOS. A memory may be larger than memory, so rows are joined shard by shard
//! ([`Joiner`]), from their `prompt` and `step` columns alone.

mod error;
mod monotone;
#[cfg(test)]
mod tests;

pub use error::AlignError;
pub use monotone::{Pairing, PrefixMatch, align_prefixes};

use serde::{Deserialize, Serialize};

use crate::id::TokenId;
use crate::wire::{MemoryKind, PromptSpec, bucket_steps};

/// Which context of the model each target token is predicted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contexts {
    /// `f(c_i)`, after the prompt and the model's own first words: one row a token.
    #[default]
    Steps,
    /// `f(prompt)` for every token: one row a prompt. What was said so far must come from
    /// elsewhere.
    Prompt,
    /// The same, with the hidden states of all the prompt's tokens to look back at: one row a token of
    /// the prompt, the last `f(prompt)`.
    PromptAll,
}

impl Contexts {
    /// The kind of memory to ask for.
    pub fn kind(self) -> MemoryKind {
        match self {
            Self::Steps => MemoryKind::Steps,
            Self::Prompt => MemoryKind::Prompt,
            Self::PromptAll => MemoryKind::PromptAll,
        }
    }

    /// The contexts that a memory of this kind gives.
    pub fn of(kind: MemoryKind) -> Self {
        match kind {
            MemoryKind::Steps => Self::Steps,
            MemoryKind::Prompt => Self::Prompt,
            MemoryKind::PromptAll => Self::PromptAll,
        }
    }
}

/// The step budget to ask for, for a target of `target_len` tokens with its EOS: rounded up to a
/// bucket, so that it tells the length only to within [`crate::wire::STEP_BUCKET`].
pub fn step_budget(target_len: usize) -> u32 {
    bucket_steps(u32::try_from(target_len).unwrap_or(u32::MAX))
}

/// The local targets, one for each prompt of a memory, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets(Vec<Vec<TokenId>>);

/// Where a joined pair's hidden state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowRef {
    /// The shard's place in the manifest.
    pub shard: u32,
    /// The row in the shard.
    pub row: u32,
}

/// Pairs of a hidden state and a target token: columns of one length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Where the hidden state is. Pairs of one row follow each other.
    pub rows: Vec<RowRef>,
    /// `y_i`.
    pub y: Vec<TokenId>,
    /// `i`, from 0.
    pub step: Vec<u32>,
    /// The prompt it belongs to.
    pub prompt: Vec<u32>,
}

impl Targets {
    /// Takes the target of every prompt, each ending in `eos`.
    ///
    /// # Errors
    /// [`AlignError::NoEos`] names the first prompt whose target does not.
    pub fn new(targets: Vec<Vec<TokenId>>, eos: TokenId) -> Result<Self, AlignError> {
        match targets.iter().position(|y| y.last() != Some(&eos)) {
            None => Ok(Self(targets)),
            Some(prompt) => Err(AlignError::NoEos { prompt: prompt as u32 }),
        }
    }

    /// Number of prompts.
    pub fn prompts(&self) -> usize {
        self.0.len()
    }

    /// Number of pairs that a complete memory gives.
    pub fn pairs(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// The target of a prompt, with its EOS.
    pub fn of(&self, prompt: u32) -> Option<&[TokenId]> {
        self.0.get(prompt as usize).map(Vec::as_slice)
    }

    /// `y_i` of a prompt at `step`; `None` past the target's end.
    pub fn pair_of(&self, prompt: u32, step: u32) -> Option<TokenId> {
        self.of(prompt)?.get(step as usize).copied()
    }

    /// The step budget of every prompt, as [`step_budget`] has it.
    pub fn budgets(&self) -> Vec<u32> {
        self.0.iter().map(|y| step_budget(y.len())).collect()
    }
}

/// Joins a memory shard by shard and keeps count, so that nothing is missing at the end.
#[derive(Clone, Debug)]
pub struct Joiner<'t> {
    targets: &'t Targets,
    prompts: &'t [PromptSpec],
    contexts: Contexts,
    /// Rows of each prompt so far.
    rows: Vec<u32>,
    /// The last row's prompt.
    running: Option<u32>,
}

impl<'t> Joiner<'t> {
    /// Starts with no rows. `prompts` are those of the targets, in their order; their tokens matter to
    /// [`Contexts::PromptAll`] alone.
    pub fn new(targets: &'t Targets, prompts: &'t [PromptSpec], contexts: Contexts) -> Self {
        Self { targets, prompts, contexts, rows: vec![0; targets.prompts()], running: None }
    }

    /// Joins the rows of one shard, given its `prompt` and `step` columns. Shards may come in any
    /// order; a prompt's rows follow each other, and its steps count from 0.
    ///
    /// # Errors
    /// [`AlignError`] when the rows do not belong to these targets or come twice.
    pub fn add(&mut self, shard: u32, prompt: &[u32], step: &[u32]) -> Result<Joined, AlignError> {
        if prompt.len() != step.len() {
            return Err(AlignError::Columns { shard, prompts: prompt.len(), steps: step.len() });
        }
        let mut joined = Joined::default();
        for (row, (&prompt, &found)) in prompt.iter().zip(step).enumerate() {
            let tokens = self.tokens_of(prompt);
            let Some(expected) = self.rows.get_mut(prompt as usize) else {
                return Err(AlignError::UnknownPrompt { prompt, targets: self.targets.prompts() });
            };
            if found != *expected {
                return Err(AlignError::Step { prompt, expected: *expected, found });
            }
            if found > 0 && self.running != Some(prompt) {
                return Err(AlignError::Scattered { prompt });
            }
            self.running = Some(prompt);
            *expected += 1;
            let row = RowRef { shard, row: row as u32 };
            match self.contexts {
                Contexts::Steps => {
                    if let Some(y) = self.targets.pair_of(prompt, found) {
                        joined.push(row, y, found, prompt);
                    }
                }
                Contexts::Prompt if found > 0 => return Err(AlignError::SecondRow { prompt }),
                Contexts::PromptAll if found as usize >= tokens => {
                    return Err(AlignError::PromptRows { prompt, tokens, rows: found + 1 });
                }
                Contexts::PromptAll if found as usize + 1 < tokens => {}
                Contexts::Prompt | Contexts::PromptAll => {
                    for (step, &y) in (0..).zip(self.targets.of(prompt).unwrap_or_default()) {
                        joined.push(row, y, step, prompt);
                    }
                }
            }
        }
        Ok(joined)
    }

    fn tokens_of(&self, prompt: u32) -> usize {
        self.prompts.get(prompt as usize).map_or(0, |prompt| prompt.tokens.len())
    }

    /// Checks that every token of every target has met its row.
    ///
    /// # Errors
    /// [`AlignError::MissingPrompt`], [`AlignError::TooLong`] or [`AlignError::PromptRows`] names the
    /// first prompt that lacks rows.
    pub fn finish(self) -> Result<(), AlignError> {
        for (prompt, (&rows, y)) in (0..).zip(self.rows.iter().zip(&self.targets.0)) {
            let lacks = |tokens| (rows as usize) < tokens;
            let (of_target, of_prompt) = (y.len(), self.tokens_of(prompt));
            match self.contexts {
                _ if rows == 0 => return Err(AlignError::MissingPrompt { prompt }),
                Contexts::Steps if lacks(of_target) => return Err(AlignError::TooLong { prompt, tokens: of_target, rows }),
                Contexts::PromptAll if lacks(of_prompt) => {
                    return Err(AlignError::PromptRows { prompt, tokens: of_prompt, rows });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Joined {
    fn push(&mut self, row: RowRef, y: TokenId, step: u32, prompt: u32) {
        self.rows.push(row);
        self.y.push(y);
        self.step.push(step);
        self.prompt.push(prompt);
    }

    /// The pairs whose prompt is kept, such as one side of a [`crate::data::Split`].
    pub fn filter(&self, keep: impl Fn(u32) -> bool) -> Self {
        let mut kept = Self::default();
        for (i, &prompt) in self.prompt.iter().enumerate().filter(|(_, prompt)| keep(**prompt)) {
            kept.push(self.rows[i], self.y[i], self.step[i], prompt);
        }
        kept
    }

    /// Puts another shard's pairs after these.
    pub fn append(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.y.extend(other.y);
        self.step.extend(other.step);
        self.prompt.extend(other.prompt);
    }
}

/// Joins a whole memory, given the `(prompt, step)` columns of its shards in manifest order.
///
/// # Errors
/// [`AlignError`] when the memory does not have a row for every target token.
pub fn join<'s>(
    shards: impl IntoIterator<Item = (&'s [u32], &'s [u32])>,
    targets: &Targets,
    prompts: &[PromptSpec],
    contexts: Contexts,
) -> Result<Joined, AlignError> {
    let mut joiner = Joiner::new(targets, prompts, contexts);
    let mut all = Joined::default();
    for (shard, (prompt, step)) in shards.into_iter().enumerate() {
        all.append(joiner.add(shard as u32, prompt, step)?);
    }
    joiner.finish()?;
    Ok(all)
}
