//! The whole conversation between the page and the worker: [`Command`]s in, [`Event`]s out.
//!
//! `tsify` writes these types into the TypeScript declarations of the built package, so the page
//! cannot drift from them. Names are camelCase in TypeScript, tags kebab-case.

mod command;
mod event;
mod summary;

pub use command::{
    Asking, Command, Contexts, DataFile, Decoding, DeviceChoice, HeadForm, MixingKind, Mixture, Pairing, Sampling, ScheduleKind,
    TrainSettings,
};
pub use event::{Event, Task};
pub use summary::{
    AdapterInfo, DataSummary, DeviceInfo, DeviceKind, EvaluationRow, EvaluationScores, Failure, LedgerEntry, LedgerKind,
    MemoryEstimate, MemorySummary, ModelInfo, PairPreview, Phase, Stage, StepToken, StorageInfo, TriedMixture, Variant,
};
