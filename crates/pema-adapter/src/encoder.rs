//! `z`: what an adapter makes of what it sees.

use burn::tensor::{Tensor, activation::silu};
use serde::{Deserialize, Serialize};

use crate::attend::AttendContext;
use crate::config::AdapterConfig;
use crate::product::product;
use crate::recall::RecallContext;
use crate::train::{Extra, Weights};

/// What `z` goes through, entry by entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Nothing, as the paper.
    #[default]
    Linear,
    /// `x sigma(x)`: what one token of the prefix means may depend on another.
    Silu,
}

/// `z = act(s h_seen A)`, the paper's first half, and all that may be added to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Encoder {
    /// `s`.
    pub scale: f64,
    /// `act`.
    pub activation: Activation,
    /// Whether `h` is added to what `z` becomes.
    pub residual: bool,
}

impl Encoder {
    /// The encoder of these settings.
    pub(crate) fn of(config: &AdapterConfig) -> Self {
        Self { scale: config.scale(), activation: config.activation, residual: config.residual }
    }

    /// `z [n, r]` of `h_seen [n, (prefix + 1) d]`, and of what may be looked back at: the text so far
    /// first, then, from what that gave, the prompt, as in a decoder.
    pub(crate) fn z(
        self,
        weights: &Weights,
        h_seen: Tensor<2>,
        recall: Option<&RecallContext>,
        attend: Option<&AttendContext>,
    ) -> Tensor<2> {
        let mut z = product(h_seen, weights.a.clone()).mul_scalar(self.scale);
        if let (Some(recall), Some(matrix)) = (recall, weights.extras.get(&Extra::Recall)) {
            z = z.clone() + recall.recalled(matrix, z);
        }
        if let (Some(attend), Some(matrix)) = (attend, weights.extras.get(&Extra::Attend)) {
            z = z.clone() + attend.attended(matrix, z);
        }
        match self.activation {
            Activation::Linear => z,
            Activation::Silu => silu(z),
        }
    }

    /// What the head is to read of `h [n, d]`: `h_pd = z B_pd`, or `h + z B_pd`.
    pub(crate) fn h_pd(self, z: Tensor<2>, b: Tensor<2>, h: Tensor<2>) -> Tensor<2> {
        let h_pd = product(z, b);
        if self.residual { h_pd + h } else { h_pd }
    }
}
