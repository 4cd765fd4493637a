//! What the page asks of the worker.

use serde::{Deserialize, Serialize};
use tsify::Tsify;

/// One request of the page. A long task runs alone: a second one is answered with a failure.
#[derive(Debug, Deserialize, Tsify)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Command {
    /// First of all: look at devices and storage. Answered by `ready`.
    Open {
        /// Which device to train on.
        device: DeviceChoice,
    },
    /// Read a service's model card, head and tokenizer. Answered by `connected`.
    Connect {
        /// Base URL of the service.
        url: String,
        /// API key, held in memory alone.
        key: Option<String>,
        /// In which form to download the head.
        head: HeadForm,
    },
    /// List a file's columns. Answered by `data-inspected`.
    InspectData {
        /// The file.
        file: DataFile,
    },
    /// Read pairs. Answered by `data-loaded`.
    LoadData {
        /// Pairs to train on.
        train: DataFile,
        /// Pairs for early stopping; without it a part of `train` is set aside.
        validation: Option<DataFile>,
        /// Pairs for the evaluation.
        test: Option<DataFile>,
        /// Column of the inputs.
        input_column: String,
        /// Column of the targets.
        target_column: String,
        /// The prompt, with `{input}` where the input goes.
        template: String,
        /// Part of `train` set aside when there is no validation file, in (0, 1).
        validation_fraction: f32,
        /// Decides which part.
        seed: u32,
    },
    /// Have the memory extracted and download it. Answered by `memory-ready`.
    DownloadMemory {
        /// Which contexts it is to hold.
        contexts: Contexts,
    },
    /// Train an adapter. Answered by `trained`.
    Train {
        /// How.
        settings: TrainSettings,
        /// Go on from the checkpoint of a run that was stopped, which keeps its own settings.
        resume: bool,
    },
    /// Stop the running task at its next safe point; what it has is kept.
    Stop,
    /// Generate for one input, with the model alone and with the mixture. Answered by `generated`.
    Generate {
        /// Goes into the template.
        input: String,
        /// How tokens are chosen.
        decoding: Decoding,
    },
    /// Try mixtures on validation pairs. Answered by `tuned`.
    Tune {
        /// How tokens are chosen; its mixture does not matter.
        decoding: Decoding,
        /// At most so many pairs.
        limit: u32,
    },
    /// Generate for the test pairs and score. Answered by `evaluated`.
    Evaluate {
        /// How tokens are chosen.
        decoding: Decoding,
        /// At most so many pairs.
        limit: u32,
    },
    /// Estimate how much of the targets a second round's memory would tell. Answered by `rehearsed`.
    Rehearse {
        /// The mixture.
        mixture: Mixture,
        /// No sequence of so many tokens is written twice; 0 allows it.
        no_repeat: u32,
    },
    /// Make the memory that was rehearsed, which tells generated text to the model's owner. Answered by
    /// `memory-ready`.
    Regenerate {
        /// The largest share of the targets' sequences that may be told, in [0, 1].
        max_overlap: f64,
    },
    /// Use a stored adapter. Answered by `adapters`.
    SelectAdapter {
        /// Its id.
        id: String,
    },
    /// Hand an adapter's file to the page. Answered by `adapter-exported`.
    ExportAdapter {
        /// Its id.
        id: String,
    },
    /// Keep an adapter's file and use it. Answered by `adapters`.
    ImportAdapter {
        /// The file.
        file: DataFile,
    },
    /// Delete an adapter. Answered by `adapters`.
    DeleteAdapter {
        /// Its id.
        id: String,
    },
    /// Delete everything that this site has stored. Answered by `ready`.
    Forget,
}

/// A file that the user chose.
#[derive(Clone, Debug, Deserialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct DataFile {
    /// Its name, whose ending tells the format.
    pub name: String,
    /// Its content.
    #[serde(with = "serde_bytes")]
    #[tsify(type = "Uint8Array")]
    pub bytes: Vec<u8>,
}

/// Where tensors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// WebGPU on a hardware adapter, else the CPU.
    Auto,
    /// WebGPU, on a software adapter too.
    Webgpu,
    /// The CPU, with wasm SIMD.
    Cpu,
}

/// A form of the LM head. Adapters fit either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum HeadForm {
    /// As the service exports it.
    F16,
    /// Half the download; losses are within half a percent.
    Int8,
}

impl From<HeadForm> for pema_core::head::HeadForm {
    fn from(form: HeadForm) -> Self {
        match form {
            HeadForm::F16 => Self::F16,
            HeadForm::Int8 => Self::Int8,
        }
    }
}

/// How an adapter is trained; the defaults of the method are in `pema-adapter`.
#[derive(Clone, Debug, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct TrainSettings {
    /// The adapter's name, for people.
    pub name: String,
    /// r.
    pub rank: u32,
    /// Scale alpha; `s = alpha / r`.
    pub alpha: f32,
    /// Part of what the adapter sees that is dropped while training.
    pub dropout: f32,
    /// Weight of the reconstruction loss in the joint phase.
    pub kappa: f32,
    /// Adam's learning rate.
    pub learning_rate: f32,
    /// Whether it falls evenly to 0 over each phase's epochs; false is the paper's method.
    pub lr_decay: bool,
    /// Rows a step, reconstruction phase.
    pub reconstruction_batch: u32,
    /// Rows a step, joint phase.
    pub joint_batch: u32,
    /// At most so many epochs, reconstruction phase.
    pub reconstruction_epochs: u32,
    /// At most so many epochs, joint phase.
    pub joint_epochs: u32,
    /// Steps between validations; the last step of a phase is always validated.
    pub validate_every: u32,
    /// Worse validations in a row before a phase ends.
    pub patience: u32,
    /// Tokens of the target's own prefix that the adapter sees; 0 is the paper's method.
    pub prefix: u32,
    /// Whether the adapter's bottleneck goes through SiLU; false is the paper's method.
    pub silu: bool,
    /// Whether the adapter attends over all of the target's own prefix; false is the paper's method.
    pub recall: bool,
    /// Whether the adapter may copy tokens of the prompt; false is the paper's method.
    pub copy: bool,
    /// Whether the adapter attends over all the prompt's tokens, which needs contexts of these; false is
    /// the paper's method.
    pub attend: bool,
    /// Whether the adapter first learns the model's own words, and counts as far as the targets then change it,
    /// which needs contexts of every step; false is the paper's method.
    pub contrast: bool,
    /// Whether the adapter changes the model's own prediction, which needs contexts of every step; false is the
    /// paper's method.
    pub residual: bool,
    /// Whether the softmax is over the tokens that the memory meets alone; false is the paper's method.
    pub short_vocabulary: bool,
    /// Which contexts target tokens are learned from; position is the paper's method.
    pub pairing: Pairing,
    /// Whether validation pairs teach a gate that says the adapter's weight; false is the paper's method.
    pub gate: bool,
    /// Decides weights, order and dropout.
    pub seed: u32,
}

/// How tokens are chosen.
#[derive(Clone, Debug, Deserialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Decoding {
    /// The mixture.
    pub mixture: Mixture,
    /// When the model is asked. Absent: at every token. Needs an adapter with contexts of the prompt,
    /// alone or of all its tokens; the model then does not write for comparison.
    pub consult: Option<Asking>,
    /// Greedy when absent.
    pub sampling: Option<Sampling>,
    /// No sequence of so many tokens is written twice; 0 allows it.
    pub no_repeat: u32,
    /// At most so many tokens.
    pub max_tokens: u32,
    /// A text ends where its line does.
    pub one_line: bool,
}

/// Which contexts of the model an adapter learns from and is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Contexts {
    /// After each of the model's own words: one row a token.
    Steps,
    /// Of the prompt alone: one row a prompt.
    Prompt,
    /// Of all the prompt's tokens: one row each.
    PromptAll,
}

impl From<Contexts> for pema_core::align::Contexts {
    fn from(contexts: Contexts) -> Self {
        match contexts {
            Contexts::Steps => Self::Steps,
            Contexts::Prompt => Self::Prompt,
            Contexts::PromptAll => Self::PromptAll,
        }
    }
}

impl From<pema_core::align::Contexts> for Contexts {
    fn from(contexts: pema_core::align::Contexts) -> Self {
        match contexts {
            pema_core::align::Contexts::Steps => Self::Steps,
            pema_core::align::Contexts::Prompt => Self::Prompt,
            pema_core::align::Contexts::PromptAll => Self::PromptAll,
        }
    }
}

/// Which of the memory's contexts each target token is learned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Pairing {
    /// The i-th token from the i-th context.
    Position,
    /// From the context after words that say what the target says so far.
    Alignment,
    /// Every token from that of the prompt.
    Prompt,
}

impl From<Pairing> for pema_core::align::Pairing {
    fn from(pairing: Pairing) -> Self {
        match pairing {
            Pairing::Position => Self::Position,
            Pairing::Alignment => Self::Alignment,
            Pairing::Prompt => Self::Prompt,
        }
    }
}

/// The mixture, over the steps.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Mixture {
    /// How two distributions become one.
    pub mixing: MixingKind,
    /// How it falls.
    pub schedule: ScheduleKind,
    /// Where it begins, and what it is at most, in [0, 1].
    pub lambda_max: f32,
}

/// How two distributions become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum MixingKind {
    /// Their weighted mean: the paper's.
    Arithmetic,
    /// Their weighted geometric mean.
    Geometric,
    /// That with what learning targets has changed of the adapter; needs an adapter with contrast.
    Contrast,
}

/// How the adapter's weight falls with the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// The paper's.
    Linear,
    /// The reference code's.
    Quadratic,
    /// It does not fall.
    Constant,
    /// The adapter's gate says it, at most `lambda_max`; needs an adapter with a gate, and their mean.
    Learned,
}

/// When the model is asked: its owner learns what was written before. Elsewhere the adapter writes
/// alone.
#[derive(Clone, Copy, Debug, Deserialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub enum Asking {
    /// At the first so many tokens; 0 is private generation.
    First(u32),
    /// Where the adapter's entropy is above so many nats.
    Above(f32),
}

/// Sampling from the mixture.
#[derive(Clone, Copy, Debug, Deserialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Sampling {
    /// Above 0; 1 leaves the mixture as it is.
    pub temperature: f32,
    /// Keep the k likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the likeliest tokens up to this probability, in (0, 1].
    pub top_p: f32,
    /// Decides the draws.
    pub seed: u32,
}
