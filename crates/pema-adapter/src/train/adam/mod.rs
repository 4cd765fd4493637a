//! Adam over a phase's matrices, with its state in the open so that a checkpoint can hold it exactly: by
//! Pema's own kernel where WGSL runs, by Burn's operations elsewhere.

#[cfg(any(feature = "webgpu", feature = "wgpu"))]
mod cube;
#[cfg(any(test, feature = "webgpu", feature = "wgpu"))]
mod shader;

use burn::optim::{AdamConfig, AdamState, AdaptiveMomentumState, Optimizer};
use burn::tensor::Tensor;

use super::{Gradients, Weights};

/// Adam's, as in PyTorch.
const BETAS: [f32; 2] = [0.9, 0.999];

/// Adam's epsilon, as in PyTorch; Burn's default is 1e-5.
const EPSILON: f32 = 1e-8;

/// Running means of the gradients and of their squares, after `time` steps.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub(crate) time: usize,
    pub(crate) first: Weights,
    pub(crate) second: Weights,
}

/// Those of one matrix.
struct Moving {
    first: Tensor<2>,
    second: Tensor<2>,
}

/// One Adam step (no weight decay).
pub(crate) fn adam_step(lr: f64, weights: &Weights, gradients: Gradients, moments: Option<Moments>) -> (Weights, Moments) {
    let time = moments.as_ref().map_or(0, |moments| moments.time);
    let moving = match moments {
        Some(Moments { first, second, .. }) => first.zip(second).map(|(first, second)| Moving { first, second }),
        None => weights.as_ref().map(|w| Moving { first: w.zeros_like(), second: w.zeros_like() }),
    };
    let stepped = weights.as_ref().zip(gradients).zip(moving).map(|((w, gradient), moving)| one(lr, time, w, gradient, moving));
    let moments = Moments {
        time: time + 1,
        first: stepped.as_ref().map(|(_, moving)| moving.first.clone()),
        second: stepped.as_ref().map(|(_, moving)| moving.second.clone()),
    };
    (stepped.map(|(w, _)| w), moments)
}

/// A matrix's step after `time` others.
fn one(lr: f64, time: usize, w: &Tensor<2>, gradient: Tensor<2>, moving: Moving) -> (Tensor<2>, Moving) {
    #[cfg(any(feature = "webgpu", feature = "wgpu"))]
    if let Some(device) = crate::kernel::device(&w.device()) {
        return cube::one(lr, time, w, gradient, moving, &device);
    }
    let [beta_1, beta_2] = BETAS;
    let adam = AdamConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(EPSILON).build();
    let state = AdamState::new(AdaptiveMomentumState::new(time, moving.first, moving.second));
    let (w, state) = Optimizer::step(&adam, lr, w.clone(), gradient, Some(state));
    // Burn's Adam always returns a state; its signature serves stateless optimisers too.
    let AdaptiveMomentumState { moment_1: first, moment_2: second, .. } = state.expect("Adam has a state after a step").momentum;
    (w, Moving { first, second })
}
