//! Training, one step a call.

pub(crate) mod adam;
pub(crate) mod objective;
pub(crate) mod progress;
mod start;
pub(crate) mod trainer;
mod validation;

pub use objective::{Batch, Gradients, Losses, Objective, ObjectiveError, Weights};
pub use progress::{Activity, LossRecord, Phase, Progress, Validation};
pub use start::InitialWeights;
pub use trainer::{TrainError, Trainer};
