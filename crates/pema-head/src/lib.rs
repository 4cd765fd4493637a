//! The frozen LM head `W_hd` in a CPU's memory: plain numbers, no tensors, so that a worker that holds
//! some of its rows needs nothing else.
//!
//! - [`HeadRows`]: rows of the head, their logits, and the softmax's loss and gradient in one pass.
//! - [`SoftmaxPart`]: a softmax over some of the rows, to be joined with that over others.
//! - [`LogitShape`]: from products to logits.

mod exp;
mod product;
mod rows;
mod softmax;

pub use product::{Matrix, add_product};
pub use rows::HeadRows;
pub use softmax::SoftmaxPart;

/// From products `h W_hd^T` to logits: `softcap(scale * product)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitShape {
    /// The model card's `logit_scale`.
    pub scale: f32,
    /// The model card's `logit_softcap`.
    pub softcap: Option<f32>,
}

impl LogitShape {
    /// The products themselves.
    pub const PLAIN: Self = Self { scale: 1.0, softcap: None };

    /// The logit of a product.
    pub fn logit(self, product: f32) -> f32 {
        let scaled = self.scale * product;
        self.softcap.map_or(scaled, |cap| cap * (scaled / cap).tanh())
    }

    /// The softcap's derivative, from its result.
    pub fn slope(self, logit: f32) -> f32 {
        self.softcap.map_or(1.0, |cap| 1.0 - (logit / cap).powi(2))
    }
}
