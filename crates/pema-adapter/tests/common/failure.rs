//! What ends a generation, for streams of tests that never fail themselves.

use pema_adapter::{NotLearned, NotPrivate, ReadError};

/// Why nothing more was written.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    NotPrivate(#[from] NotPrivate),
    #[error(transparent)]
    NotLearned(#[from] NotLearned),
}
