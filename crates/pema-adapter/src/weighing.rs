//! What says how much of a step the adapter has.

use pema_core::schedule::Mix;

use crate::gate::Gate;

/// What weighs one step of a text.
#[derive(Clone, Copy, Debug)]
pub enum Weighing<'a> {
    /// A schedule: the mixture is known before the distributions are.
    Given(Mix),
    /// A gate, which looks at the distributions first.
    Learned {
        /// It.
        gate: &'a Gate,
        /// The largest weight, in `[0, 1]`.
        most: f32,
        /// `t / SL`.
        progress: f32,
    },
}

impl Weighing<'_> {
    /// The largest weight that the adapter may have.
    pub(crate) fn most(self) -> f32 {
        match self {
            Self::Given(mix) => mix.lambda,
            Self::Learned { most, .. } => most,
        }
    }
}

impl From<Mix> for Weighing<'_> {
    fn from(mix: Mix) -> Self {
        Self::Given(mix)
    }
}

/// Why an adapter cannot be mixed as is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMixed {
    /// The PLM would write alone.
    #[error("a learned weight needs an adapter with a gate, and no adapter is in use: train, import or select one")]
    NoAdapter,
    /// The adapter was trained without, or its training was stopped before the gate's turn.
    #[error(
        "this adapter has no gate to say its weight: choose the constant, linear or quadratic schedule, or train one with the \
         setting `gate`"
    )]
    NoGate,
    /// The gate was trained for the other mixture.
    #[error("gates learn the weights of arithmetic mixtures alone: choose these, or another schedule than the learned one")]
    NotArithmetic,
    /// The adapter was trained without, and so has nothing to be contrasted with.
    #[error("this adapter has no contrast: choose the mean or the geometric mean, or train one with the setting `contrast`")]
    NoContrast,
}
