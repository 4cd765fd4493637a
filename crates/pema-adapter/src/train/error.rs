//! Why training stops.

use pema_core::align::{Contexts, Pairing};

use super::{ObjectiveError, Phase};
use crate::config::ConfigError;
use crate::head::HeadError;
use crate::head_loss::LossError;
use crate::memory::RowsError;
use crate::tensor_file::ReadError;

/// Training that cannot start or go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrainError {
    /// A setting cannot work.
    #[error("the settings: {0}")]
    Config(#[from] ConfigError),
    /// The memory was extracted from a model with another head.
    #[error("the memory's rows have {memory} entries, the LM head's {head}; extract it again")]
    OtherModel {
        /// The memory's `d`.
        memory: usize,
        /// The head's `d`.
        head: usize,
    },
    /// Initial weights of the wrong size.
    #[error("initial `{name}` has {found} entries, expected {expected}")]
    InitialWeights {
        /// The matrix.
        name: &'static str,
        /// Entries it has.
        found: usize,
        /// `d r`.
        expected: usize,
    },
    /// The adapter should copy and there is nothing to copy from.
    #[error("an adapter that copies needs the prompts of its memory, and this one has none")]
    NothingToCopy,
    /// The adapter should imitate the model and does not know its words.
    #[error("an adapter with contrast needs the model's own words after each prompt, and this memory was made without them")]
    NothingToImitate,
    /// Too few pairs for a gate.
    #[error(
        "a gate learns from validation pairs and needs {needed} of a context and a target token, of which there are {pairs}: set \
         more data aside for validation, or train without the setting `gate`"
    )]
    TooFewForAGate {
        /// Pairs that a gate may learn from.
        pairs: usize,
        /// Pairs that it needs.
        needed: usize,
    },
    /// The settings are for other contexts than the memory holds.
    #[error(
        "the settings are for contexts of {asked:?} and the memory holds contexts of {held:?}: extract it again, or change them"
    )]
    OtherContexts {
        /// The settings'.
        asked: Contexts,
        /// The memory's.
        held: Contexts,
    },
    /// The memory is paired otherwise than the settings say.
    #[error("the settings are for pairing by {asked:?} and the memory is paired by {held:?}: align it, or change them")]
    OtherPairing {
        /// The settings'.
        asked: Pairing,
        /// The memory's.
        held: Pairing,
    },
    /// A batch has no loss.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// The vocabulary's part of the head could not be made.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The memory failed.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The device failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The loss is infinite or NaN. The weights of the step before are kept.
    #[error("training diverged in the {phase:?} phase; lower the learning rate")]
    Diverged {
        /// The phase.
        phase: Phase,
    },
    /// Training was over already.
    #[error("training is over")]
    Done,
}

impl From<ObjectiveError> for TrainError {
    fn from(error: ObjectiveError) -> Self {
        match error {
            ObjectiveError::Loss(error) => error.into(),
            ObjectiveError::Read(error) => error.into(),
        }
    }
}
