//! What a step minimises: the paper's losses, their gradients by autodiff.

use burn::tensor::Tensor;
use pema_core::id::TokenId;
use serde::{Deserialize, Serialize};

use super::{Extra, Phase, Weights};
use crate::attend::AttendContext;
use crate::copying::CopyBatch;
use crate::encoder::Encoder;
use crate::head::Head;
use crate::head_loss::{LossError, frozen_head_cross_entropy};
use crate::product::product;
use crate::recall::RecallContext;
use crate::tensor_file::{ReadError, read_f32};

/// How much the head's own loss counts beside that of what also copies. Where a prompt names the answers, say
/// as a list of labels, copying one of them by chance soon beats the head, which then learns no more: without this
/// the adapter never comes to tell the labels apart.
const HEAD_SHARE: f64 = 0.1;

/// Rows of the memory on a device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `h [n, d]`.
    pub h: Tensor<2>,
    /// What `A` sees: `h`, with the prefix's embeddings beside it if the adapter has local context, after
    /// dropout.
    pub h_seen: Tensor<2>,
    /// `y [n]`, rows of the objective's head.
    pub y: Vec<TokenId>,
    /// What phase 2 may copy, if the adapter does.
    pub copy: Option<CopyBatch>,
    /// What phase 2 may recall, if the adapter does.
    pub recall: Option<RecallContext>,
    /// What phase 2 may attend over, if the adapter does.
    pub attend: Option<AttendContext>,
    /// What each row counts, `[n, 1]` adding up to 1, in losses that are weighted means; without it
    /// all rows count the same.
    pub weights: Option<Tensor<2>>,
}

impl Batch {
    /// Rows of the paper's method without dropout: `h [n, d]` is also what `A` sees.
    pub fn new(h: Tensor<2>, y: Vec<TokenId>) -> Self {
        Self { h_seen: h.clone(), h, y, copy: None, recall: None, attend: None, weights: None }
    }
}

/// What one phase minimises.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a trainer has one")]
pub enum Objective {
    /// Phase 1: `L_rct`.
    Reconstruction {
        /// What makes `z`.
        encoder: Encoder,
    },
    /// Phase 2: `kappa L_rct + (1 - kappa) L_pd`. An adapter that copies also follows a tenth of the gradient that
    /// `L_pd` has without copying.
    Prediction {
        /// What makes `z`.
        encoder: Encoder,
        /// `kappa`.
        kappa: f64,
        /// The frozen `B_rct` of phase 1; without it `kappa` must be 0.
        b_rct: Option<Tensor<2>>,
        /// The frozen head.
        head: Head,
    },
}

/// An objective's gradient with respect to each of the weights, in their places.
pub type Gradients = Weights;

/// A batch's losses on the host.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// The objective.
    pub loss: f32,
    /// `L_rct`, if the objective has it.
    pub l_rct: Option<f32>,
    /// `L_pd`, if the objective has it.
    pub l_pd: Option<f32>,
}

/// A batch's losses on the device.
pub(super) struct DeviceLosses {
    objective: Tensor<1>,
    l_rct: Option<Tensor<1>>,
    l_pd: Option<Tensor<1>>,
    /// `L_pd` of the head alone, if the adapter copies.
    l_head: Option<Tensor<1>>,
}

impl Batch {
    /// `mean((h_rct - h)^2)` with `h_rct = z B_rct`.
    fn reconstruction_loss(&self, z: Tensor<2>, b_rct: Tensor<2>) -> Tensor<1> {
        let squares = (product(z, b_rct) - self.h.clone()).square(); // [n, d]
        match &self.weights {
            Some(weights) => (squares.mean_dim(1) * weights.clone()).sum(),
            None => squares.mean(),
        }
    }

    /// `L_pd`: the mean of cross-entropies `[n, 1]`.
    fn prediction_loss(&self, losses: Tensor<2>) -> Tensor<1> {
        match &self.weights {
            Some(weights) => (losses * weights.clone()).sum(),
            None => losses.mean(),
        }
    }
}

impl Objective {
    /// The phase that minimises this.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Reconstruction { .. } => Phase::Reconstruction,
            Self::Prediction { .. } => Phase::Prediction,
        }
    }

    /// The losses of `batch`.
    pub async fn losses(&self, batch: &Batch, weights: &Weights) -> Result<Losses, ObjectiveError> {
        Ok(self.forward(batch, weights).await?.read().await?)
    }

    /// The losses of `batch` and their gradients.
    pub async fn gradients(&self, batch: &Batch, weights: &Weights) -> Result<(Losses, Gradients), ObjectiveError> {
        let (losses, gradients) = self.backward(batch, weights).await?;
        Ok((losses.read().await?, gradients))
    }

    pub(super) async fn backward(&self, batch: &Batch, weights: &Weights) -> Result<(DeviceLosses, Gradients), LossError> {
        let weights = weights.as_ref().map(|w| w.clone().autodiff().require_grad());
        let losses = self.forward(batch, &weights).await?;
        let objective = losses.objective.clone();
        let mut gradients = match losses.l_head.clone() {
            Some(l_head) => (objective + l_head.mul_scalar(HEAD_SHARE)).backward(),
            None => objective.backward(),
        };
        // A matrix that the loss does not depend on has the gradient 0.
        let gradients = weights.map(|w| match w.grad_remove(&mut gradients) {
            Some(gradient) => gradient,
            None => w.inner().zeros_like(),
        });
        Ok((losses, gradients))
    }

    pub(super) async fn forward(&self, batch: &Batch, weights: &Weights) -> Result<DeviceLosses, LossError> {
        let b = weights.b.clone();
        match self {
            Self::Reconstruction { encoder } => {
                let z = encoder.z(weights, batch.h_seen.clone(), None, None); // [n, r]
                let l_rct = batch.reconstruction_loss(z, b);
                Ok(DeviceLosses { objective: l_rct.clone(), l_rct: Some(l_rct), l_pd: None, l_head: None })
            }
            Self::Prediction { encoder, kappa, b_rct, head } => {
                let z = encoder.z(weights, batch.h_seen.clone(), batch.recall.as_ref(), batch.attend.as_ref()); // [n, r]
                let h_pd = encoder.h_pd(z.clone(), b, batch.h.clone()); // [n, d]
                let of_head = frozen_head_cross_entropy(h_pd, head, &batch.y).await?; // [n, 1]
                let (losses, l_head) = match (&batch.copy, weights.extras.get(&Extra::Copy)) {
                    (Some(copying), Some(matrix)) => {
                        (copying.losses(matrix, z.clone(), of_head.clone()), Some(batch.prediction_loss(of_head)))
                    }
                    _ => (of_head, None),
                };
                let l_pd = batch.prediction_loss(losses);
                let Some(b_rct) = b_rct else {
                    return Ok(DeviceLosses { objective: l_pd.clone(), l_rct: None, l_pd: Some(l_pd), l_head });
                };
                let l_rct = batch.reconstruction_loss(z, b_rct.clone());
                let objective = l_rct.clone().mul_scalar(*kappa) + l_pd.clone().mul_scalar(1.0 - kappa);
                Ok(DeviceLosses { objective, l_rct: Some(l_rct), l_pd: Some(l_pd), l_head })
            }
        }
    }
}

impl DeviceLosses {
    /// Copies the losses to the host in one read.
    pub(super) async fn read(self) -> Result<Losses, ReadError> {
        let losses = [Some(self.objective), self.l_rct, self.l_pd];
        let present = losses.each_ref().map(Option::is_some);
        let losses = losses.into_iter().flatten().map(Tensor::inner).collect();
        let mut values = read_f32(Tensor::cat(losses, 0)).await?.into_iter();
        let [loss, l_rct, l_pd] = present.map(|is| is.then(|| values.next()).flatten());
        Ok(Losses { loss: loss.unwrap_or(f32::NAN), l_rct, l_pd })
    }
}

/// Losses that could not be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ObjectiveError {
    /// The batch has no loss.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// The device failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}
