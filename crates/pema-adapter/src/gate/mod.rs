//! A learned weight of the mixture: `lambda_t = sigma(w . [h, z, t/SL, H, top, 1])`.
//!
//! The schedules give the adapter the same weight whatever it and the PLM think of the next token. A
//! gate looks at both first: at the hidden state `h [d]` that the adapter is given and its `z [r]`, each
//! at unit length (unit root mean square over `sqrt(d)` or `sqrt(r)`, so that to the penalty each counts
//! as one feature), at `t / SL`, and at the entropy and the largest log-probability of either's
//! distribution, in units of `ln v`. That is a logistic regression of `d + r + 6` weights, a bias among
//! them, saved beside the adapter's matrices as `gate [1, d + r + 6]`.
//!
//! # What it learns from
//!
//! The memory's validation pairs, on which the adapter itself has not learned, with the memory's own
//! contexts: nothing leaves the data owner's machine. It minimises the mean of
//! `-log(lambda p_PEMA(y) + (1 - lambda) p_PLM(y))` ([`fit`]). What the PLM's probability of a target
//! token means is what `p_PLM = softmax(head(h_i))` says. `h_i` follows the PLM's own words, so past a
//! target's first token that is lower than it would be after the target's, and the gate learns to trust the
//! adapter somewhat too much there; `lambda_max` bounds it. Where the memory is paired by alignment a pair
//! counts as in training, the less the further both texts are apart. Contexts of the prompt alone follow no
//! words: of a target its first token alone could teach, where an adapter has most to say, so a gate is
//! refused.
//!
//! Fewer than [`PAIRS_MIN`] such pairs are refused before training begins.

mod examples;
pub(crate) mod fit;
mod lbfgs;

use serde::{Deserialize, Serialize};

pub(crate) use self::examples::Examples;
use crate::distribution::{entropy, largest};
use crate::memory::{Memory, Rows};
use crate::tensor_file::{FileError, Matrix, TensorFile};

/// Pairs that a gate needs at least.
pub(crate) const PAIRS_MIN: usize = 16;

/// Pairs that a gate looks at most: each costs two rows of logits.
const PAIRS_MAX: usize = 2048;

/// The largest `t / SL` that is told apart.
const PROGRESS_MAX: f32 = 2.0;

/// Features beside `h` and `z`: `t / SL`, two entropies, two largest log-probabilities, and 1.
const OTHERS: usize = 6;

/// A trained gate: `w [d + r + 6]` in the order of the formula, the adapter's before the PLM's.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    weights: Vec<f32>,
}

/// What a gate gives on validation pairs that it did not learn from, beside the best constant weight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateFit {
    /// Pairs that it learned from.
    pub pairs: usize,
    /// Mean negative log-likelihood of the mixture with the gate's weights.
    pub loss: f32,
    /// The same with the best constant weight.
    pub constant_loss: f32,
    /// That weight, in `[0, 1]`.
    pub lambda: f32,
}

/// What there is to see of one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight<'a> {
    /// The adapter's context, `[d]`.
    pub(crate) h: &'a [f32],
    /// `[r]`.
    pub(crate) z: &'a [f32],
    /// `t / SL`.
    pub(crate) progress: f32,
    /// The adapter's log-probabilities, `[v]`.
    pub(crate) pema: &'a [f32],
    /// The PLM's, `[v]`.
    pub(crate) plm: &'a [f32],
}

impl Gate {
    /// The gate of a file, for hidden states of `d` entries and an adapter of rank `r`.
    pub(crate) fn read(file: &TensorFile<'_>, d: usize, r: usize) -> Result<Self, FileError> {
        Ok(Self { weights: file.matrix("gate", [1, d + r + OTHERS])?.values })
    }

    /// The weights, to be saved.
    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// `lambda` of a step, in `[0, 1]`.
    pub(crate) fn lambda(&self, sight: Sight<'_>) -> f32 {
        let mut features = Vec::with_capacity(self.weights.len());
        sight.push_features(&mut features);
        let u: f64 = self.weights.iter().zip(&features).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
        sigmoid(u) as f32
    }
}

impl From<&Gate> for Matrix {
    fn from(gate: &Gate) -> Self {
        Self { shape: [1, gate.weights.len()], values: gate.weights.clone() }
    }
}

impl Sight<'_> {
    /// Appends the features.
    fn push_features(&self, out: &mut Vec<f32>) {
        let unit = (self.plm.len() as f32).ln().max(f32::MIN_POSITIVE);
        push_at_unit_length(self.h, out);
        push_at_unit_length(self.z, out);
        out.push(self.progress.min(PROGRESS_MAX));
        out.extend([entropy(self.pema), entropy(self.plm), largest(self.pema), largest(self.plm)].map(|nats| nats / unit));
        out.push(1.0);
    }
}

fn push_at_unit_length(x: &[f32], out: &mut Vec<f32>) {
    let length = x.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    out.extend(x.iter().map(|x| x / length));
}

/// `1 / (1 + e^-u)`.
fn sigmoid(u: f64) -> f64 {
    (1.0 + (-u).exp()).recip()
}

/// The pairs of `memory` that a gate learns from, evenly spaced where there are very many.
pub(crate) fn pairs<R: Rows>(memory: &Memory<R>) -> Vec<usize> {
    let valid = memory.valid();
    let looked_at = valid.len().min(PAIRS_MAX);
    (0..looked_at).map(|i| valid[i * valid.len() / looked_at]).collect()
}

#[cfg(test)]
mod tests;
