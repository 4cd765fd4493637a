//! What ends a generation, for streams of tests that never fail themselves.

use pema_adapter::{NotMixed, NotPrivate, ReadError};

/// Why nothing more was written.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    NotPrivate(#[from] NotPrivate),
    #[error(transparent)]
    NotMixed(#[from] NotMixed),
}
