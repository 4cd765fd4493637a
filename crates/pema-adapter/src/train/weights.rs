//! A phase's trained matrices.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::config::AdapterConfig;
use crate::{attention, copying, recall};

/// A phase's trained matrices: `A [d, r]` with `B_rct` (phase 1) or `B_pd` (phase 2), `[r, d]`, and
/// what phase 2 has beside these. Or something of each of them, as their gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights<T = Tensor<2>> {
    /// `A`, `[(prefix + 1) d, r]` with local context.
    pub a: T,
    /// `B_rct` or `B_pd`.
    pub b: T,
    /// Phase 2's others, if the settings want them.
    pub extras: BTreeMap<Extra, T>,
}

/// A matrix of phase 2 that the paper's method does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extra {
    /// For copying: `[d + 10, r]`.
    Copy,
    /// For recall of the text so far: `[2 d + r + 2, r]`.
    Recall,
    /// For attention over the prompt: `[2 d + r + 1, r]`.
    Attend,
}

impl<T> Weights<T> {
    /// The paper's two.
    pub fn new(a: T, b: T) -> Self {
        Self { a, b, extras: BTreeMap::new() }
    }

    /// Each through `f`.
    pub(crate) fn map<U>(self, mut f: impl FnMut(T) -> U) -> Weights<U> {
        let extras = self.extras.into_iter().map(|(extra, matrix)| (extra, f(matrix)));
        Weights { extras: extras.collect(), a: f(self.a), b: f(self.b) }
    }

    /// Each with its counterpart; `other` has the same extras.
    pub(crate) fn zip<U>(self, mut other: Weights<U>) -> Weights<(T, U)> {
        let extras = self.extras.into_iter().filter_map(|(extra, matrix)| Some((extra, (matrix, other.extras.remove(&extra)?))));
        Weights { extras: extras.collect(), a: (self.a, other.a), b: (self.b, other.b) }
    }

    /// Each by reference.
    pub(crate) fn as_ref(&self) -> Weights<&T> {
        let extras = self.extras.iter().map(|(&extra, matrix)| (extra, matrix)).collect();
        Weights { a: &self.a, b: &self.b, extras }
    }

    /// Each with its name in files.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &T)> {
        let extras = self.extras.iter().map(|(extra, matrix)| (extra.name(), matrix));
        [("a", &self.a), ("b", &self.b)].into_iter().chain(extras)
    }
}

impl Extra {
    const ALL: [Self; 3] = [Self::Copy, Self::Recall, Self::Attend];

    /// Those that an adapter of these settings has.
    pub(crate) fn of(config: &AdapterConfig) -> impl Iterator<Item = Self> {
        let has = [config.copy, config.recall, config.attend];
        Self::ALL.into_iter().zip(has).filter_map(|(extra, has)| has.then_some(extra))
    }

    /// Its name in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Recall => "recall",
            Self::Attend => "attend",
        }
    }

    /// `[rows, r]`, for hidden states of `d` entries.
    pub(crate) fn shape(self, d: usize, r: usize) -> [usize; 2] {
        let rows = match self {
            Self::Copy => copying::weight_rows(d),
            Self::Recall => recall::weight_rows(d, r),
            Self::Attend => attention::weight_rows(d, r),
        };
        [rows, r]
    }

    /// The initial weights, row-major.
    pub(crate) fn initial(self, d: usize, r: usize, seed: u64) -> Vec<f32> {
        match self {
            Self::Copy => copying::initial_weights(d, r, seed, 3),
            // Recall draws two streams.
            Self::Recall => recall::initial_weights(d, r, seed, 4),
            Self::Attend => attention::initial_weights(d, r, seed, 6),
        }
    }
}
