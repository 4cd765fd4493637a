//! Training, one step a call.

pub(crate) mod adam;
mod error;
pub(crate) mod objective;
pub(crate) mod progress;
pub(crate) mod start;
mod trainer;
mod validation;

pub use error::TrainError;
pub use objective::{Batch, Gradients, Losses, Objective, ObjectiveError, Weights};
pub use progress::{Activity, LossRecord, Phase, Progress, Validation};
pub use start::InitialWeights;
pub use trainer::Trainer;
