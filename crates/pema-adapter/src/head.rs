//! The frozen LM head `W_hd [v, d]` on a device.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use pema_core::id::{ContentHash, TokenId};

use crate::tensor_file::{FileError, Matrix, TensorFile, floats};

/// The head's tensor in its safetensors file.
const HEAD_TENSOR: &str = "w_hd";

/// Bytes of one block of the head on the device: half of the 128 MiB that every WebGPU adapter
/// binds to a shader.
const BLOCK_BYTES_MAX: usize = 64 << 20;

/// Vocabulary rows of one block, which bounds the logits that the loss holds at a time.
const BLOCK_ROWS_MAX: usize = 16384;

/// The frozen head: `logits(h) = softcap(scale * (h W_hd^T))`. Cheap to clone.
///
/// It lies on the device as blocks of vocabulary rows, so that a large vocabulary fits the
/// device's binding limit.
#[derive(Clone, Debug)]
pub struct Head {
    blocks: Vec<HeadBlock>,
    v: usize,
    d: usize,
    scale: f32,
    softcap: Option<f32>,
    hash: ContentHash,
    /// Brings a row to unit root mean square, on average.
    embedding_scale: f32,
}

/// Rows `rows` of `W_hd`.
#[derive(Clone, Debug)]
pub(crate) struct HeadBlock {
    pub(crate) rows: Range<usize>,
    /// `[rows, d]`
    pub(crate) w: Tensor<2>,
}

impl Head {
    /// Reads the file that a service serves as `/v1/head`: safetensors with `w_hd` f16 `[v, d]`
    /// (bf16 and f32 do as well). `scale` and `softcap` are the model card's.
    pub fn from_safetensors(bytes: &[u8], scale: f32, softcap: Option<f32>, device: &Device) -> Result<Self, HeadError> {
        let block_rows = |d: usize| (BLOCK_BYTES_MAX / (d * size_of::<f32>())).clamp(1, BLOCK_ROWS_MAX);
        Self::with_block_rows(bytes, scale, softcap, device, block_rows)
    }

    fn with_block_rows(
        bytes: &[u8],
        scale: f32,
        softcap: Option<f32>,
        device: &Device,
        block_rows: impl Fn(usize) -> usize,
    ) -> Result<Self, HeadError> {
        if !scale.is_finite() || scale == 0.0 {
            return Err(HeadError::Scale(scale));
        }
        if let Some(cap) = softcap.filter(|cap| !(cap.is_finite() && *cap > 0.0)) {
            return Err(HeadError::Softcap(cap));
        }
        let file = TensorFile::parse(bytes)?;
        let view = file.view(HEAD_TENSOR)?;
        let &[v, d] = view.shape() else { return Err(HeadError::NotAMatrix(view.shape().to_vec())) };
        if v == 0 || d == 0 {
            return Err(HeadError::NotAMatrix(vec![v, d]));
        }
        let row_bytes = view.data().len() / v;
        let mut squares = 0.0;
        let blocks = (0..v).step_by(block_rows(d)).map(|first| {
            let rows = first..v.min(first + block_rows(d));
            let part = &view.data()[rows.start * row_bytes..rows.end * row_bytes];
            let values = floats(HEAD_TENSOR, view.dtype(), part)?;
            squares += values.iter().map(|value| f64::from(value * value)).sum::<f64>();
            let w = Matrix { shape: [rows.len(), d], values }.upload(device);
            Ok(HeadBlock { rows, w })
        });
        let blocks = blocks.collect::<Result<_, FileError>>()?;
        let mean_square = squares / (v * d) as f64;
        let embedding_scale = if mean_square > 0.0 { mean_square.sqrt().recip() as f32 } else { 1.0 };
        Ok(Self { blocks, v, d, scale, softcap, hash: ContentHash::of(bytes), embedding_scale })
    }

    /// `v`: rows, the vocabulary's size.
    pub fn v(&self) -> usize {
        self.v
    }

    /// `d`: entries of a hidden state.
    pub fn d(&self) -> usize {
        self.d
    }

    /// Names the file that the head was read from.
    pub fn hash(&self) -> &ContentHash {
        &self.hash
    }

    /// Logits of `h [n, d]` as `[n, v]`, for generating.
    ///
    /// # Panics
    ///
    /// If `h` has another `d` than the head.
    pub fn logits(&self, h: Tensor<2>) -> Tensor<2> {
        let parts = self.blocks.iter().map(|block| self.block_logits(h.clone(), block)).collect();
        Tensor::cat(parts, 1)
    }

    pub(crate) fn blocks(&self) -> &[HeadBlock] {
        &self.blocks
    }

    pub(crate) fn scale(&self) -> f32 {
        self.scale
    }

    /// Logits of one block of the vocabulary: `[n, d] -> [n, rows]`.
    pub(crate) fn block_logits(&self, h: Tensor<2>, block: &HeadBlock) -> Tensor<2> {
        self.shape_logits(h.matmul(block.w.clone().transpose()))
    }

    /// `softcap(scale * products)`.
    pub(crate) fn shape_logits(&self, products: Tensor<2>) -> Tensor<2> {
        let scaled = if self.scale == 1.0 { products } else { products.mul_scalar(self.scale) };
        match self.softcap {
            None => scaled,
            Some(cap) => scaled.div_scalar(cap).tanh().mul_scalar(cap),
        }
    }

    /// The softcap's derivative, from its result: `1 - (logits / cap)^2`; none without a softcap.
    pub(crate) fn softcap_slope(&self, logits: &Tensor<2>) -> Option<Tensor<2>> {
        let cap = self.softcap?;
        Some(logits.clone().div_scalar(cap).square().neg().add_scalar(1.0))
    }

    /// Embeddings `[n, d]` of tokens less than `v`, zero where there is none.
    pub(crate) fn embed(&self, tokens: &[Option<TokenId>]) -> Tensor<2> {
        let rows: Vec<TokenId> = tokens.iter().map(|token| token.unwrap_or_default()).collect();
        let scale = |token: &Option<TokenId>| if token.is_some() { self.embedding_scale } else { 0.0 };
        let scales = TensorData::new(tokens.iter().map(scale).collect::<Vec<_>>(), [tokens.len(), 1]);
        let rows = self.rows_of(&rows);
        let scales = Tensor::<2>::from_data(scales, &rows.device());
        rows * scales
    }

    /// `W_hd[y]`: `[n, d]`, gathered from the blocks. Every target must be less than `v`.
    pub(crate) fn rows_of(&self, y: &[TokenId]) -> Tensor<2> {
        let from = |block: &HeadBlock| {
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
}

/// A head that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HeadError {
    /// The file is wrong.
    #[error("the LM head: {0}; download it again")]
    File(#[from] FileError),
    /// The tensor is not `[v, d]`.
    #[error("the LM head has shape {0:?}, expected [v, d]")]
    NotAMatrix(Vec<usize>),
    /// The card's scale is no factor.
    #[error("the logit scale is {0}; it must be finite and not 0")]
    Scale(f32),
    /// The card's softcap is no bound.
    #[error("the logit softcap is {0}; it must be a positive number")]
    Softcap(f32),
}
