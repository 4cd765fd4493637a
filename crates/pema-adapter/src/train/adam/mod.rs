//! Adam over a phase's matrices: Burn's, with its state in the open so that a checkpoint can
//! hold it exactly.

use burn::optim::{Adam, AdamConfig, AdamState, AdaptiveMomentumState, Optimizer};
use burn::tensor::Tensor;

use super::{Gradients, Weights};

/// Adam's epsilon, as in PyTorch; Burn's default is 1e-5.
const EPSILON: f32 = 1e-8;

/// Running means of the gradients and of their squares, after `time` steps.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub(crate) time: usize,
    pub(crate) first: Weights,
    pub(crate) second: Weights,
}

/// One Adam step (betas 0.9 and 0.999, no weight decay).
pub(crate) fn adam_step(lr: f64, weights: &Weights, gradients: Gradients, moments: Option<Moments>) -> (Weights, Moments) {
    let adam = AdamConfig::new().with_epsilon(EPSILON).build();
    let states = match moments {
        Some(Moments { time, first, second }) => {
            first.zip(second).map(|(first, second)| Some(AdamState::new(AdaptiveMomentumState::new(time, first, second))))
        }
        None => weights.as_ref().map(|_| None),
    };
    let stepped = weights.clone().zip(gradients).zip(states).map(|((w, gradient), state)| one(&adam, lr, w, gradient, state));
    let moments = Moments {
        time: stepped.a.1.time,
        first: stepped.as_ref().map(|(_, state)| state.moment_1.clone()),
        second: stepped.as_ref().map(|(_, state)| state.moment_2.clone()),
    };
    (stepped.map(|(w, _)| w), moments)
}

fn one(
    adam: &Adam,
    lr: f64,
    w: Tensor<2>,
    gradient: Tensor<2>,
    state: Option<AdamState<2>>,
) -> (Tensor<2>, AdaptiveMomentumState<2>) {
    let (w, state) = adam.step(lr, w, gradient, state);
    // Burn's Adam always returns a state; its signature serves stateless optimisers too.
    (w, state.expect("Adam has a state after a step").momentum)
}
