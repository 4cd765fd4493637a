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
pub(crate) fn adam_step(lr: f64, weights: &Weights, gradients: Gradients, moments: Option<&Moments>) -> (Weights, Moments) {
    let adam = AdamConfig::new().with_epsilon(EPSILON).build();
    let state = |pick: fn(&Weights) -> Option<&Tensor<2>>| {
        let Moments { time, first, second } = moments?;
        let (first, second) = (pick(first)?.clone(), pick(second)?.clone());
        Some(AdamState::new(AdaptiveMomentumState::new(*time, first, second)))
    };
    let (a, of_a) = one(&adam, lr, &weights.a, gradients.a, state(|w| Some(&w.a)));
    let (b, of_b) = one(&adam, lr, &weights.b, gradients.b, state(|w| Some(&w.b)));
    let copy = weights.copy.as_ref().zip(gradients.copy);
    let (copy, of_copy) = copy.map(|(w, gradient)| one(&adam, lr, w, gradient, state(|w| w.copy.as_ref()))).unzip();
    let (first_of_copy, second_of_copy) = of_copy.map(|state| (state.moment_1, state.moment_2)).unzip();
    let moments = Moments {
        time: of_a.time,
        first: Weights { a: of_a.moment_1, b: of_b.moment_1, copy: first_of_copy },
        second: Weights { a: of_a.moment_2, b: of_b.moment_2, copy: second_of_copy },
    };
    (Weights { a, b, copy }, moments)
}

fn one(
    adam: &Adam,
    lr: f64,
    w: &Tensor<2>,
    gradient: Tensor<2>,
    state: Option<AdamState<2>>,
) -> (Tensor<2>, AdaptiveMomentumState<2>) {
    let (w, state) = adam.step(lr, w.clone(), gradient, state);
    // Burn's Adam always returns a state; its signature serves stateless optimisers too.
    (w, state.expect("Adam has a state after a step").momentum)
}
