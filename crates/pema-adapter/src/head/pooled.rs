//! The head spread over workers, a slice of its rows each: how a tab's CPU uses every core without
//! shared memory. Each worker computes the softmax of its own rows; this joins them.

use std::{fmt, future::Future, ops::Range, pin::Pin, rc::Rc};

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use pema_core::{head::Int8Rows, id::TokenId};

use super::{LogitShape, blocks, file::FileRows, plain::PlainHead};
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
    /// `[rows, d]`.
    pub rows: SliceWeights<'a>,
    /// Entries of a row.
    pub d: usize,
    /// The model card's `logit_scale`.
    pub scale: f32,
    /// The model card's `logit_softcap`.
    pub softcap: Option<f32>,
}

/// Rows of the head in the form in which it was read.
#[derive(Clone, Copy, Debug)]
pub enum SliceWeights<'a> {
    /// f16 `[rows, d]`.
    F16(&'a [f16]),
    /// int8, and a scale a row.
    Int8(Int8Rows<'a>),
}

impl<'a> SliceWeights<'a> {
    /// How many rows of `d` entries they are.
    fn count(self, d: usize) -> usize {
        match self {
            Self::F16(rows) => rows.len() / d,
            Self::Int8(rows) => rows.scales.len(),
        }
    }

    /// Some of the rows.
    fn slice(self, rows: &Range<usize>, d: usize) -> Self {
        let entries = rows.start * d..rows.end * d;
        match self {
            Self::F16(all) => Self::F16(&all[entries]),
            Self::Int8(Int8Rows { entries: all, scales }) => {
                Self::Int8(Int8Rows { entries: &all[entries], scales: &scales[rows.clone()] })
            }
        }
    }

    fn to_f32(self) -> Vec<f32> {
        match self {
            Self::F16(rows) => rows.iter().map(|x| x.to_f32()).collect(),
            Self::Int8(rows) => rows.to_f32(),
        }
    }
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
        let read = |range: &Range<usize>| Ok(rows.slice(range, d).to_f32());
        let head = PlainHead::upload([rows.count(d), d], LogitShape { scale, softcap }, device, read)?;
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

/// All rows of the head, in their file's form; what the other form would fill is empty.
#[derive(Debug, Default)]
pub(super) struct KeptRows {
    halves: Vec<f16>,
    entries: Vec<i8>,
    scales: Vec<f32>,
}

impl KeptRows {
    /// Adds the next rows of a file.
    pub(super) fn push(&mut self, rows: FileRows<'_>) {
        match rows {
            FileRows::Floats(values) => self.halves.extend(values.into_iter().map(f16::from_f32)),
            FileRows::Int8(Int8Rows { entries, scales }) => {
                self.entries.extend_from_slice(entries);
                self.scales.extend_from_slice(scales);
            }
        }
    }

    fn weights(&self) -> SliceWeights<'_> {
        match self {
            Self { scales, halves, .. } if scales.is_empty() => SliceWeights::F16(halves),
            Self { entries, scales, .. } => SliceWeights::Int8(Int8Rows { entries, scales }),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct PooledHead {
    pool: Rc<dyn HeadPool>,
    slices: Vec<Range<usize>>,
    /// For rows of targets and prefixes.
    rows: Rc<KeptRows>,
    d: usize,
    pub(super) shape: LogitShape,
    device: Device,
}

impl PooledHead {
    pub(super) async fn spread(
        rows: KeptRows,
        [v, d]: [usize; 2],
        shape: LogitShape,
        device: &Device,
        pool: Rc<dyn HeadPool>,
    ) -> Result<Self, PoolError> {
        let slices: Vec<_> = blocks(v, v.div_ceil(pool.workers())).collect();
        let LogitShape { scale, softcap } = shape;
        let slice = |range: &Range<usize>| SliceRows { rows: rows.weights().slice(range, d), d, scale, softcap };
        pool.load(slices.iter().map(slice).collect()).await?;
        Ok(Self { pool, slices, rows: Rc::new(rows), d, shape, device: device.clone() })
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
                let row = self.row(y).into_iter().enumerate();
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

    fn row(&self, token: TokenId) -> Vec<f32> {
        let row = token.0 as usize;
        self.rows.weights().slice(&(row..row + 1), self.d).to_f32()
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
