//! Where a memory's hidden states lie.

use std::fmt;
use std::sync::Arc;

use half::f16;

use super::MemoryError;

/// A source of hidden states, in host memory or behind storage.
pub trait Rows {
    /// How many rows there are.
    fn len(&self) -> usize;

    /// `d`: entries in a row.
    fn d(&self) -> usize;

    /// Appends the rows at `indices`, in that order, to `out`.
    fn gather(&self, indices: &[usize], out: &mut Vec<f32>) -> Result<(), RowsError>;

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<R: Rows + ?Sized> Rows for Arc<R> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn d(&self) -> usize {
        (**self).d()
    }

    fn gather(&self, indices: &[usize], out: &mut Vec<f32>) -> Result<(), RowsError> {
        (**self).gather(indices, out)
    }
}

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// No such row.
    #[error("row {index} of a memory of {len} rows")]
    OutOfRange {
        /// The row asked for.
        index: usize,
        /// Rows there are.
        len: usize,
    },
    /// The storage behind the rows failed.
    #[error("the memory cannot be read: {0}")]
    Storage(String),
}

/// Rows in host memory, row-major, as [`f16`] (what shards hold) or `f32`.
#[derive(Clone, PartialEq)]
pub struct HostRows<T = f16> {
    d: usize,
    values: Vec<T>,
}

impl<T: Copy + Into<f32>> HostRows<T> {
    /// Rows of `d` entries each.
    pub fn new(d: usize, values: Vec<T>) -> Result<Self, MemoryError> {
        if d == 0 || !values.len().is_multiple_of(d) {
            return Err(MemoryError::RaggedRows { values: values.len(), d });
        }
        Ok(Self { d, values })
    }
}

impl<T: Copy + Into<f32>> Rows for HostRows<T> {
    fn len(&self) -> usize {
        self.values.len() / self.d
    }

    fn d(&self) -> usize {
        self.d
    }

    fn gather(&self, indices: &[usize], out: &mut Vec<f32>) -> Result<(), RowsError> {
        out.reserve(indices.len() * self.d);
        for &index in indices {
            let row = index
                .checked_mul(self.d)
                .and_then(|start| self.values.get(start..start + self.d))
                .ok_or(RowsError::OutOfRange { index, len: self.len() })?;
            out.extend(row.iter().map(|&value| value.into()));
        }
        Ok(())
    }
}

// By hand, so that no log shows a row or a target.
impl<T> fmt::Debug for HostRows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostRows").field("d", &self.d).finish_non_exhaustive()
    }
}
