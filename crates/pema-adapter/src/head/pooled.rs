//! The head spread over workers, a slice of its rows each: how a tab's CPU uses every core without
//! shared memory. Each worker computes the softmax of its own rows; this joins them.

use std::{fmt, future::Future, ops::Range, pin::Pin, rc::Rc};

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use pema_core::{head::Int8Rows, id::TokenId};
use pema_head::{HeadRows, LogitShape, SoftmaxPart};

use super::{blocks, file::FileRows};
use crate::tensor_file::{ReadError, read_f32};

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

/// Workers with a [`HeadSlice`] of each head that is spread over them.
pub trait HeadPool: fmt::Debug {
    /// How many workers there are, at least 1.
    fn workers(&self) -> usize;

    /// Gives a head's rows to as many workers, in their order; what the head is called from now on.
    fn load<'a>(&'a self, slices: Vec<SliceRows<'a>>) -> PoolFuture<'a, PooledId>;

    /// What the workers that have rows of a head answer, in their order.
    fn ask(&self, head: PooledId, request: SliceRequest) -> PoolFuture<'_, Vec<Vec<f32>>>;

    /// Lets them forget a head.
    fn forget(&self, head: PooledId);

    /// Whether every worker still answers.
    fn is_alive(&self) -> bool;
}

/// A head of a pool.
pub type PooledId = u32;

/// What a pool's worker said.
pub type PoolFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, PoolError>> + 'a>>;

/// A worker that did not answer, or not with what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a CPU worker failed: {0}; try again, and close other tabs if memory is short")]
pub struct PoolError(pub String);

/// A worker's rows of the head.
#[derive(Clone, Debug)]
pub struct HeadSlice(HeadRows);

impl HeadSlice {
    /// Takes the rows.
    pub fn new(SliceRows { rows, d, scale, softcap }: SliceRows<'_>) -> Self {
        Self(HeadRows::new(rows.to_f32(), d, LogitShape { scale, softcap }))
    }

    /// The numbers that [`SliceWant`] describes.
    pub fn answer(&self, SliceRequest { h, want }: &SliceRequest) -> Vec<f32> {
        match want {
            SliceWant::Logits => self.0.logits(h),
            SliceWant::Softmax => self.0.softmax(h, false).into_numbers(),
            SliceWant::SoftmaxAndPull => self.0.softmax(h, true).into_numbers(),
        }
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

    /// These rows of it, in this order.
    fn pick(&self, tokens: &[TokenId], d: usize) -> Self {
        let mut picked = Self::default();
        for token in tokens {
            let row = token.0 as usize;
            match self.weights().slice(&(row..row + 1), d) {
                SliceWeights::F16(row) => picked.halves.extend_from_slice(row),
                SliceWeights::Int8(row) => picked.push(FileRows::Int8(row)),
            }
        }
        picked
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
    spread: Rc<Spread>,
    slices: Vec<Range<usize>>,
    /// For rows of targets and prefixes.
    rows: Rc<KeptRows>,
    d: usize,
    pub(super) shape: LogitShape,
    device: Device,
}

/// A head that a pool's workers have; they forget it with this.
#[derive(Debug)]
struct Spread {
    pool: Rc<dyn HeadPool>,
    head: PooledId,
}

impl Drop for Spread {
    fn drop(&mut self) {
        self.pool.forget(self.head);
    }
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
        let head = pool.load(slices.iter().map(slice).collect()).await?;
        let spread = Rc::new(Spread { pool, head });
        Ok(Self { spread, slices, rows: Rc::new(rows), d, shape, device: device.clone() })
    }

    /// The head of these tokens alone, over the same workers. Every token must be less than `v`.
    pub(super) async fn subset(&self, tokens: &[TokenId]) -> Result<Self, PoolError> {
        let rows = self.rows.pick(tokens, self.d);
        Self::spread(rows, [tokens.len(), self.d], self.shape, &self.device, self.spread.pool.clone()).await
    }

    pub(super) fn is_alive(&self) -> bool {
        self.spread.pool.is_alive()
    }

    /// `[n, d] -> [n, v]`
    pub(super) async fn logits(&self, h: Tensor<2>) -> Result<Tensor<2>, ReadError> {
        let [n, _] = h.dims();
        let answers = self.ask(read_f32(h).await?, SliceWant::Logits).await?;
        if answers.iter().zip(&self.slices).any(|(logits, slice)| logits.len() != n * slice.len()) {
            return Err(something_else());
        }
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
        let h = read_f32(h).await?;
        let answers = self.ask(h.clone(), want).await?;
        let parts = answers.into_iter().map(|numbers| SoftmaxPart::of_numbers(numbers, n, d, wants_gradient));
        let parts: Vec<SoftmaxPart> = parts.collect::<Option<_>>().ok_or_else(something_else)?;
        let softmax = parts.iter().fold(SoftmaxPart::empty(n, d, wants_gradient), SoftmaxPart::join);
        let (losses, gradient) = softmax.losses(&h, self.shape, |i| self.row(y[i]));
        Ok((self.tensor(losses, [n, 1]), wants_gradient.then(|| self.tensor(gradient, [n, d]))))
    }

    /// An answer of every worker.
    async fn ask(&self, h: Vec<f32>, want: SliceWant) -> Result<Vec<Vec<f32>>, ReadError> {
        let Spread { pool, head } = &*self.spread;
        let answers = pool.ask(*head, SliceRequest { h, want }).await.map_err(|error| ReadError(error.to_string()))?;
        if answers.len() == self.slices.len() { Ok(answers) } else { Err(something_else()) }
    }

    fn row(&self, token: TokenId) -> Vec<f32> {
        let row = token.0 as usize;
        self.rows.weights().slice(&(row..row + 1), self.d).to_f32()
    }

    fn tensor(&self, values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }
}

fn something_else() -> ReadError {
    ReadError("a CPU worker answered something else than asked".into())
}
