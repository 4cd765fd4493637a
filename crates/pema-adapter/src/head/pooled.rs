//! The head spread over workers, a slice of its rows each: how a tab's CPU uses every core without
//! shared memory. Each worker computes the softmax of its own rows; this joins them.

use std::{fmt, future::Future, ops::Range, pin::Pin, rc::Rc};

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use pema_core::id::TokenId;

use super::{LogitShape, blocks, plain::PlainHead};
use crate::tensor_file::{FileError, ReadError, read_f32};

/// What workers are asked for, `h [n, d]`, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceRequest {
    /// Hidden states.
    pub h: Vec<f32>,
    /// What of them.
    pub want: SliceWant,
}

/// What a [`HeadSlice`] can compute, over its `rows` of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SliceWant {
    /// `[n, rows]` logits.
    Logits,
    /// The maximum logit `[n]`, then `sum exp(l - maximum)` `[n]`.
    Softmax,
    /// The same, then `sum exp(l - maximum) dl/dh / scale` `[n, d]`.
    SoftmaxAndPull,
}

/// A slice of the head, as it is given to a worker.
#[derive(Clone, Copy, Debug)]
pub struct SliceRows<'a> {
    /// f16 `[rows, d]`.
    pub rows: &'a [f16],
    /// Entries of a row.
    pub d: usize,
    /// The model card's `logit_scale`.
    pub scale: f32,
    /// The model card's `logit_softcap`.
    pub softcap: Option<f32>,
}

/// Workers with a [`HeadSlice`] each.
pub trait HeadPool: fmt::Debug {
    /// How many workers there are, at least 1.
    fn workers(&self) -> usize;

    /// Gives every worker its rows, in their order.
    fn load<'a>(&'a self, slices: Vec<SliceRows<'a>>) -> PoolFuture<'a, ()>;

    /// The workers' answers, in their order.
    fn ask(&self, request: SliceRequest) -> PoolFuture<'_, Vec<Vec<f32>>>;

    /// Whether every worker still answers.
    fn is_alive(&self) -> bool;
}

/// What a pool's worker said.
pub type PoolFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, PoolError>> + 'a>>;

/// A worker that did not answer, or not with what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a CPU worker failed: {0}; try again, and close other tabs if memory is short")]
pub struct PoolError(pub String);

/// A worker's rows of the head.
#[derive(Clone, Debug)]
pub struct HeadSlice {
    head: PlainHead,
    d: usize,
    device: Device,
}

impl HeadSlice {
    /// Uploads the rows.
    pub fn new(slice: SliceRows<'_>, device: &Device) -> Result<Self, FileError> {
        let SliceRows { rows, d, scale, softcap } = slice;
        let read = |range: &Range<usize>| {
            let part = &rows[range.start * d..range.end * d];
            Ok(part.iter().map(|x| x.to_f32()).collect())
        };
        let head = PlainHead::upload([rows.len() / d, d], LogitShape { scale, softcap }, device, read)?;
        Ok(Self { head, d, device: device.clone() })
    }

    /// The numbers that [`SliceWant`] describes.
    ///
    /// # Errors
    /// [`ReadError`] when the device fails.
    pub async fn answer(&self, SliceRequest { h, want }: SliceRequest) -> Result<Vec<f32>, ReadError> {
        let n = h.len() / self.d;
        let h = Tensor::<2>::from_data(TensorData::new(h, [n, self.d]), &self.device);
        if want == SliceWant::Logits {
            return read_f32(self.head.logits(h)).await;
        }
        let parts = self.head.softmax(h, want == SliceWant::SoftmaxAndPull);
        let mut numbers = read_f32(parts.top).await?;
        numbers.extend(read_f32(parts.mass).await?);
        if let Some(pull) = parts.pull {
            numbers.extend(read_f32(pull).await?);
        }
        Ok(numbers)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct PooledHead {
    pool: Rc<dyn HeadPool>,
    slices: Vec<Range<usize>>,
    /// `[v, d]`, for rows of targets and prefixes.
    rows: Rc<[f16]>,
    d: usize,
    pub(super) shape: LogitShape,
    device: Device,
}

impl PooledHead {
    pub(super) async fn spread(
        rows: Rc<[f16]>,
        d: usize,
        shape: LogitShape,
        device: &Device,
        pool: Rc<dyn HeadPool>,
    ) -> Result<Self, PoolError> {
        let v = rows.len() / d;
        let slices: Vec<_> = blocks(v, v.div_ceil(pool.workers())).collect();
        let LogitShape { scale, softcap } = shape;
        let slice = |range: &Range<usize>| SliceRows { rows: &rows[range.start * d..range.end * d], d, scale, softcap };
        pool.load(slices.iter().map(slice).collect()).await?;
        Ok(Self { pool, slices, rows, d, shape, device: device.clone() })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.pool.is_alive()
    }

    /// `[n, d] -> [n, v]`
    pub(super) async fn logits(&self, h: Tensor<2>) -> Result<Tensor<2>, ReadError> {
        let [n, _] = h.dims();
        let answers = self.ask(h, SliceWant::Logits, |slice| n * slice.len()).await?;
        let parts = answers.into_iter().zip(&self.slices);
        let parts = parts.map(|(logits, slice)| self.tensor(logits, [n, slice.len()]));
        Ok(Tensor::cat(parts.collect(), 1))
    }

    /// `W_hd[y]`: `[n, d]`. Every target must be less than `v`.
    pub(super) fn rows_of(&self, y: &[TokenId]) -> Tensor<2> {
        self.tensor(y.iter().flat_map(|y| self.row(*y)).collect(), [y.len(), self.d])
    }

    /// As [`super::Head::losses`].
    pub(super) async fn losses(
        &self,
        h: Tensor<2>,
        y: &[TokenId],
        wants_gradient: bool,
    ) -> Result<(Tensor<2>, Option<Tensor<2>>), ReadError> {
        let (n, d) = (y.len(), self.d);
        let want = if wants_gradient { SliceWant::SoftmaxAndPull } else { SliceWant::Softmax };
        let entries = 2 * n + if wants_gradient { n * d } else { 0 };
        let host = read_f32(h.clone()).await?;
        let answers = self.ask(h, want, |_| entries).await?;
        let mut losses = Vec::with_capacity(n);
        let mut gradient = Vec::with_capacity(if wants_gradient { n * d } else { 0 });
        for (i, &y) in y.iter().enumerate() {
            let top = answers.iter().map(|slice| slice[i]).fold(f32::NEG_INFINITY, f32::max);
            let fades: Vec<f32> = answers.iter().map(|slice| (slice[i] - top).exp()).collect();
            let mass: f32 = answers.iter().zip(&fades).map(|(slice, fade)| fade * slice[n + i]).sum();
            let product = host[i * d..][..d].iter().zip(self.row(y)).map(|(h, w)| h * w).sum::<f32>();
            let logit = self.shape.logit(product);
            losses.push(mass.ln() + top - logit);
            if wants_gradient {
                let slope = self.shape.slope(logit);
                let pull = |k: usize| -> f32 {
                    let parts = answers.iter().zip(&fades);
                    parts.map(|(slice, fade)| fade * slice[2 * n + i * d + k]).sum()
                };
                let row = self.row(y).enumerate();
                gradient.extend(row.map(|(k, w)| self.shape.scale * (pull(k) / mass - slope * w)));
            }
        }
        let gradient = wants_gradient.then(|| self.tensor(gradient, [n, d]));
        Ok((self.tensor(losses, [n, 1]), gradient))
    }

    /// Every worker's answer, of the length that its slice gives.
    async fn ask(
        &self,
        h: Tensor<2>,
        want: SliceWant,
        entries: impl Fn(&Range<usize>) -> usize,
    ) -> Result<Vec<Vec<f32>>, ReadError> {
        let request = SliceRequest { h: read_f32(h).await?, want };
        let answers = self.pool.ask(request).await.map_err(|error| ReadError(error.to_string()))?;
        let fits = answers.len() == self.slices.len()
            && answers.iter().zip(&self.slices).all(|(answer, slice)| answer.len() == entries(slice));
        if fits { Ok(answers) } else { Err(ReadError("a CPU worker answered something else than asked".into())) }
    }

    fn row(&self, token: TokenId) -> impl Iterator<Item = f32> {
        self.rows[token.0 as usize * self.d..][..self.d].iter().map(|x| x.to_f32())
    }

    fn tensor(&self, values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }
}

impl LogitShape {
    /// `softcap(scale * product)`.
    fn logit(self, product: f32) -> f32 {
        let scaled = self.scale * product;
        self.softcap.map_or(scaled, |cap| cap * (scaled / cap).tanh())
    }

    /// The softcap's derivative, from its result.
    fn slope(self, logit: f32) -> f32 {
        self.softcap.map_or(1.0, |cap| 1.0 - (logit / cap).powi(2))
    }
}
