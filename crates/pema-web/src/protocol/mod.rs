//! The whole conversation between the page and the worker: [`Command`]s in, [`Event`]s out.
//!
//! `tsify` writes these types into the TypeScript declarations of the built package, so the page
//! cannot drift from them. Names are camelCase in TypeScript, tags kebab-case.

mod command;
mod event;

pub use command::{Command, DataFile, Decoding, DeviceChoice, Mixing, Sampling, ScheduleKind, TrainSettings};
pub use event::{
    AdapterInfo, DataSummary, DeviceInfo, DeviceKind, EvaluationRow, EvaluationScores, Event, Failure, LedgerEntry, LedgerKind,
    MemorySummary, ModelInfo, PairPreview, Phase, Stage, StepToken, StorageInfo, Task, Variant,
};
