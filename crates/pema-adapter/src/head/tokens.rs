//! Embeddings: the head's rows at unit root mean square.

#[cfg(any(feature = "webgpu", feature = "wgpu"))]
use burn::tensor::Int;
use burn::tensor::{Tensor, TensorData};
use pema_core::id::TokenId;

use super::{Head, Weights};

/// Tokens less than `v`, some of them none, on their head's device: uploading sends off all work
/// before it, so it comes before the work.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    head: Head,
    ids: Vec<TokenId>,
    /// `[n]`, for the head's own kernels.
    #[cfg(any(feature = "webgpu", feature = "wgpu"))]
    uploaded: Tensor<1, Int>,
    /// `[n, 1]`, 0 where there is no token.
    scales: Tensor<2>,
}

impl Head {
    /// Uploads tokens, at least one.
    pub(crate) fn tokens(&self, tokens: &[Option<TokenId>]) -> Tokens {
        let n = tokens.len();
        let ids: Vec<TokenId> = tokens.iter().map(|token| token.unwrap_or_default()).collect();
        let scale = |token: &Option<TokenId>| if token.is_some() { self.embedding_scale } else { 0.0 };
        let scales: Vec<f32> = tokens.iter().map(scale).collect();
        Tokens {
            head: self.clone(),
            #[cfg(any(feature = "webgpu", feature = "wgpu"))]
            uploaded: {
                let numbers: Vec<i32> = ids.iter().map(|id| id.0 as i32).collect();
                Tensor::from_data(TensorData::new(numbers, [n]), &self.device)
            },
            ids,
            scales: Tensor::from_data(TensorData::new(scales, [n, 1]), &self.device),
        }
    }
}

impl Tokens {
    /// `[n, d]`, zero where there is no token.
    pub(crate) fn embeddings(&self) -> Tensor<2> {
        self.rows() * self.scales.clone()
    }

    /// The head's rows as they are, `[n, d]`; any row where there is no token.
    pub(crate) fn rows(&self) -> Tensor<2> {
        match &self.head.weights {
            Weights::Cpu(head) => head.rows_of(&self.ids),
            Weights::Plain(head) => head.rows_of(&self.ids),
            #[cfg(any(feature = "webgpu", feature = "wgpu"))]
            Weights::Packed(head) => head.rows_of(self.uploaded.clone()),
            Weights::Pooled(head) => head.rows_of(&self.ids),
        }
    }
}
