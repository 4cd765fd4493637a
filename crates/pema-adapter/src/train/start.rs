//! What training starts from: its weights, and a memory that fits the head.

use burn::tensor::Device;
use pema_core::id::TokenId;

use super::{TrainError, Weights};
use crate::config::AdapterConfig;
use crate::copying::{initial_weights, weight_rows};
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
    /// Phase 2's weights for copying, `[d + 10, r]`; none where the adapter does not copy.
    pub copy: Vec<f32>,
}

impl InitialWeights {
    /// Draws the weights from the config's seed.
    pub fn drawn(config: &AdapterConfig, d: usize) -> Self {
        let (seen, entries) = (config.seen(d), d * config.rank);
        let a = |phase| uniform(seen * config.rank, 1.0 / (seen as f32).sqrt(), config.seed, phase);
        let copy = if config.copy { initial_weights(d, config.rank, config.seed, 3) } else { Vec::new() };
        Self { a_rct: a(1), b_rct: vec![0.0; entries], a: a(2), b_pd: vec![0.0; entries], copy }
    }

    /// Name, entries found and entries expected of the first matrix that does not fit.
    pub(crate) fn misfit(&self, config: &AdapterConfig, d: usize) -> Option<(&'static str, usize, usize)> {
        let Self { a_rct, b_rct, a, b_pd, copy } = self;
        let (of_a, of_b) = (config.seen(d) * config.rank, d * config.rank);
        let of_copy = if config.copy { weight_rows(d) * config.rank } else { 0 };
        [("a_rct", a_rct, of_a), ("b_rct", b_rct, of_b), ("a", a, of_a), ("b_pd", b_pd, of_b), ("copy", copy, of_copy)]
            .map(|(name, values, expected)| (name, values.len(), expected))
            .into_iter()
            .find(|(_, found, expected)| found != expected)
    }

    /// Both phases' weights on `device`.
    pub(crate) fn upload(self, config: &AdapterConfig, d: usize, device: &Device) -> (Weights, Weights) {
        let (seen, r) = (config.seen(d), config.rank);
        let a = |values| Matrix { shape: [seen, r], values }.upload(device);
        let b = |values| Matrix { shape: [r, d], values }.upload(device);
        let reconstruction = Weights { a: a(self.a_rct), b: b(self.b_rct), copy: None };
        let copy = config.copy.then(|| Matrix { shape: [weight_rows(d), r], values: self.copy }.upload(device));
        (reconstruction, Weights { a: a(self.a), b: b(self.b_pd), copy })
    }
}

/// A memory that the head cannot judge is refused before any step.
pub(crate) fn check_fit<R: Rows>(config: &AdapterConfig, memory: &Memory<R>, head: &Head) -> Result<(), TrainError> {
    let (asked, held) = (config.contexts, memory.contexts());
    if asked != held {
        return Err(TrainError::OtherContexts { asked, held });
    }
    if config.copy && !memory.has_prompts() {
        return Err(TrainError::NothingToCopy);
    }
    if memory.d() != head.d() {
        return Err(TrainError::OtherModel { memory: memory.d(), head: head.d() });
    }
    match memory.largest_token() {
        Some(TokenId(id)) if id as usize >= head.v() => Err(LossError::Target { target: TokenId(id), v: head.v() }.into()),
        _ => Ok(()),
    }
}
