//! One training step to measure: phase 2's losses and gradients at `kappa` 0, without the optimiser,
//! on weights and data that are noise.

use std::rc::Rc;

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData, activation::log_softmax};
use half::f16;
use pema_core::{head::HEAD_TENSOR, id::TokenId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, tensor::TensorView};

use crate::encoder::{Activation, Encoder};
use crate::head::{Head, HeadError, HeadPool};
use crate::tensor_file::{FileError, ReadError, read_f32};
use crate::train::adam::{Moments, adam_step};
use crate::train::{Batch, Objective, ObjectiveError, Weights};

/// Adam's; small, so that the losses of noise stay finite.
const LEARNING_RATE: f64 = 1e-3;

/// The paper's `z`.
const PAPER: Encoder = Encoder { scale: 1.0, activation: Activation::Linear, residual: false };

/// The step's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StepShape {
    /// Rows of the batch.
    pub n: usize,
    /// Entries of a hidden state.
    pub d: usize,
    /// Rows of the head.
    pub v: usize,
    /// The adapter's rank.
    pub r: usize,
}

/// The step as Pema takes it.
#[derive(Debug)]
pub struct Step {
    objective: Objective,
    batch: Batch,
    weights: Weights,
}

/// What a step does beside the head: the products with `A` and `B`, their gradients, and Adam. It is
/// phase 1's step.
#[derive(Debug)]
pub struct SmallStep {
    batch: Batch,
    weights: Weights,
    moments: Option<Moments>,
}

/// The step as a composition of Burn's operations: `[n, v]` logits, `log_softmax`, autodiff. What
/// there would be without [`frozen_head_cross_entropy`](crate::frozen_head_cross_entropy).
#[derive(Debug)]
pub struct PlainStep {
    h: Tensor<2>,
    y: Tensor<2, Int>,
    weights: Weights,
    w_hd: Tensor<2>,
}

/// A product of two square matrices, Burn's.
#[derive(Debug)]
pub struct SquareProduct {
    a: Tensor<2>,
    b: Tensor<2>,
}

impl SquareProduct {
    /// Uploads matrices of so many rows.
    pub fn new(rows: usize, device: &Device) -> Self {
        Self { a: noise([rows, rows], device), b: noise([rows, rows], device) }
    }

    /// Takes it and waits for one of its entries.
    ///
    /// # Errors
    /// [`ReadError`] when the device fails.
    pub async fn take(&self) -> Result<f32, ReadError> {
        let entry = read_f32(self.a.clone().matmul(self.b.clone()).slice([0..1, 0..1])).await?;
        Ok(entry.first().copied().unwrap_or(f32::NAN))
    }
}

impl Step {
    /// Uploads what the step needs.
    ///
    /// # Errors
    /// [`HeadError`] for a shape with a 0.
    pub fn new(shape: StepShape, device: &Device) -> Result<Self, HeadError> {
        let head = Head::from_safetensors(&head_file(shape)?, 1.0, None, device)?;
        Ok(Self::with(shape, device, head))
    }

    /// The same, with the head spread over a pool.
    ///
    /// # Errors
    /// [`HeadError`] for a shape with a 0, or when a worker fails.
    pub async fn spread(shape: StepShape, device: &Device, pool: Rc<dyn HeadPool>) -> Result<Self, HeadError> {
        let head = Head::spread(&head_file(shape)?, 1.0, None, device, pool).await?;
        Ok(Self::with(shape, device, head))
    }

    fn with(shape: StepShape, device: &Device, head: Head) -> Self {
        let h = noise([shape.n, shape.d], device);
        let batch = Batch::new(h, targets(shape));
        let objective = Objective::Prediction { encoder: PAPER, kappa: 0.0, b_rct: None, head };
        Self { objective, batch, weights: weights(shape, device) }
    }

    /// Takes it and waits for its loss and gradients.
    ///
    /// # Errors
    /// [`ObjectiveError`] when the device fails.
    pub async fn take(&self) -> Result<f32, ObjectiveError> {
        let (losses, gradients) = self.objective.gradients(&self.batch, &self.weights).await?;
        read_f32(gradients.a.slice([0..1, 0..1])).await?;
        Ok(losses.loss)
    }
}

impl SmallStep {
    /// Uploads what the step needs.
    pub fn new(shape: StepShape, device: &Device) -> Self {
        let h = noise([shape.n, shape.d], device);
        let batch = Batch::new(h, targets(shape));
        Self { batch, weights: weights(shape, device), moments: None }
    }

    /// Takes it and waits for its loss and the new weights.
    ///
    /// # Errors
    /// [`ObjectiveError`] when the device fails.
    pub async fn take(&mut self) -> Result<f32, ObjectiveError> {
        let objective = Objective::Reconstruction { encoder: PAPER };
        let (losses, gradients) = objective.gradients(&self.batch, &self.weights).await?;
        let (weights, moments) = adam_step(LEARNING_RATE, &self.weights, gradients, self.moments.clone());
        read_f32(weights.a.clone().slice([0..1, 0..1])).await?;
        (self.weights, self.moments) = (weights, Some(moments));
        Ok(losses.loss)
    }
}

impl PlainStep {
    /// Uploads what the step needs.
    pub fn new(shape: StepShape, device: &Device) -> Self {
        let y: Vec<i32> = targets(shape).iter().map(|y| y.0 as i32).collect();
        Self {
            h: noise([shape.n, shape.d], device),
            y: Tensor::from_data(TensorData::new(y, [shape.n, 1]), &device.clone().autodiff()),
            weights: weights(shape, device),
            w_hd: noise([shape.v, shape.d], device),
        }
    }

    /// Takes it and waits for its loss and gradients.
    ///
    /// # Errors
    /// [`ReadError`] when the device fails.
    pub async fn take(&self) -> Result<f32, ReadError> {
        let weights = self.weights.as_ref().map(|w| w.clone().autodiff().require_grad());
        let constant = |x: &Tensor<2>| x.clone().autodiff();
        let h_pd = constant(&self.h).matmul(weights.a.clone()).matmul(weights.b);
        let logits = h_pd.matmul(constant(&self.w_hd).transpose());
        let loss = log_softmax(logits, 1).gather(1, self.y.clone()).mean().neg();
        let gradients = loss.backward();
        if let Some(gradient) = weights.a.grad(&gradients) {
            read_f32(gradient.slice([0..1, 0..1])).await?;
        }
        let loss = read_f32(loss.inner()).await?;
        Ok(loss.first().copied().unwrap_or(f32::NAN))
    }
}

fn noise(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Uniform(-0.5, 0.5), device)
}

fn weights(shape: StepShape, device: &Device) -> Weights {
    Weights::new(noise([shape.d, shape.r], device), noise([shape.r, shape.d], device))
}

fn targets(shape: StepShape) -> Vec<TokenId> {
    (0..shape.n).map(|i| TokenId((i * 7919 % shape.v) as u32)).collect()
}

/// A head's file, f16.
fn head_file(StepShape { v, d, .. }: StepShape) -> Result<Vec<u8>, FileError> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let bytes: Vec<u8> = (0..v * d).flat_map(|_| f16::from_f32(rng.random::<f32>() - 0.5).to_le_bytes()).collect();
    let broken = |error: safetensors::SafeTensorError| FileError::Format(error.to_string());
    let w_hd = TensorView::new(Dtype::F16, vec![v, d], &bytes).map_err(broken)?;
    safetensors::serialize([(HEAD_TENSOR, w_hd)], None).map_err(broken)
}
