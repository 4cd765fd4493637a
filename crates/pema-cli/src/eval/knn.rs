//! kNN-LM (Khandelwal et al. 2020, arXiv 1911.00172) on the external memory: exact search, squared
//! Euclidean distance, `p(y)` the neighbours' softmax weights whose target is `y`.

use std::sync::Arc;

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};
use futures::executor::block_on;
use half::f16;
use pema_adapter::{HostRows, Memory};
use pema_core::{align::Contexts, id::TokenId};
use serde::{Deserialize, Serialize};

use super::{
    contexts::Reference,
    likelihood::{FORMS, Scored, choose},
};

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

/// kNN-LM's probabilities beside the PLM's, of validation and test references, with neighbours and
/// temperature chosen on validation references.
pub fn score(
    memory: &Memory<Arc<HostRows>>,
    sets: [&[Reference]; 2],
    plm: &[Vec<Scored>; 2],
    device: &Device,
) -> Result<([Vec<Scored>; 2], Tuned)> {
    let (h, y) = memory.training_rows()?;
    let store = Datastore::new(h, memory.d(), y, device);
    let search = |reference: &Reference| {
        let all: Vec<&[f16]> = reference.h.chunks_exact(memory.d()).collect();
        let queries = match memory.contexts() {
            Contexts::Steps => all,
            // `f(prompt)` before each token.
            Contexts::Prompt | Contexts::PromptAll => vec![all[0]; all.len()],
        };
        store.search(&queries, &reference.target)
    };
    let search_all = |set: &[Reference]| set.iter().map(search).collect::<Result<Vec<Vec<Neighbours>>>>();
    let found = [search_all(sets[0])?, search_all(sets[1])?];
    let with = |set: usize, Tuned { k, temperature }: Tuned| -> Vec<Scored> {
        let one = |(plm, found): (&Scored, &Vec<Neighbours>)| {
            let method = found.iter().map(|near| near.probability(k, temperature)).collect();
            Scored { method, geometric: Vec::new(), gate: Vec::new(), ..plm.clone() }
        };
        plm[set].iter().zip(&found[set]).map(one).collect()
    };
    let nearest: Vec<f32> = found[0].iter().flatten().map(Neighbours::nearest).collect();
    let unit = (nearest.iter().sum::<f32>() / nearest.len() as f32).max(f32::MIN_POSITIVE);
    let mut best = (f64::INFINITY, Tuned { k: NEIGHBOURS[0], temperature: unit });
    for k in NEIGHBOURS {
        for temperature in TEMPERATURES {
            let tuned = Tuned { k, temperature: temperature * unit };
            let choice = choose(&with(0, tuned), &FORMS[..1])?;
            if choice.perplexity < best.0 {
                best = (choice.perplexity, tuned);
            }
        }
    }
    let (_, tuned) = best;
    Ok(([with(0, tuned), with(1, tuned)], tuned))
}

/// Rows of the memory, `[n, d]`, with their targets.
struct Datastore {
    h: Tensor<2>,
    /// `|h|^2`, `[1, n]`.
    norms: Tensor<2>,
    y: Vec<TokenId>,
    device: Device,
}

/// The nearest rows of one query, nearest first: squared distance, and whether the target is the
/// one asked about.
struct Neighbours(Vec<(f32, bool)>);

impl Datastore {
    /// A datastore of rows of `d` entries.
    fn new(h: Vec<f32>, d: usize, y: Vec<TokenId>, device: &Device) -> Self {
        let h = Tensor::<2>::from_data(TensorData::new(h, [y.len(), d]), device);
        let norms = h.clone().square().sum_dim(1).transpose();
        Self { h, norms, y, device: device.clone() }
    }

    /// The neighbours of each query `[d]` with the token that is asked about.
    fn search(&self, queries: &[&[f16]], tokens: &[TokenId]) -> Result<Vec<Neighbours>> {
        let d = self.h.dims()[1];
        let values: Vec<f32> = queries.iter().flat_map(|h| h.iter().map(|x| x.to_f32())).collect();
        let queries = Tensor::<2>::from_data(TensorData::new(values, [queries.len(), d]), &self.device);
        let norms = queries.clone().square().sum_dim(1);
        let distances = norms + self.norms.clone() - queries.matmul(self.h.clone().transpose()).mul_scalar(2.0);
        let distances: Vec<f32> = block_on(distances.into_data_async())?.try_into_vec_as()?;
        let nearest = |(distances, token): (&[f32], &TokenId)| {
            let mut all: Vec<(f32, bool)> =
                distances.iter().zip(&self.y).map(|(distance, y)| (distance.max(0.0), y == token)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            all.truncate(NEIGHBOURS_MAX);
            Neighbours(all)
        };
        Ok(distances.chunks(self.y.len()).zip(tokens).map(nearest).collect())
    }
}

impl Neighbours {
    /// Squared distance to the nearest row.
    fn nearest(&self) -> f32 {
        self.0.first().map_or(0.0, |(distance, _)| *distance)
    }

    /// `p(token)` from the `k` nearest at a temperature.
    fn probability(&self, k: usize, temperature: f32) -> f32 {
        let (mut mass, mut hit) = (0.0, 0.0);
        for (distance, is_token) in self.0.iter().take(k) {
            let weight = (-(distance - self.nearest()) / temperature).exp();
            mass += weight;
            hit += if *is_token { weight } else { 0.0 };
        }
        hit / mass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_probabilities_are_as_computed_by_hand() {
        let store = Datastore::new(vec![0.0, 0.0, 3.0, 4.0, 1.0, 0.0], 2, [7, 8, 7].map(TokenId).to_vec(), &Device::flex());
        let query = [f16::ZERO, f16::ZERO];
        let found = store.search(&[&query, &query], &[TokenId(7), TokenId(8)]).unwrap();
        assert_eq!(found[0].0, [(0.0, true), (1.0, true), (25.0, false)]);
        assert_eq!(found[0].probability(1, 1.0), 1.0);
        let expected = (-2.5_f32).exp() / (1.0 + (-0.1_f32).exp() + (-2.5_f32).exp());
        assert!((found[1].probability(3, 10.0) - expected).abs() < 1e-6);
    }
}
