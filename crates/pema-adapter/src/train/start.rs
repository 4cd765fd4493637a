//! What training starts from: its weights, and a memory that fits the head.

use std::collections::BTreeMap;

use burn::tensor::Device;
use pema_core::id::TokenId;

use super::{Extra, TrainError, Weights};
use crate::config::AdapterConfig;
use crate::gate;
use crate::head::Head;
use crate::head_loss::LossError;
use crate::memory::{Memory, Rows};
use crate::random::uniform;
use crate::tensor_file::Matrix;

/// Row-major initial weights of both phases.
///
/// [`InitialWeights::drawn`] is the reference's choice: `A` uniform within `1 / sqrt(d)`, `B` zero.
#[derive(Clone, Debug, PartialEq)]
pub struct InitialWeights {
    /// Phase 1's `A [d, r]`, `[(prefix + 1) d, r]` with local context.
    pub a_rct: Vec<f32>,
    /// `B_rct [r, d]`.
    pub b_rct: Vec<f32>,
    /// Phase 2's `A`.
    pub a: Vec<f32>,
    /// `B_pd [r, d]`.
    pub b_pd: Vec<f32>,
    /// Phase 2's others, if the settings want them.
    pub extras: BTreeMap<Extra, Vec<f32>>,
}

impl InitialWeights {
    /// Draws the weights from the config's seed.
    pub fn drawn(config: &AdapterConfig, d: usize) -> Self {
        let (seen, entries) = (config.seen(d), d * config.rank);
        let a = |phase| uniform(seen * config.rank, 1.0 / (seen as f32).sqrt(), config.seed, phase);
        let extras = Extra::of(config).map(|extra| (extra, extra.initial(d, config.rank, config.seed)));
        Self { a_rct: a(1), b_rct: vec![0.0; entries], a: a(2), b_pd: vec![0.0; entries], extras: extras.collect() }
    }

    /// Name, entries found and entries expected of the first matrix that does not fit.
    pub(crate) fn misfit(&self, config: &AdapterConfig, d: usize) -> Option<(&'static str, usize, usize)> {
        let Self { a_rct, b_rct, a, b_pd, extras } = self;
        let (of_a, of_b) = (config.seen(d) * config.rank, d * config.rank);
        let own = [("a_rct", a_rct.len(), of_a), ("b_rct", b_rct.len(), of_b), ("a", a.len(), of_a), ("b_pd", b_pd.len(), of_b)];
        let extras = Extra::of(config).map(|extra| {
            let found = extras.get(&extra).map_or(0, Vec::len);
            (extra.name(), found, extra.shape(d, config.rank).iter().product())
        });
        own.into_iter().chain(extras).find(|(_, found, expected)| found != expected)
    }

    /// Both phases' weights on `device`.
    pub(crate) fn upload(mut self, config: &AdapterConfig, d: usize, device: &Device) -> (Weights, Weights) {
        let (seen, r) = (config.seen(d), config.rank);
        let upload = |values, shape| Matrix { shape, values }.upload(device);
        let weights = |a, b| Weights::new(upload(a, [seen, r]), upload(b, [r, d]));
        let reconstruction = weights(self.a_rct, self.b_rct);
        let mut prediction = weights(self.a, self.b_pd);
        for extra in Extra::of(config) {
            let values = self.extras.remove(&extra).unwrap_or_default();
            prediction.extras.insert(extra, upload(values, extra.shape(d, r)));
        }
        (reconstruction, prediction)
    }
}

/// A memory that the head cannot judge is refused before any step.
pub(crate) fn check_fit<R: Rows>(config: &AdapterConfig, memory: &Memory<R>, head: &Head) -> Result<(), TrainError> {
    let (asked, held) = (config.contexts, memory.contexts());
    if asked != held {
        return Err(TrainError::OtherContexts { asked, held });
    }
    let (asked, held) = (config.pairing, memory.pairing());
    if asked != held {
        return Err(TrainError::OtherPairing { asked, held });
    }
    if config.copy && !memory.has_prompts() {
        return Err(TrainError::NothingToCopy);
    }
    if config.contrast && !memory.has_runs() {
        return Err(TrainError::NothingToImitate);
    }
    let (pairs, needed) = (memory.valid().len(), gate::PAIRS_MIN);
    if config.gate && pairs < needed {
        return Err(TrainError::TooFewForAGate { pairs, needed });
    }
    if memory.d() != head.d() {
        return Err(TrainError::OtherModel { memory: memory.d(), head: head.d() });
    }
    let of_model = memory.own_words().filter(|_| config.contrast).max();
    match memory.largest_token().max(of_model) {
        Some(TokenId(id)) if id as usize >= head.v() => Err(LossError::Target { target: TokenId(id), v: head.v() }.into()),
        _ => Ok(()),
    }
}
