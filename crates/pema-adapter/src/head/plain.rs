//! The head as f32 blocks, and its loss as Burn operations on tiles: on any device that has no better.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use pema_core::id::TokenId;
use pema_head::LogitShape;

use super::{BLOCK_BYTES_MAX, blocks};
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
    pub(super) shape: LogitShape,
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
        Ok(Self { blocks: blocks.collect::<Result<_, _>>()?, shape })
    }

    /// `[n, d] -> [n, v]`
    pub(super) fn logits(&self, h: Tensor<2>) -> Tensor<2> {
        let h = h.transpose();
        let parts = self.blocks.iter().map(|block| self.block_logits(h.clone(), block)).collect();
        Tensor::cat(parts, 0).transpose()
    }

    /// `[d, n] -> [rows, n]`
    fn block_logits(&self, h: Tensor<2>, block: &Block) -> Tensor<2> {
        logits_of(block.w.clone().matmul(h), self.shape)
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
        let SoftmaxParts { top, mass, pull } = self.softmax(h.clone(), wants_gradient);
        let w_y = self.rows_of(y); // [n, d]
        let logit_y = logits_of((h * w_y.clone()).sum_dim(1), self.shape); // [n, 1]
        let losses = mass.clone().log() + top - logit_y.clone();
        // dL/dh = scale (sum_v p_v slope_v W_v - slope_y W_y)
        let gradient = pull.map(|pull| {
            let target_pull = match slope_of(&logit_y, self.shape) {
                Some(slope) => w_y * slope,
                None => w_y,
            };
            (pull / mass - target_pull).mul_scalar(self.shape.scale)
        });
        (losses, gradient)
    }

    /// The softmax over the head's rows, a chunk of `h [n, d]` at a time.
    fn softmax(&self, h: Tensor<2>, wants_pull: bool) -> SoftmaxParts {
        let [n, d] = h.dims();
        let chunks = (0..n).step_by(ROWS_PER_CHUNK).map(|first| {
            let rows = h.clone().slice([first..n.min(first + ROWS_PER_CHUNK), 0..d]);
            self.chunk_softmax(rows, wants_pull)
        });
        let chunks: Vec<_> = chunks.collect();
        let cat = |part: fn(&SoftmaxParts) -> Tensor<2>| Tensor::cat(chunks.iter().map(part).collect(), 0);
        let pulls: Vec<_> = chunks.iter().filter_map(|chunk| chunk.pull.clone()).collect();
        SoftmaxParts {
            top: cat(|chunk| chunk.top.clone()),
            mass: cat(|chunk| chunk.mass.clone()),
            pull: wants_pull.then(|| Tensor::cat(pulls, 0)),
        }
    }

    /// [`Self::softmax`] of a chunk `h [m, d]`.
    fn chunk_softmax(&self, h: Tensor<2>, wants_pull: bool) -> SoftmaxParts {
        let [m, d] = h.dims();
        let (h, device) = (h.clone().transpose(), h.device());
        let mut top = Tensor::<2>::full([1, m], LOWEST_LOGIT, &device);
        let mut mass = Tensor::<2>::zeros([1, m], &device);
        let mut pull = wants_pull.then(|| Tensor::<2>::zeros([d, m], &device));
        for block in &self.blocks {
            let logits = self.block_logits(h.clone(), block); // [rows, m]
            let slope = if wants_pull { slope_of(&logits, self.shape) } else { None };
            let new_top = top.clone().max_pair(logits.clone().max_dim(0));
            let fade = (top - new_top.clone()).exp();
            let weights = (logits - new_top.clone()).exp(); // [rows, m]
            mass = mass * fade.clone() + weights.clone().sum_dim(0);
            pull = pull.map(|pull| {
                let weights = match slope {
                    Some(slope) => weights * slope,
                    None => weights,
                };
                pull * fade + block.w.clone().transpose().matmul(weights)
            });
            top = new_top;
        }
        SoftmaxParts { top: top.transpose(), mass: mass.transpose(), pull: pull.map(Tensor::transpose) }
    }
}

/// As [`pema_head::SoftmaxPart`], in tensors.
struct SoftmaxParts {
    /// `[n, 1]`
    top: Tensor<2>,
    /// `[n, 1]`
    mass: Tensor<2>,
    /// `[n, d]`
    pull: Option<Tensor<2>>,
}

/// [`LogitShape::logit`] of products.
fn logits_of(products: Tensor<2>, LogitShape { scale, softcap }: LogitShape) -> Tensor<2> {
    let scaled = if scale == 1.0 { products } else { products.mul_scalar(scale) };
    match softcap {
        None => scaled,
        Some(cap) => scaled.div_scalar(cap).tanh().mul_scalar(cap),
    }
}

/// [`LogitShape::slope`] of logits; none without a softcap.
fn slope_of(logits: &Tensor<2>, shape: LogitShape) -> Option<Tensor<2>> {
    let cap = shape.softcap?;
    Some(logits.clone().div_scalar(cap).square().neg().add_scalar(1.0))
}
