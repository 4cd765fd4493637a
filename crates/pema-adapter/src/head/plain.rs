//! The head as f32 blocks, and its loss as Burn operations on tiles: on any device.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use pema_core::id::TokenId;

use super::{BLOCK_BYTES_MAX, LogitShape, blocks};
use crate::tensor_file::{FileError, Matrix};

/// Vocabulary rows of one block, which bounds the logits that the loss holds at a time.
const BLOCK_ROWS_MAX: usize = 16384;

/// Rows of the batch in one tile: enough to amortise reading the head, few enough that a tile's
/// logits (at most 16 MiB) stay near the cache.
const ROWS_PER_CHUNK: usize = 256;

/// Below any logit, and far enough from f32's end that differences stay finite.
const LOWEST_LOGIT: f32 = -1e30;

#[derive(Clone, Debug)]
pub(super) struct PlainHead {
    blocks: Vec<Block>,
    d: usize,
    shape: LogitShape,
}

/// Rows `rows` of `W_hd`.
#[derive(Clone, Debug)]
struct Block {
    rows: Range<usize>,
    /// `[rows, d]`
    w: Tensor<2>,
}

impl PlainHead {
    /// `read` gives rows of `W_hd`.
    pub(super) fn upload(
        [v, d]: [usize; 2],
        shape: LogitShape,
        device: &Device,
        mut read: impl FnMut(&Range<usize>) -> Result<Vec<f32>, FileError>,
    ) -> Result<Self, FileError> {
        let rows_max = (BLOCK_BYTES_MAX / (d * size_of::<f32>())).min(BLOCK_ROWS_MAX);
        let blocks = blocks(v, rows_max).map(|rows| {
            let w = Matrix { shape: [rows.len(), d], values: read(&rows)? }.upload(device);
            Ok(Block { rows, w })
        });
        Ok(Self { blocks: blocks.collect::<Result<_, _>>()?, d, shape })
    }

    /// `[n, d] -> [n, v]`
    pub(super) fn logits(&self, h: Tensor<2>) -> Tensor<2> {
        let parts = self.blocks.iter().map(|block| self.block_logits(h.clone(), block)).collect();
        Tensor::cat(parts, 1)
    }

    /// `[n, d] -> [n, rows]`
    fn block_logits(&self, h: Tensor<2>, block: &Block) -> Tensor<2> {
        self.shape.logits(h.matmul(block.w.clone().transpose()))
    }

    /// `W_hd[y]`: `[n, d]`, gathered from the blocks. Every target must be less than `v`.
    pub(super) fn rows_of(&self, y: &[TokenId]) -> Tensor<2> {
        let from = |block: &Block| {
            let (start, last) = (block.rows.start, block.rows.len() - 1);
            let local = |t: &TokenId| (t.0 as usize).saturating_sub(start).min(last) as i32;
            let device = block.w.device();
            let index = y.iter().map(local).collect::<Vec<_>>();
            let index = Tensor::<1, Int>::from_data(TensorData::new(index, [y.len()]), &device);
            let picked = block.w.clone().select(0, index); // [n, d]
            if self.blocks.len() == 1 {
                return picked;
            }
            let here = |t: &TokenId| f32::from(block.rows.contains(&(t.0 as usize)));
            let mask = TensorData::new(y.iter().map(here).collect::<Vec<_>>(), [y.len(), 1]);
            picked * Tensor::<2>::from_data(mask, &device)
        };
        let (first, rest) = (&self.blocks[0], &self.blocks[1..]);
        rest.iter().fold(from(first), |sum, block| sum + from(block))
    }

    /// As [`super::Head::losses`].
    pub(super) fn losses(&self, h: Tensor<2>, y: &[TokenId], wants_gradient: bool) -> (Tensor<2>, Option<Tensor<2>>) {
        let chunks = y.chunks(ROWS_PER_CHUNK).enumerate().map(|(chunk, y)| {
            let first = chunk * ROWS_PER_CHUNK;
            let rows = h.clone().slice([first..first + y.len(), 0..self.d]);
            self.chunk_losses(rows, y, wants_gradient)
        });
        let (losses, gradients): (Vec<_>, Vec<_>) = chunks.unzip();
        let gradients: Vec<_> = gradients.into_iter().flatten().collect();
        (Tensor::cat(losses, 0), wants_gradient.then(|| Tensor::cat(gradients, 0)))
    }

    /// [`Self::losses`] of a chunk `h [m, d]`.
    fn chunk_losses(&self, h: Tensor<2>, y: &[TokenId], wants_gradient: bool) -> (Tensor<2>, Option<Tensor<2>>) {
        let [m, d] = h.dims();
        let device = h.device();
        let mut top = Tensor::<2>::full([m, 1], LOWEST_LOGIT, &device); // max_v l_v
        let mut mass = Tensor::<2>::zeros([m, 1], &device); // sum_v exp(l_v - top)
        let mut pull = Tensor::<2>::zeros([m, d], &device); // sum_v exp(l_v - top) dl_v/dh / scale
        for block in &self.blocks {
            let logits = self.block_logits(h.clone(), block); // [m, rows]
            let slope = wants_gradient.then(|| self.shape.softcap_slope(&logits)).flatten();
            let new_top = top.clone().max_pair(logits.clone().max_dim(1));
            let fade = (top - new_top.clone()).exp();
            let weights = (logits - new_top.clone()).exp(); // [m, rows]
            mass = mass * fade.clone() + weights.clone().sum_dim(1);
            if wants_gradient {
                let weights = match slope {
                    Some(slope) => weights * slope,
                    None => weights,
                };
                pull = pull * fade + weights.matmul(block.w.clone());
            }
            top = new_top;
        }

        let w_y = self.rows_of(y); // [m, d]
        let logit_y = self.shape.logits((h * w_y.clone()).sum_dim(1)); // [m, 1]
        let losses = mass.clone().log() + top - logit_y.clone();
        // dL/dh = scale (sum_v p_v slope_v W_v - slope_y W_y)
        let gradient = wants_gradient.then(|| {
            let target_pull = match self.shape.softcap_slope(&logit_y) {
                Some(slope) => w_y * slope,
                None => w_y,
            };
            (pull / mass - target_pull).mul_scalar(self.shape.scale)
        });
        (losses, gradient)
    }
}

impl LogitShape {
    /// `softcap(scale * products)`.
    fn logits(self, products: Tensor<2>) -> Tensor<2> {
        let scaled = if self.scale == 1.0 { products } else { products.mul_scalar(self.scale) };
        match self.softcap {
            None => scaled,
            Some(cap) => scaled.div_scalar(cap).tanh().mul_scalar(cap),
        }
    }

    /// The softcap's derivative, from its result: `1 - (logits / cap)^2`; none without a softcap.
    fn softcap_slope(self, logits: &Tensor<2>) -> Option<Tensor<2>> {
        let cap = self.softcap?;
        Some(logits.clone().div_scalar(cap).square().neg().add_scalar(1.0))
    }
}
