//! Recall: a single head of causal attention over all of the text so far, in rank space.
//!
//! [`crate::local_context`] shows the adapter the last few tokens, each in its place. Recall adds
//! what was said before, wherever it stood. With `c = s h_seen A` (what the adapter has seen, before
//! its activation) and `e` as in local context,
//!
//! `z = act(c + sum_j a_j v_j)`,  `[a_0, a_1, ..] = softmax([c w, c Q . k_1 / sqrt(r) - m, c Q . k_2 / sqrt(r) - 2 m, ..])`
//!
//! over the text's tokens, the nearest first: `k_j = e(y_{i-j}) K`, `v_j = e(y_{i-j}) V`, `m` a
//! learned slope (ALiBi, Press et al. 2022, arXiv 2108.12409) and `c w` a sink, so that nothing need
//! be recalled. The text so far is the data owner's own; nothing of this crosses the wire.
//!
//! All of it is one matrix `[2 d + r + 2, r]`, whose parts [`AttentionWeights`] names;
//! the last row's mean is `m`.

use burn::tensor::activation::softmax;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use pema_core::id::TokenId;

use crate::attention::{self, AttentionWeights, RULED_OUT};
use crate::head::{Head, Tokens};
use crate::places::Places;
use crate::product::product;

/// Tokens that are recalled at most, the nearest, so that a batch of long texts fits in memory.
const REACH: usize = 128;

/// `m` at the start.
const INITIAL_SLOPE: f32 = 0.1;

/// Rows of the weights' matrix for hidden states of `d` entries.
pub(crate) fn weight_rows(d: usize, r: usize) -> usize {
    attention::weight_rows(d, r) + 1
}

/// The initial weights, row-major.
pub(crate) fn initial_weights(d: usize, r: usize, seed: u64, stream: u64) -> Vec<f32> {
    let mut values = attention::initial_weights(d, r, seed, stream);
    values.extend(std::iter::repeat_n(INITIAL_SLOPE, r));
    values
}

/// The texts so far of a batch's rows.
#[derive(Clone, Debug)]
pub struct RecallContext {
    /// The batch's different tokens, the first none.
    tokens: Tokens,
    /// Places in `tokens` of the texts' tokens, the nearest first: `[n, t]`.
    written: Tensor<2, Int>,
    /// `j`, the distance of each: `[1, t]`.
    distances: Tensor<2>,
    /// 0 for a token, [`RULED_OUT`] where a text is shorter than the longest: `[n, t]`.
    padding: Tensor<2>,
}

impl RecallContext {
    /// The context of rows, given the text so far of each.
    pub fn new(head: &Head, texts: &[&[TokenId]]) -> Self {
        // One at least: a tensor has no empty side.
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0).clamp(1, REACH);
        let mut places = Places::default();
        let written: Vec<i32> = texts
            .iter()
            .flat_map(|text| (0..longest).map(|back| text.iter().nth_back(back)))
            .map(|token| places.of(token))
            .collect();
        let padding: Vec<f32> = written.iter().map(|&place| if place == Places::NONE { RULED_OUT } else { 0.0 }).collect();
        let device = head.device();
        let distances: Vec<f32> = (1..=longest).map(|j| j as f32).collect();
        Self {
            written: Tensor::from_data(TensorData::new(written, [texts.len(), longest]), device),
            distances: Tensor::from_data(TensorData::new(distances, [1, longest]), device),
            padding: Tensor::from_data(TensorData::new(padding, [texts.len(), longest]), device),
            tokens: head.tokens(&places.tokens),
        }
    }

    /// `sum_j a_j v_j` `[n, r]`, given `c [n, r]`.
    ///
    /// A token has one key and one value wherever it stands, so both products are with the batch's
    /// different tokens, and `[n, t, r]` is never needed.
    pub(crate) fn recalled(&self, weights: &Tensor<2>, c: Tensor<2>) -> Tensor<2> {
        let ([n, t], [_, r]) = (self.padding.dims(), c.dims());
        let embeddings = self.tokens.embeddings(); // [tokens, d]
        let [tokens, d] = embeddings.dims();
        let weights = AttentionWeights { matrix: weights, d, r };

        let keys = product(embeddings.clone(), weights.keys());
        let of_tokens = product(product(c.clone(), weights.query()), keys.transpose()); // [n, tokens]
        let scores = of_tokens.gather(1, self.written.clone()).div_scalar((r as f64).sqrt());
        let scores = scores - self.distances.clone() * weights.own().mean_dim(1) + self.padding.clone();
        let attention = softmax(Tensor::cat(vec![product(c, weights.sink()), scores], 1), 1).slice([0..n, 1..t + 1]);

        let none = Tensor::zeros([n, tokens], &self.padding.device());
        let none = if attention.is_tracked() { none.autodiff() } else { none };
        let of_tokens = none.scatter(1, self.written.clone(), attention, IndexingUpdateOp::Add);
        product(of_tokens, product(embeddings, weights.values()))
    }
}
