//! What both heads of attention in rank space have: [`crate::recall`] over the text so far and
//! [`crate::attend`] over the prompt.

use burn::tensor::Tensor;

use crate::random::uniform;

/// Adds this to a score to rule its token out: its weight is then 0 in f32.
pub(crate) const RULED_OUT: f32 = -1e9;

/// Rows of the weights' matrix for hidden states of `d` entries.
pub(crate) fn weight_rows(d: usize, r: usize) -> usize {
    2 * d + r + 1
}

/// The initial weights, row-major, from two streams of the seed.
pub(crate) fn initial_weights(d: usize, r: usize, seed: u64, stream: u64) -> Vec<f32> {
    let bound = |inputs: usize| 1.0 / (inputs as f32).sqrt();
    let mut values = uniform(2 * d * r, bound(d), seed, stream);
    values.extend(uniform(r * r, bound(r), seed, stream + 1));
    values.extend(std::iter::repeat_n(0.0, r));
    values
}

/// The parts of a matrix whose first [`weight_rows`] these are; a head may have more.
pub(crate) struct AttentionWeights<'a> {
    /// All of them.
    pub(crate) matrix: &'a Tensor<2>,
    /// Entries of a hidden state.
    pub(crate) d: usize,
    /// The rank.
    pub(crate) r: usize,
}

impl AttentionWeights<'_> {
    fn rows(&self, from: usize, rows: usize) -> Tensor<2> {
        self.matrix.clone().narrow(0, from, rows)
    }

    /// `K [d, r]`.
    pub(crate) fn keys(&self) -> Tensor<2> {
        self.rows(0, self.d)
    }

    /// `V [d, r]`.
    pub(crate) fn values(&self) -> Tensor<2> {
        self.rows(self.d, self.d)
    }

    /// `Q [r, r]`.
    pub(crate) fn query(&self) -> Tensor<2> {
        self.rows(2 * self.d, self.r)
    }

    /// `w [r, 1]`, the sink's.
    pub(crate) fn sink(&self) -> Tensor<2> {
        self.rows(2 * self.d + self.r, 1).transpose()
    }

    /// `[1, r]`: a head's own row, after those of every head.
    pub(crate) fn own(&self) -> Tensor<2> {
        self.rows(weight_rows(self.d, self.r), 1)
    }
}
