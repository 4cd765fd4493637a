//! Why a memory cannot be trained on.

use pema_core::align::AlignError;

use super::RowsError;
use crate::tensor_file::ReadError;

/// A memory that cannot be trained on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The values do not fill whole rows.
    #[error("{values} values do not make rows of {d}")]
    RaggedRows {
        /// Values given.
        values: usize,
        /// Entries in a row.
        d: usize,
    },
    /// A row without a target, or a target without a row.
    #[error("{rows} rows but {targets} targets; each row needs one")]
    Targets {
        /// Rows given.
        rows: usize,
        /// Targets given.
        targets: usize,
    },
    /// No training rows.
    #[error("no row to learn from")]
    NothingToLearn,
    /// A row number outside the memory.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// A target token without a row.
    #[error(transparent)]
    Align(#[from] AlignError),
    /// Alignment of a memory that does not hold what the model wrote.
    #[error("there is nothing to align the targets with: pairing by alignment needs the model's own words after each prompt")]
    NoRuns,
    /// The device failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}
