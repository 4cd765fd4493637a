//! What the worker tells the page.

use serde::Serialize;
use tsify::Tsify;

use super::{
    AdapterInfo, DataSummary, DeviceInfo, DeviceKind, EvaluationRow, EvaluationScores, Failure, LedgerEntry, MemorySummary,
    Mixture, ModelInfo, Phase, Stage, StepToken, StorageInfo, TrainSettings, TriedMixture, Variant,
};

/// One message to the page.
#[derive(Debug, Serialize, Tsify)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Event {
    /// The worker is up.
    Ready {
        /// Devices of this browser, usable or not.
        devices: Vec<DeviceInfo>,
        /// The one in use.
        chosen: DeviceKind,
        /// What is stored and how much may be.
        storage: StorageInfo,
        /// Adapters in storage.
        adapters: Vec<AdapterInfo>,
    },
    /// A service answered, and its head and tokenizer are here.
    Connected {
        /// The model.
        model: ModelInfo,
        /// Adapters in storage; those of another head do not fit.
        adapters: Vec<AdapterInfo>,
        /// A stopped training run for this model can go on.
        resumable: Option<TrainSettings>,
    },
    /// Columns of a file.
    DataInspected {
        /// All of them.
        columns: Vec<String>,
        /// A guess at the inputs.
        input: Option<String>,
        /// A guess at the targets.
        target: Option<String>,
    },
    /// Pairs are read.
    DataLoaded {
        /// What they are.
        data: DataSummary,
    },
    /// A long task moved on.
    Progress {
        /// Which part of it.
        stage: Stage,
        /// Units done.
        done: f64,
        /// Units in all.
        total: f64,
        /// What a unit is: `bytes`, `rows`, `pairs`.
        unit: String,
    },
    /// The memory is downloaded and joined with the targets.
    MemoryReady {
        /// What it is.
        memory: MemorySummary,
    },
    /// One training step.
    TrainStep {
        /// Which phase.
        phase: Phase,
        /// From 0.
        epoch: u32,
        /// From 1, over the whole phase.
        step: u32,
        /// Steps of one epoch.
        steps_in_epoch: u32,
        /// What was minimised.
        loss: f32,
        /// Its reconstruction part, when kappa is above 0.
        reconstruction: Option<f32>,
        /// Its prediction part, in the joint phase.
        prediction: Option<f32>,
        /// Rows (context, target token) a second.
        pairs_per_second: f32,
    },
    /// The losses over all validation rows.
    Validated {
        /// Which phase.
        phase: Phase,
        /// From 0.
        epoch: u32,
        /// Steps of the phase so far.
        step: u32,
        /// The loss on validation rows.
        loss: f32,
        /// Whether it is the best so far.
        best: bool,
    },
    /// Training ended and the adapter is stored and in use.
    Trained {
        /// The adapter.
        adapter: AdapterInfo,
        /// The user stopped it; it can go on.
        stopped: bool,
    },
    /// One generated token.
    Token {
        /// Of which run.
        variant: Variant,
        /// The token.
        token: StepToken,
    },
    /// Both runs ended.
    Generated {
        /// The model alone; absent where it is not to learn what is generated.
        plm: Option<String>,
        /// The mixture; absent without an adapter.
        mixture: Option<String>,
        /// The user stopped it.
        stopped: bool,
    },
    /// One mixture was tried.
    Tried {
        /// It and its score.
        tried: TriedMixture,
    },
    /// All mixtures were tried, or those that there was time for.
    Tuned {
        /// The best.
        mixture: Mixture,
        /// The user stopped it.
        stopped: bool,
    },
    /// One test pair of an evaluation.
    Evaluating {
        /// The pair and its outputs.
        row: EvaluationRow,
    },
    /// An evaluation ended.
    Evaluated {
        /// Pairs evaluated.
        pairs: u32,
        /// The model alone; absent where it is not to learn what is generated.
        plm: Option<EvaluationScores>,
        /// The mixture.
        mixture: EvaluationScores,
        /// The user stopped it; the scores are of the pairs so far.
        stopped: bool,
    },
    /// What a second round's memory would tell, as far as stored contexts show.
    Rehearsed {
        /// The share of the targets' sequences of four tokens, in [0, 1].
        sequences: f64,
        /// The share of their tokens, in [0, 1].
        tokens: f64,
    },
    /// The stored adapters.
    Adapters {
        /// All of them.
        adapters: Vec<AdapterInfo>,
    },
    /// An adapter's file, for the user to save.
    AdapterExported {
        /// A file name.
        name: String,
        /// Its content.
        #[serde(with = "serde_bytes")]
        #[tsify(type = "Uint8Array")]
        bytes: Vec<u8>,
    },
    /// A request left the tab, or grew.
    Ledger {
        /// Replaces the entry of the same number.
        entry: LedgerEntry,
    },
    /// A task failed; the worker stays usable.
    Failed {
        /// Which task.
        during: Task,
        /// What happened and what to do.
        failure: Failure,
    },
    /// No task is running any more.
    Idle,
}

/// A task of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Task {
    Open,
    Connect,
    Data,
    Memory,
    Train,
    Generate,
    Tune,
    Evaluate,
    Regenerate,
    Adapters,
}
