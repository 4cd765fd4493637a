//! `L_pd`: cross-entropy through the frozen head, streamed.
//!
//! Since `W_hd` is frozen, training needs the loss and `g = dL/dh_pd [n, d]`, nothing of size
//! `[n, v]`. Both come, row by row, from one pass over tiles of `[ROWS_PER_CHUNK, block]` logits: each row
//! keeps its running maximum, `sum exp(l - max)` and `sum exp(l - max) W_v`, rescaled whenever the
//! maximum grows. Nothing survives to the backward pass but `g`.
//!
//! This is the seam for a fused kernel: it replaces [`tile_by_tile`] and nothing else.

use burn::tensor::Tensor;
use pema_core::id::TokenId;

use crate::head::Head;

/// Rows of the batch in one tile: enough to amortise reading the head, few enough that a tile's
/// logits (at most 16 MiB) stay near the cache.
const ROWS_PER_CHUNK: usize = 256;

/// Below any logit, and far enough from f32's end that differences stay finite.
const LOWEST_LOGIT: f32 = -1e30;

/// The cross-entropy of `softmax(head(h_pd))` at `y`, row by row: `[n, d], [n] -> [n, 1]`; its mean
/// is `L_pd`.
///
/// If `h_pd` is tracked by autodiff, so is the result, and its gradient reaches `h_pd`. If not,
/// only the losses are computed, for a third of the work less.
pub fn frozen_head_cross_entropy(h_pd: Tensor<2>, head: &Head, y: &[TokenId]) -> Result<Tensor<2>, LossError> {
    check(&h_pd, head, y)?;
    let (losses, gradient) = tile_by_tile(h_pd.clone().inner(), head, y, h_pd.is_tracked());
    let Some(g) = gradient else { return Ok(losses) };
    // Its gradient is g, row by row; its value is replaced by the losses.
    let surrogate = (h_pd * g).sum_dim(1);
    Ok(surrogate.clone() - surrogate.detach() + losses)
}

fn check(h_pd: &Tensor<2>, head: &Head, y: &[TokenId]) -> Result<(), LossError> {
    let [n, d] = h_pd.dims();
    if n == 0 {
        return Err(LossError::EmptyBatch);
    }
    if n != y.len() || d != head.d() {
        return Err(LossError::Shape { n, d, targets: y.len(), head_d: head.d() });
    }
    match y.iter().find(|target| target.0 as usize >= head.v()) {
        Some(&target) => Err(LossError::Target { target, v: head.v() }),
        None => Ok(()),
    }
}

/// The losses `[n, 1]` and, if wanted, the gradient of each with respect to its row `[n, d]`.
fn tile_by_tile(h: Tensor<2>, head: &Head, y: &[TokenId], wants_gradient: bool) -> (Tensor<2>, Option<Tensor<2>>) {
    let d = head.d();
    let chunks = y.chunks(ROWS_PER_CHUNK).enumerate().map(|(chunk, y)| {
        let first = chunk * ROWS_PER_CHUNK;
        let rows = h.clone().slice([first..first + y.len(), 0..d]);
        chunk_loss(rows, head, y, wants_gradient)
    });
    let (losses, gradients): (Vec<_>, Vec<_>) = chunks.unzip();
    let gradients: Vec<_> = gradients.into_iter().flatten().collect();
    (Tensor::cat(losses, 0), wants_gradient.then(|| Tensor::cat(gradients, 0)))
}

/// [`tile_by_tile`] of a chunk `h [m, d]`.
fn chunk_loss(h: Tensor<2>, head: &Head, y: &[TokenId], wants_gradient: bool) -> (Tensor<2>, Option<Tensor<2>>) {
    let [m, d] = h.dims();
    let device = h.device();
    let mut top = Tensor::<2>::full([m, 1], LOWEST_LOGIT, &device); // max_v l_v
    let mut mass = Tensor::<2>::zeros([m, 1], &device); // sum_v exp(l_v - top)
    let mut pull = Tensor::<2>::zeros([m, d], &device); // sum_v exp(l_v - top) dl_v/dh / scale
    for block in head.blocks() {
        let logits = head.block_logits(h.clone(), block); // [m, rows]
        let slope = wants_gradient.then(|| head.softcap_slope(&logits)).flatten();
        let new_top = top.clone().max_pair(logits.clone().max_dim(1));
        let fade = (top - new_top.clone()).exp();
        let weights = (logits - new_top.clone()).exp(); // [m, rows]
        mass = mass * fade.clone() + weights.clone().sum_dim(1);
        if wants_gradient {
            let weights = match slope {
                Some(slope) => weights * slope,
                None => weights,
            };
            pull = pull * fade + weights.matmul(block.w.clone());
        }
        top = new_top;
    }

    let w_y = head.rows_of(y); // [m, d]
    let logit_y = head.shape_logits((h * w_y.clone()).sum_dim(1)); // [m, 1]
    let losses = mass.clone().log() + top - logit_y.clone();
    // dL/dh = scale (sum_v p_v slope_v W_v - slope_y W_y)
    let gradient = wants_gradient.then(|| {
        let target_pull = match head.softcap_slope(&logit_y) {
            Some(slope) => w_y * slope,
            None => w_y,
        };
        (pull / mass - target_pull).mul_scalar(head.scale())
    });
    (losses, gradient)
}

/// A batch that has no loss.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LossError {
    /// No rows.
    #[error("a batch of no rows has no loss")]
    EmptyBatch,
    /// The shapes do not fit each other.
    #[error("h_pd is [{n}, {d}] but there are {targets} targets and the head's d is {head_d}")]
    Shape {
        /// Rows of `h_pd`.
        n: usize,
        /// Columns of `h_pd`.
        d: usize,
        /// Targets given.
        targets: usize,
        /// The head's `d`.
        head_d: usize,
    },
    /// A target that the head has no row for.
    #[error("target {} is outside the head's vocabulary of {v}; was another tokenizer used?", target.0)]
    Target {
        /// The target.
        target: TokenId,
        /// The vocabulary's size.
        v: usize,
    },
}
