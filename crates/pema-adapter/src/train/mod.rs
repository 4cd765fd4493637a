//! Training, one step a call.

pub(crate) mod adam;
mod error;
mod gating;
pub(crate) mod objective;
pub(crate) mod progress;
pub(crate) mod start;
pub(crate) mod trainer;
mod validation;
mod weights;

pub use error::TrainError;
pub use objective::{Batch, Gradients, Losses, Objective, ObjectiveError};
pub use progress::{Activity, LossRecord, Phase, Progress, Validation};
pub use start::InitialWeights;
pub use trainer::Trainer;
pub use weights::{Extra, Weights};
