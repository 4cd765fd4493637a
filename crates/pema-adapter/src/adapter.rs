//! The trained adapter, for inference.

use burn::tensor::{Device, Tensor};
use pema_core::id::ContentHash;

use crate::config::AdapterConfig;
use crate::train::objective::down;

/// A trained adapter on a device: `h_pd = s h A B_pd`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// `A [d, r]`, `[(prefix + 1) d, r]` with local context.
    pub(crate) a: Tensor<2>,
    /// `B_pd [r, d]`
    pub(crate) b_pd: Tensor<2>,
    pub(crate) b_rct: Option<Tensor<2>>,
    /// `[d + 10, r]`, if the adapter copies.
    pub(crate) copy: Option<Tensor<2>>,
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
    /// `h_pd = s h A B_pd`: `[n, d] -> [n, d]`, for [`Head::logits`](crate::Head::logits). An
    /// adapter with local context wants `[n, (prefix + 1) d]`, which [`Mixer`](crate::Mixer) makes.
    ///
    /// # Panics
    ///
    /// If `h_seen` is of another width than `A`.
    pub fn h_pd(&self, h_seen: Tensor<2>) -> Tensor<2> {
        self.z(h_seen).matmul(self.b_pd.clone())
    }

    /// `z = s h A`: `[n, d] -> [n, r]`.
    pub(crate) fn z(&self, h_seen: Tensor<2>) -> Tensor<2> {
        down(h_seen, self.a.clone(), self.origin.config.scale())
    }

    /// `B_rct [r, d]` of phase 1, which inference does not need; absent if `kappa` was 0.
    pub fn b_rct(&self) -> Option<&Tensor<2>> {
        self.b_rct.as_ref()
    }

    /// `d`: entries of a hidden state.
    pub fn d(&self) -> usize {
        self.b_pd.dims()[1]
    }

    /// `r`.
    pub fn rank(&self) -> usize {
        self.a.dims()[1]
    }

    /// Entries of the matrices that inference needs.
    pub fn parameters(&self) -> usize {
        let matrices = [Some(&self.a), Some(&self.b_pd), self.copy.as_ref()];
        matrices.into_iter().flatten().map(|matrix| matrix.shape().num_elements()).sum()
    }

    /// What the adapter was trained with, and for.
    pub fn origin(&self) -> &AdapterOrigin {
        &self.origin
    }

    /// The device that the adapter lies on.
    pub fn device(&self) -> Device {
        self.a.device()
    }
}
