//! kNN-LM (Khandelwal et al. 2020, arXiv 1911.00172) on the external memory: exact search, squared
//! Euclidean distance, `p(y)` the neighbours' softmax weights whose target is `y`.

use std::{ops::ControlFlow, sync::Arc};

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};
use futures::executor::block_on;
use half::f16;
use pema_adapter::{ContextStream, Hidden, HostRows, Memory, Mixer};
use pema_core::{
    align::Contexts,
    id::TokenId,
    sampling::{argmax, repeats, rule_out},
    schedule::Mix,
    wire::PromptStates,
};
use serde::{Deserialize, Serialize};

use super::{
    contexts::Reference,
    likelihood::{CONSTANT, Scored, choose},
};
use crate::{client::Stream, writer::TextArgs};

/// Most neighbours that are looked at.
const NEIGHBOURS_MAX: usize = 1024;

/// Numbers of neighbours that are compared.
const NEIGHBOURS: [usize; 4] = [8, 64, 256, 1024];

/// Temperatures that are compared, in units of the mean squared distance to the nearest row.
const TEMPERATURES: [f32; 5] = [0.01, 0.03, 0.1, 0.3, 1.0];

/// What is tuned on validation references.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// Neighbours.
    pub k: usize,
    /// Of the softmax over squared distances.
    pub temperature: f32,
}

/// kNN-LM on a memory's training rows, before or after it is tuned.
#[derive(Clone, Debug)]
pub struct Knn {
    store: Datastore,
    /// Which contexts the rows are of.
    contexts: Contexts,
}

/// One reference's neighbours, those of each token.
type Found = Vec<Neighbours>;

impl Knn {
    /// Of the training rows.
    pub fn new(memory: &Memory<Arc<HostRows>>, device: &Device) -> Result<Self> {
        let (h, y) = memory.training_rows()?;
        Ok(Self { store: Datastore::new(h, memory.d(), y, device), contexts: memory.contexts() })
    }

    /// Probabilities beside the PLM's, of validation and test references, with neighbours and temperature
    /// chosen on validation references.
    pub fn score(&self, sets: [&[Reference]; 2], plm: &[Vec<Scored>; 2]) -> Result<([Vec<Scored>; 2], Tuned)> {
        let found = [self.search(sets[0])?, self.search(sets[1])?];
        let with = |set: usize, tuned: Tuned| -> Vec<Scored> {
            let one = |(plm, (reference, found)): (&Scored, (&Reference, &Found))| {
                let each = reference.target.iter().zip(found);
                let method = each.map(|(token, near)| near.probability(*token, tuned)).collect();
                Scored::of_tokens(plm.plm.clone(), method, plm.source_len)
            };
            plm[set].iter().zip(sets[set].iter().zip(&found[set])).map(one).collect()
        };
        let nearest: Vec<f32> = found[0].iter().flatten().map(Neighbours::nearest).collect();
        let unit = (nearest.iter().sum::<f32>() / nearest.len() as f32).max(f32::MIN_POSITIVE);
        let mut best = (f64::INFINITY, Tuned { k: NEIGHBOURS[0], temperature: unit });
        for k in NEIGHBOURS {
            for temperature in TEMPERATURES {
                let tuned = Tuned { k, temperature: temperature * unit };
                let choice = choose(&with(0, tuned), &[CONSTANT])?;
                if choice.perplexity < best.0 {
                    best = (choice.perplexity, tuned);
                }
            }
        }
        let (_, tuned) = best;
        Ok(([with(0, tuned), with(1, tuned)], tuned))
    }

    fn search(&self, set: &[Reference]) -> Result<Vec<Found>> {
        let d = self.store.d();
        let one = |reference: &Reference| {
            let all: Vec<&[f16]> = reference.h.chunks_exact(d).collect();
            let queries = match self.contexts {
                Contexts::Steps => all,
                // `f(prompt)` before each token.
                Contexts::Prompt | Contexts::PromptAll => vec![all[0]; all.len()],
            };
            block_on(self.store.search(&queries))
        };
        set.iter().map(one).collect()
    }
}

/// The mixture of the PLM with neighbours, as it writes.
pub struct Writing<'a> {
    /// Who finds neighbours.
    pub knn: &'a Knn,
    /// How many, and how they count.
    pub tuned: Tuned,
    /// Gives the PLM's distribution.
    pub plm: &'a Mixer,
    /// The neighbours' weight.
    pub lambda: f32,
    /// Of the text.
    pub bounds: TextArgs,
}

impl Writing<'_> {
    /// Writes greedily after a prompt, until `on_token` breaks or there are as many tokens as there may be.
    pub async fn write(
        &self,
        stream: &mut Stream,
        prompt: &[TokenId],
        mut on_token: impl FnMut(TokenId) -> ControlFlow<()>,
    ) -> Result<()> {
        let TextArgs { no_repeat, max_tokens, .. } = self.bounds;
        let h_prompt = stream.start(prompt, PromptStates::Last).await?.h;
        let (mut current, mut written) = (h_prompt.clone(), Vec::with_capacity(max_tokens));
        for step in 1..=max_tokens {
            let hidden = Hidden { prompt: &h_prompt, current: &current };
            let mut log_p = self.plm.distributions(hidden, prompt, &written, Mix::PLM).await?.mixture;
            let query = match self.knn.contexts {
                Contexts::Steps => &current,
                Contexts::Prompt | Contexts::PromptAll => &h_prompt,
            };
            for near in self.knn.store.search(&[query]).await? {
                near.mix(self.tuned, self.lambda, &mut log_p);
            }
            rule_out(&mut log_p, &repeats(&written, no_repeat));
            let token = argmax(&log_p);
            if on_token(token).is_break() || step == max_tokens {
                break;
            }
            written.push(token);
            current = stream.push(token).await?.h;
        }
        Ok(())
    }
}

/// Rows of the memory, `[n, d]`, with their targets.
#[derive(Clone, Debug)]
struct Datastore {
    h: Tensor<2>,
    /// `|h|^2`, `[1, n]`.
    norms: Tensor<2>,
    y: Vec<TokenId>,
    device: Device,
}

/// The nearest rows of one query, nearest first: squared distance and target.
struct Neighbours(Vec<(f32, TokenId)>);

impl Datastore {
    /// A datastore of rows of `d` entries.
    fn new(h: Vec<f32>, d: usize, y: Vec<TokenId>, device: &Device) -> Self {
        let h = Tensor::<2>::from_data(TensorData::new(h, [y.len(), d]), device);
        let norms = h.clone().square().sum_dim(1).transpose();
        Self { h, norms, y, device: device.clone() }
    }

    /// Entries of a row.
    fn d(&self) -> usize {
        self.h.dims()[1]
    }

    /// The neighbours of each query `[d]`.
    async fn search(&self, queries: &[impl AsRef<[f16]>]) -> Result<Vec<Neighbours>> {
        let values: Vec<f32> = queries.iter().flat_map(|h| h.as_ref().iter().map(|x| x.to_f32())).collect();
        let queries = Tensor::<2>::from_data(TensorData::new(values, [queries.len(), self.d()]), &self.device);
        let norms = queries.clone().square().sum_dim(1);
        let distances = norms + self.norms.clone() - queries.matmul(self.h.clone().transpose()).mul_scalar(2.0);
        let distances: Vec<f32> = distances.into_data_async().await?.try_into_vec_as()?;
        let nearest = |distances: &[f32]| {
            let mut all: Vec<(f32, TokenId)> = distances.iter().zip(&self.y).map(|(x, y)| (x.max(0.0), *y)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            all.truncate(NEIGHBOURS_MAX);
            Neighbours(all)
        };
        Ok(distances.chunks(self.y.len()).map(nearest).collect())
    }
}

impl Neighbours {
    /// Squared distance to the nearest row.
    fn nearest(&self) -> f32 {
        self.0.first().map_or(0.0, |(distance, _)| *distance)
    }

    /// The `k` nearest rows' targets with their share of the probability.
    fn weights(&self, Tuned { k, temperature }: Tuned) -> impl Iterator<Item = (TokenId, f32)> {
        let weight = move |distance: f32| (-(distance - self.nearest()) / temperature).exp();
        let near = || self.0.iter().take(k);
        let mass: f32 = near().map(|(distance, _)| weight(*distance)).sum();
        near().map(move |(distance, token)| (*token, weight(*distance) / mass))
    }

    /// Turns the PLM's log-probabilities `[v]` into those of the weighted mean.
    fn mix(&self, tuned: Tuned, lambda: f32, log_p: &mut [f32]) {
        log_p.iter_mut().for_each(|log_p| *log_p += (1.0 - lambda).ln());
        for (token, p) in self.weights(tuned) {
            if let Some(log_p) = log_p.get_mut(token.0 as usize) {
                *log_p = (log_p.exp() + lambda * p).ln();
            }
        }
    }

    /// `p(token)`.
    fn probability(&self, token: TokenId, tuned: Tuned) -> f32 {
        self.weights(tuned).filter(|(y, _)| *y == token).map(|(_, p)| p).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_probabilities_are_as_computed_by_hand() {
        let store = Datastore::new(vec![0.0, 0.0, 3.0, 4.0, 1.0, 0.0], 2, [7, 8, 7].map(TokenId).to_vec(), &Device::flex());
        let query = [f16::ZERO, f16::ZERO];
        let found = &block_on(store.search(&[query])).unwrap()[0];
        assert_eq!(found.0, [(0.0, TokenId(7)), (1.0, TokenId(7)), (25.0, TokenId(8))]);
        assert_eq!(found.probability(TokenId(7), Tuned { k: 1, temperature: 1.0 }), 1.0);
        let expected = (-2.5_f32).exp() / (1.0 + (-0.1_f32).exp() + (-2.5_f32).exp());
        let three = Tuned { k: 3, temperature: 10.0 };
        assert!((found.probability(TokenId(8), three) - expected).abs() < 1e-6);
        assert!((found.weights(three).map(|(_, p)| p).sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_mixture_is_the_weighted_mean() {
        let near = Neighbours(vec![(0.0, TokenId(1)), (0.0, TokenId(9)), (0.0, TokenId(1)), (7.0, TokenId(0))]);
        let mut log_p = [0.5_f32, 0.3, 0.2].map(f32::ln);
        near.mix(Tuned { k: 3, temperature: 1.0 }, 0.3, &mut log_p);
        // A token that the head lacks takes its share with it.
        for (found, expected) in log_p.iter().zip([0.35, 0.41, 0.14]) {
            assert!((found.exp() - expected).abs() < 1e-6, "{} instead of {expected}", found.exp());
        }
    }
}
