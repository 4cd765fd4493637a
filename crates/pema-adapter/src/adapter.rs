//! The trained adapter, for inference.

use burn::tensor::{Device, Tensor};
use pema_core::id::ContentHash;
use pema_core::schedule::log_softmax;

use crate::config::AdapterConfig;
use crate::encoder::Encoder;
use crate::gate::Gate;
use crate::train::Weights;
use crate::vocabulary::Kept;

/// A trained adapter on a device: `h_pd = z B_pd`, or `h + z B_pd`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Phase 2's: `A`, `B_pd`, and what the settings have beside these.
    pub(crate) weights: Weights,
    /// The weights before they learned targets, if it has contrast.
    pub(crate) before: Option<Weights>,
    pub(crate) b_rct: Option<Tensor<2>>,
    /// What its softmax was over in training, unless that was every token.
    pub(crate) kept: Option<Kept>,
    /// What may say its weight, if it was trained and training was not stopped before.
    pub(crate) gate: Option<Gate>,
    pub(crate) origin: AdapterOrigin,
}

/// What an adapter was trained with, and for.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterOrigin {
    /// The settings.
    pub config: AdapterConfig,
    /// The LM head that it was trained through, the only one it fits.
    pub head: ContentHash,
    /// The PLM that its memory was extracted from.
    pub model: ContentHash,
}

impl Adapter {
    /// `h_pd = s h A B_pd`, or `h + s h A B_pd` of a residual one: `[n, d] -> [n, d]`, for
    /// [`Head::logits`](crate::Head::logits), of an adapter that looks back at nothing. [`Mixer`](crate::Mixer) serves
    /// every adapter.
    ///
    /// # Panics
    ///
    /// If `h` is of another width than `A`.
    pub fn h_pd(&self, h: Tensor<2>) -> Tensor<2> {
        let encoder = Encoder::of(&self.origin.config);
        let z = encoder.z(&self.weights, h.clone(), None, None);
        encoder.h_pd(z, self.weights.b.clone(), h)
    }

    /// `B_rct [r, d]` of phase 1, which inference does not need; absent if `kappa` was 0.
    pub fn b_rct(&self) -> Option<&Tensor<2>> {
        self.b_rct.as_ref()
    }

    /// `d`: entries of a hidden state.
    pub fn d(&self) -> usize {
        self.weights.b.dims()[1]
    }

    /// `r`.
    pub fn rank(&self) -> usize {
        self.weights.b.dims()[0]
    }

    /// Whether it has a gate, which a learned schedule needs.
    pub fn has_gate(&self) -> bool {
        self.gate.is_some()
    }

    /// Whether it has contrast, which [`Mixing::Contrast`](pema_core::schedule::Mixing) needs.
    pub fn has_contrast(&self) -> bool {
        self.before.is_some()
    }

    /// Entries of the matrices that inference needs, and the gate's.
    pub fn parameters(&self) -> usize {
        let of_gate = self.gate.as_ref().map_or(0, |gate| gate.weights().len());
        let of_both = [&self.weights].into_iter().chain(&self.before);
        of_both.flat_map(Weights::named).map(|(_, matrix)| matrix.shape().num_elements()).sum::<usize>() + of_gate
    }

    /// What it predicts, unless that is every token. A residual adapter that has learned over few tokens knows of the
    /// others what the PLM does.
    pub(crate) fn vocabulary(&self) -> Option<&Kept> {
        self.kept.as_ref().filter(|_| !self.origin.config.residual)
    }

    /// `log softmax` of logits `[v]` over the adapter's vocabulary.
    pub(crate) fn log_softmax(&self, mut logits: Vec<f32>) -> Vec<f32> {
        if let Some(kept) = self.vocabulary() {
            kept.restrict(&mut logits);
        }
        log_softmax(&logits)
    }

    /// What the adapter was trained with, and for.
    pub fn origin(&self) -> &AdapterOrigin {
        &self.origin
    }

    /// The device that the adapter lies on.
    pub fn device(&self) -> Device {
        self.weights.a.device()
    }
}
