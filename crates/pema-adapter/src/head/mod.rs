//! The frozen LM head `W_hd [v, d]` on a device: its logits, its losses and its rows.

mod cpu;
mod file;
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
mod launcher;
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
mod packed;
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
mod pick;
mod plain;
mod pooled;
#[cfg(any(test, feature = "webgpu", feature = "wgpu"))]
mod shader;
mod tokens;

use std::{ops::Range, rc::Rc};

use burn::tensor::{Device, Tensor};
use pema_core::{
    head::{HeadForm, Int8Error},
    id::{ContentHash, TokenId},
};
use pema_head::{HeadRows, LogitShape};

use self::cpu::CpuHead;
use self::file::{FileRows, HeadFile};
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
use self::packed::PackedHead;
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
pub(crate) use self::pick::Order;
use self::plain::PlainHead;
pub use self::pooled::{HeadPool, HeadSlice, PoolError, PoolFuture, PooledId, SliceRequest, SliceRows, SliceWant, SliceWeights};
use self::pooled::{KeptRows, PooledHead};
pub(crate) use self::tokens::Tokens;
use crate::device::is_cpu;
use crate::tensor_file::{FileError, ReadError, read_f32};
use crate::tile::Tile;

/// Bytes of one block of the head on the device. Every WebGPU adapter binds 128 MiB to a shader; but the
/// pages of Burn's memory pool become as large as the largest allocation, and what a step needs beside the
/// head would then take a whole one.
const BLOCK_BYTES_MAX: usize = 18 << 20;

/// The frozen head: `logits(h) = softcap(scale * (h W_hd^T))`. Cheap to clone.
///
/// It lies on the device as blocks of vocabulary rows, so that a large vocabulary fits the
/// device's binding limit: in its file's form where Pema's own kernels run, else as f32. A CPU holds it
/// as f32 rows, or spreads it over a pool of workers.
#[derive(Clone, Debug)]
pub struct Head {
    weights: Weights,
    v: usize,
    d: usize,
    form: HeadForm,
    hash: ContentHash,
    device: Device,
    /// Brings a row to unit root mean square, on average.
    embedding_scale: f32,
}

#[derive(Clone, Debug)]
enum Weights {
    Cpu(CpuHead),
    Plain(PlainHead),
    #[cfg(any(feature = "webgpu", feature = "wgpu"))]
    Packed(PackedHead),
    Pooled(PooledHead),
}

impl Head {
    /// Reads the file that a service serves as `/v1/head` or `/v1/head/int8`: safetensors with `w_hd`
    /// f16 `[v, d]` (bf16 and f32 do as well), or the int8 form of [`pema_core::head`]. `scale` and
    /// `softcap` are the model card's.
    ///
    /// # Errors
    /// [`HeadError`] when the file, the scale or the softcap is not usable.
    pub fn from_safetensors(bytes: &[u8], scale: f32, softcap: Option<f32>, device: &Device) -> Result<Self, HeadError> {
        let file = HeadFile::parse(bytes, scale, softcap)?;
        let mut squares = 0.0;
        let weights = Weights::upload(file.shape, file.logits, device, |rows| {
            let rows = file.rows(rows)?;
            squares += rows.sum_of_squares();
            Ok(rows)
        })?;
        Ok(Self::new(weights, &file, squares, device))
    }

    /// The same, spread over the workers of a pool, whose device is the CPU.
    ///
    /// # Errors
    /// [`HeadError`] when the file, the scale or the softcap is not usable, or a worker fails.
    pub async fn spread(
        bytes: &[u8],
        scale: f32,
        softcap: Option<f32>,
        device: &Device,
        pool: Rc<dyn HeadPool>,
    ) -> Result<Self, HeadError> {
        let file = HeadFile::parse(bytes, scale, softcap)?;
        let mut squares = 0.0;
        let [v, d] = file.shape;
        let mut kept = KeptRows::default();
        for block in blocks(v, BLOCK_BYTES_MAX / (d * size_of::<f32>())) {
            let rows = file.rows(&block)?;
            squares += rows.sum_of_squares();
            kept.push(rows);
        }
        let pooled = PooledHead::spread(kept, file.shape, file.logits, device, pool).await?;
        Ok(Self::new(Weights::Pooled(pooled), &file, squares, device))
    }

    fn new(weights: Weights, file: &HeadFile<'_>, squares: f64, device: &Device) -> Self {
        let [v, d] = file.shape;
        let mean_square = squares / (v * d) as f64;
        let embedding_scale = if mean_square > 0.0 { mean_square.sqrt().recip() as f32 } else { 1.0 };
        Self { weights, v, d, form: file.form(), hash: file.hash.clone(), device: device.clone(), embedding_scale }
    }

    /// The same, whose kernels, where they are Pema's own, sum products in this tile rather than in the device's.
    #[must_use]
    pub fn with_tile(self, tile: Tile) -> Self {
        Self { weights: self.weights.with_tile(tile), ..self }
    }

    /// Whether the workers that it is spread over, if any, still answer.
    pub fn is_alive(&self) -> bool {
        match &self.weights {
            Weights::Pooled(head) => head.is_alive(),
            _ => true,
        }
    }

    /// `v`: rows, the vocabulary's size.
    pub fn v(&self) -> usize {
        self.v
    }

    /// `d`: entries of a hidden state.
    pub fn d(&self) -> usize {
        self.d
    }

    /// Where the head lies; a pool's is the CPU.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The form that it was read in.
    pub fn form(&self) -> HeadForm {
        self.form
    }

    /// Names the head: the hash of its f16 file, which an int8 file carries. Adapters and checkpoints
    /// are bound to it, so that those made with one form go on with the other.
    pub fn hash(&self) -> &ContentHash {
        &self.hash
    }

    /// Logits of `h [n, d]` as `[n, v]`, for generating.
    ///
    /// # Errors
    /// [`ReadError`] when a worker of a pool fails.
    ///
    /// # Panics
    ///
    /// If `h` has another `d` than the head, or lies on another device.
    pub async fn logits(&self, h: Tensor<2>) -> Result<Tensor<2>, ReadError> {
        Ok(match &self.weights {
            Weights::Cpu(head) => head.logits(h).await?,
            Weights::Plain(head) => head.logits(h),
            #[cfg(any(feature = "webgpu", feature = "wgpu"))]
            Weights::Packed(head) => head.logits(h),
            Weights::Pooled(head) => head.logits(h).await?,
        })
    }

    /// The head of these tokens alone, each less than `v`, in this order; at least one.
    pub(crate) async fn subset(&self, tokens: &[TokenId]) -> Result<Self, HeadError> {
        let weights = match &self.weights {
            Weights::Pooled(head) => Weights::Pooled(head.subset(tokens).await?),
            weights => {
                let (shape, logits) = ([tokens.len(), self.d], weights.logit_shape());
                let rows = read_f32(self.tokens(&tokens.iter().copied().map(Some).collect::<Vec<_>>()).rows()).await?;
                // Rows of an int8 head too become f16 here, which moves them less than a thousandth.
                Weights::upload(shape, logits, &self.device, |block| {
                    Ok(FileRows::Floats(rows[block.start * self.d..block.end * self.d].to_vec()))
                })?
            }
        };
        Ok(Self { weights, v: tokens.len(), hash: self.hash.clone(), device: self.device.clone(), ..*self })
    }

    /// The cross-entropies `[n, 1]` of `h [n, d]` at `y` and, if wanted, the gradient of each with
    /// respect to its row, `[n, d]`. Every target must be less than `v`, `n` at least 1.
    pub(crate) async fn losses(
        &self,
        h: Tensor<2>,
        y: &[TokenId],
        wants_gradient: bool,
    ) -> Result<(Tensor<2>, Option<Tensor<2>>), ReadError> {
        Ok(match &self.weights {
            Weights::Cpu(head) => head.losses(h, y, wants_gradient).await?,
            Weights::Plain(head) => head.losses(h, y, wants_gradient),
            #[cfg(any(feature = "webgpu", feature = "wgpu"))]
            Weights::Packed(head) => head.losses(h, y, wants_gradient),
            Weights::Pooled(head) => head.losses(h, y, wants_gradient).await?,
        })
    }

    /// The form that chooses tokens itself, where its kernels run.
    #[cfg(any(feature = "webgpu", feature = "wgpu"))]
    pub(crate) fn packed(&self) -> Option<&PackedHead> {
        match &self.weights {
            Weights::Packed(head) => Some(head),
            _ => None,
        }
    }
}

impl Weights {
    /// `read` gives rows, all in one form.
    fn upload<'f>(
        shape: [usize; 2],
        logits: LogitShape,
        device: &Device,
        mut read: impl FnMut(&Range<usize>) -> Result<FileRows<'f>, FileError>,
    ) -> Result<Self, FileError> {
        #[cfg(any(feature = "webgpu", feature = "wgpu"))]
        if let Some(device) = PackedHead::device(device, shape[1]) {
            return Ok(Self::Packed(PackedHead::upload(shape, logits, device, read)?));
        }
        let mut floats = |rows: &Range<usize>| Ok(read(rows)?.into_f32());
        Ok(match is_cpu(device) {
            true => Self::Cpu(CpuHead::new(HeadRows::new(floats(&(0..shape[0]))?, shape[1], logits), device)),
            false => Self::Plain(PlainHead::upload(shape, logits, device, floats)?),
        })
    }

    #[cfg_attr(not(any(feature = "webgpu", feature = "wgpu")), expect(unused_variables, reason = "no kernel has a tile"))]
    fn with_tile(self, tile: Tile) -> Self {
        match self {
            #[cfg(any(feature = "webgpu", feature = "wgpu"))]
            Self::Packed(head) => Self::Packed(head.with_tile(tile)),
            other => other,
        }
    }

    fn logit_shape(&self) -> LogitShape {
        match self {
            Self::Cpu(head) => head.shape(),
            Self::Plain(head) => head.shape,
            #[cfg(any(feature = "webgpu", feature = "wgpu"))]
            Self::Packed(head) => head.shape,
            Self::Pooled(head) => head.shape,
        }
    }
}

/// `v` rows in blocks of at most `rows_max`.
fn blocks(v: usize, rows_max: usize) -> impl Iterator<Item = Range<usize>> {
    let rows_max = rows_max.max(1);
    (0..v).step_by(rows_max).map(move |first| first..v.min(first + rows_max))
}

/// A head that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HeadError {
    /// The file is wrong.
    #[error("the LM head: {0}; download it again")]
    File(#[from] FileError),
    /// The device that held it failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file is not of the int8 form.
    #[error("the int8 LM head: {0}; download it again")]
    Int8(#[from] Int8Error),
    /// A worker that was to hold a part of it failed.
    #[error("the LM head: {0}")]
    Pool(#[from] PoolError),
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

#[cfg(test)]
mod tests;
