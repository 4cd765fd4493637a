//! Everything that can go wrong in the tab, as sentences for the person in front of it.

use pema_core::{data::ImportError, wire::Problem};
use thiserror::Error;
use wasm_bindgen::{JsCast, JsValue};

use crate::protocol::Failure;

/// Why a task ended early.
#[derive(Debug, Error)]
pub enum TabError {
    /// A second long task was asked for.
    #[error("another task is still running: stop it or wait for it to end")]
    Busy,
    /// The user asked for it.
    #[error("stopped")]
    Stopped,
    /// A step was asked for before the one it needs.
    #[error("{0}")]
    NotYet(&'static str),
    /// Text that is not the URL of a service.
    #[error("{url:?} is not the URL of a service: it should look like https://pema.example.com ({reason})")]
    Url {
        /// As typed.
        url: String,
        /// Of the parser.
        reason: String,
    },
    /// No answer.
    #[error(
        "the service at {origin} does not answer: check the URL, that the service runs, and that it allows this \
         page's origin; what was downloaded is kept, so try again"
    )]
    Unreachable {
        /// Of the service.
        origin: String,
    },
    /// The service answered with a problem.
    #[error("{}", problem_sentence(.0))]
    Refused(Problem),
    /// The answer is not what `/v1` promises.
    #[error("the server at {origin} is not a Pema service of wire version 1: {detail}")]
    NotPema {
        /// Of the server.
        origin: String,
        /// What does not fit.
        detail: String,
    },
    /// The head was asked for in int8.
    #[error("this service offers no smaller head: connect again without that choice")]
    NoInt8Head,
    /// Bytes that are not what their hash says.
    #[error("{what} arrived altered or cut short (its SHA-256 differs from the service's): nothing of it was kept, try again")]
    Altered {
        /// Which artefact.
        what: String,
    },
    /// The extraction ended early on the service's side.
    #[error("the service could not finish the memory: {0}; finished shards are kept, try again")]
    ExtractionFailed(String),
    /// The memory does not fit what was asked for.
    #[error(transparent)]
    Shard(#[from] pema_core::memory::ShardError),
    /// Targets and memory do not fit.
    #[error(transparent)]
    Align(#[from] pema_core::align::AlignError),
    /// A generation frame that is none.
    #[error(transparent)]
    Frame(#[from] pema_core::wire::frame::FrameError),
    /// Bad rows in the user's file.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A bad template.
    #[error(transparent)]
    Template(#[from] pema_core::data::TemplateError),
    /// Pairs that the model or its service cannot take.
    #[error(transparent)]
    Prepare(#[from] pema_core::prepare::PrepareError),
    /// A split that leaves nothing.
    #[error(transparent)]
    Split(#[from] pema_core::data::SplitError),
    /// A tokenizer that cannot be read.
    #[error("the service's tokenizer cannot be used: {0}")]
    Tokenizer(#[from] pema_core::text::TextError),
    /// Prompts that take more bytes than the service accepts.
    #[error("the prompts take {bytes} bytes and the service accepts {most}: use fewer pairs")]
    TooManyBytes {
        /// Of the request.
        bytes: usize,
        /// The service's limit.
        most: u64,
    },
    /// A setting out of range.
    #[error("{0}")]
    Setting(String),
    /// A bad mixing schedule.
    #[error(transparent)]
    Schedule(#[from] pema_core::schedule::ScheduleError),
    /// A head that cannot be used.
    #[error(transparent)]
    Head(#[from] pema_adapter::HeadError),
    /// A memory that cannot be learned from.
    #[error(transparent)]
    Memory(#[from] pema_adapter::MemoryError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] pema_adapter::TrainError),
    /// A checkpoint that cannot be made or used.
    #[error(transparent)]
    Checkpoint(#[from] pema_adapter::CheckpointError),
    /// An adapter's file that cannot be used here.
    #[error(transparent)]
    AdapterFile(#[from] pema_adapter::ImportError),
    /// An adapter that cannot be written.
    #[error(transparent)]
    Export(#[from] pema_adapter::ExportError),
    /// Scores that cannot be computed.
    #[error(transparent)]
    Metrics(#[from] pema_core::metrics::MetricError),
    /// The user stopped before there was an adapter.
    #[error("stopped in the reconstruction phase, before there is an adapter: resume to go on")]
    StoppedInPhaseOne,
    /// The device lost its work.
    #[error("{0}: reload the page, and choose the CPU if it fails again; what is stored is kept")]
    Device(#[from] pema_adapter::ReadError),
    /// An adapter that cannot write without the model.
    #[error(transparent)]
    NotPrivate(#[from] pema_adapter::NotPrivate),
    /// A mixture that the adapter lacks.
    #[error(transparent)]
    NotMixed(#[from] pema_adapter::NotMixed),
    /// Text that would tell too much.
    #[error(
        "the estimate is {} of the targets' sequences and the limit {}: nothing was sent; lower the adapter's weight, or \
         train for fewer epochs", percent(.estimate), percent(.most)
    )]
    Resembles {
        /// The estimated share of the targets' sequences.
        estimate: f64,
        /// The largest one allowed.
        most: f64,
    },
    /// Text that would have told too much.
    #[error(
        "ended at pair {prompt}: its next token would have told more than {} of the targets' sequences; the second memory \
         is not made", percent(.most)
    )]
    WouldResemble {
        /// Which pair, from 1.
        prompt: u32,
        /// The largest share allowed.
        most: f64,
    },
    /// Sampling settings out of range.
    #[error(transparent)]
    Sampling(#[from] pema_core::sampling::SamplingError),
    /// No such device.
    #[error("WebGPU is not to be had here ({0}): choose the CPU, or a browser with WebGPU switched on")]
    NoWebGpu(String),
    /// The origin's storage is full.
    #[error(
        "the browser's storage for this site is full: free some with \u{201c}Forget everything\u{201d} or on the disk, \
         then go on; what was stored before is kept"
    )]
    StorageFull,
    /// An adapter for which there is no room.
    #[error(
        "the browser's storage for this site is full, so the adapter is not stored; it is in use, and lost when this \
         tab is closed: export it as a file now"
    )]
    NotKept,
    /// A checkpoint for which there is no room.
    #[error(
        "the browser's storage for this site is full, so the run's state is not stored: it goes on, and cannot be \
         resumed once this tab is closed"
    )]
    NoCheckpoint,
    /// Another tab holds a file.
    #[error("the file {0} is in use, perhaps by another tab of this site: close that tab and try again")]
    StorageLocked(String),
    /// Any other trouble of the storage.
    #[error("the browser's storage failed at {path}: {detail}; is this a private window?")]
    Storage {
        /// Where.
        path: String,
        /// As the browser says it.
        detail: String,
    },
    /// A message that the worker cannot read.
    #[error("the page sent a command that this worker does not know ({0}): reload the page")]
    Command(String),
}

impl TabError {
    /// For the page.
    pub fn failure(&self) -> Failure {
        let (message, details) = match self {
            Self::Import(ImportError::Rows { problems, bad_rows }) => (
                format!("{bad_rows} rows of the file cannot be read: mend or remove them"),
                problems.iter().map(ToString::to_string).collect(),
            ),
            _ => (self.to_string(), Vec::new()),
        };
        Failure { kind: self.kind().to_owned(), message, details }
    }

    fn kind(&self) -> &str {
        match self {
            Self::Busy => "busy",
            Self::Stopped => "stopped",
            Self::NotYet(_) => "not-yet",
            Self::Url { .. } => "bad-url",
            Self::Unreachable { .. } => "unreachable",
            Self::Refused(problem) => &problem.kind,
            Self::NotPema { .. } => "not-pema",
            Self::NoInt8Head => "no-int8-head",
            Self::Altered { .. } | Self::Shard(_) => "altered",
            Self::ExtractionFailed(_) => "extraction-failed",
            Self::Align(_) => "memory-mismatch",
            Self::Frame(_) => "bad-frame",
            Self::Import(_) => "bad-data",
            Self::Template(_) => "bad-template",
            Self::Prepare(_) => "unusable-pair",
            Self::Split(_) => "bad-split",
            Self::Tokenizer(_) => "bad-tokenizer",
            Self::TooManyBytes { .. } => "too-many-bytes",
            Self::Setting(_) | Self::Schedule(_) | Self::Sampling(_) => "bad-setting",
            Self::StoppedInPhaseOne => "stopped",
            Self::Head(_) => "bad-head",
            Self::Memory(_) => "bad-memory",
            Self::Train(_) => "training",
            Self::Checkpoint(_) => "checkpoint",
            Self::AdapterFile(_) => "adapter-file",
            Self::Export(_) => "export",
            Self::Metrics(_) => "metrics",
            Self::Device(_) => "device",
            Self::NotPrivate(_) => "not-private",
            Self::NotMixed(_) => "not-mixed",
            Self::Resembles { .. } | Self::WouldResemble { .. } => "resembles-targets",
            Self::NoWebGpu(_) => "no-webgpu",
            Self::StorageFull | Self::NotKept | Self::NoCheckpoint => "storage-full",
            Self::StorageLocked(_) => "storage-locked",
            Self::Storage { .. } => "storage",
            Self::Command(_) => "bad-command",
        }
    }
}

fn problem_sentence(problem: &Problem) -> String {
    format!("the service refused ({}): {}", problem.title, problem.detail)
}

fn percent(share: &f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// A JavaScript exception in words.
pub(crate) fn js_message(value: &JsValue) -> String {
    match value.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => format!("{value:?}"),
    }
}
