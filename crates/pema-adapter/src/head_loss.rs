//! `L_pd`: cross-entropy through the frozen head, streamed.
//!
//! Since `W_hd` is frozen, training needs the loss and `g = dL/dh_pd [n, d]`, nothing of size
//! `[n, v]`. Both come, row by row, from one pass over tiles of the vocabulary: each row keeps its
//! running maximum, `sum exp(l - max)` and `sum exp(l - max) W_v`, rescaled whenever the maximum
//! grows. Nothing survives to the backward pass but `g`, so there is no second pass over the head,
//! as Cut Cross-Entropy ([arXiv 2411.09009](https://arxiv.org/abs/2411.09009)) needs one.

use burn::tensor::Tensor;
use pema_core::id::TokenId;

use crate::head::Head;
use crate::tensor_file::ReadError;

/// The cross-entropy of `softmax(head(h_pd))` at `y`, row by row: `[n, d], [n] -> [n, 1]`; its mean
/// is `L_pd`.
///
/// If `h_pd` is tracked by autodiff, so is the result, and its gradient reaches `h_pd`. If not,
/// only the losses are computed, for a third of the work less.
///
/// # Errors
/// [`LossError`] for a batch that has no loss, or when the device fails.
pub async fn frozen_head_cross_entropy(h_pd: Tensor<2>, head: &Head, y: &[TokenId]) -> Result<Tensor<2>, LossError> {
    check(&h_pd, head, y)?;
    let (losses, gradient) = head.losses(h_pd.clone().inner(), y, h_pd.is_tracked()).await?;
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

/// A batch that has no loss.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LossError {
    /// No rows.
    #[error("a batch of no rows has no loss")]
    EmptyBatch,
    /// The device failed, or a worker of a pool did.
    #[error(transparent)]
    Read(#[from] ReadError),
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
