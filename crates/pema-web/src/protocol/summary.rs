//! What events carry: descriptions of devices, models, data, adapters and requests.

use serde::Serialize;
use tsify::Tsify;

use super::{Contexts, HeadForm, Mixture};

/// A sentence for the user.
#[derive(Clone, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// A stable short name, such as `key-refused`.
    pub kind: String,
    /// What happened and what to do.
    pub message: String,
    /// More of the same kind, such as further bad lines.
    pub details: Vec<String>,
}

/// A device this browser offers.
#[derive(Clone, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct DeviceInfo {
    /// Which.
    pub kind: DeviceKind,
    /// Such as the GPU's vendor and architecture.
    pub name: String,
    /// `auto` may choose it.
    pub recommended: bool,
    /// Why not, or what is special about it.
    pub note: Option<String>,
}

/// Where tensors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// The GPU.
    Webgpu,
    /// The CPU, with wasm SIMD.
    Cpu,
}

/// The origin's storage.
#[derive(Clone, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct StorageInfo {
    /// Bytes in use.
    pub used: f64,
    /// Bytes that the browser allows.
    pub quota: f64,
    /// The browser promised not to evict it.
    pub persistent: bool,
}

/// A model, as its card describes it.
#[derive(Clone, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// d.
    pub hidden_size: u32,
    /// v.
    pub vocab_size: u32,
    /// In tokens.
    pub context_length: u32,
    /// The form of the head that was downloaded.
    pub head_form: HeadForm,
    /// Its bytes.
    pub head_bytes: f64,
    /// SHA-256 of the weights.
    pub model_hash: String,
    /// SHA-256 of the head's f16 form.
    pub head_hash: String,
    /// Head and tokenizer were in storage already.
    pub cached: bool,
}

/// What was read from the user's files.
#[derive(Clone, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct DataSummary {
    /// Pairs by split.
    pub train: u32,
    /// Pairs by split.
    pub validation: u32,
    /// Pairs by split.
    pub test: u32,
    /// Whether every target to learn from is of one line.
    pub one_line: bool,
    /// Tokens of all targets, EOS included.
    pub target_tokens: u32,
    /// Tokens of all prompts.
    pub prompt_tokens: u32,
    /// A memory of contexts after every word.
    pub memory_of_steps: MemoryEstimate,
    /// A memory of contexts of the prompt alone.
    pub memory_of_prompts: MemoryEstimate,
    /// A memory of contexts of all the prompts' tokens.
    pub memory_of_prompt_tokens: MemoryEstimate,
    /// The first pairs.
    pub preview: Vec<PairPreview>,
}

/// What a memory of the pairs would be.
#[derive(Clone, Copy, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct MemoryEstimate {
    /// Rows that the service will be asked for.
    pub rows: f64,
    /// Bytes that it will take.
    pub bytes: f64,
}

/// One pair, as it will be used.
#[derive(Clone, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct PairPreview {
    /// The input in the template: this goes to the service.
    pub prompt: String,
    /// This does not.
    pub target: String,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the target, EOS included.
    pub target_tokens: u32,
}

/// Parts of a long task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Stage {
    Head,
    Tokenizer,
    Extraction,
    Shards,
    Join,
    Gate,
    Tuning,
    Evaluation,
    Rehearsal,
    Regeneration,
}

/// An external memory, joined with the targets.
#[derive(Clone, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct MemorySummary {
    /// What its rows are.
    pub contexts: Contexts,
    /// Rows that the service extracted.
    pub rows: f64,
    /// Pairs of a row and a target token to train on.
    pub train_rows: u32,
    /// Such pairs for validation.
    pub validation_rows: u32,
    /// Bytes in storage.
    pub bytes: f64,
    /// Shards.
    pub shards: u32,
    /// 1 for the model's own contexts; one more along the words of each adapted mixture.
    pub round: u32,
    /// All of it was in storage already.
    pub cached: bool,
}

/// Phases of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Phase 1.
    Reconstruction,
    /// Phase 1 of an adapter with contrast.
    Imitation,
    /// Phase 2.
    Joint,
}

/// A stored adapter.
#[derive(Clone, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct AdapterInfo {
    /// In later commands.
    pub id: String,
    /// For people.
    pub name: String,
    /// r.
    pub rank: u32,
    /// The contexts that it is given; one that needs those of the prompt can write privately.
    pub contexts: Contexts,
    /// It has a gate, which can say its weight.
    pub gate: bool,
    /// It has contrast, so that it can count as far as its targets have changed it.
    pub contrast: bool,
    /// Bytes of its file.
    pub bytes: f64,
    /// SHA-256 of the f16 form of the head it was trained for.
    pub head_hash: String,
    /// It fits the connected model.
    pub fits: bool,
    /// It is in use.
    pub selected: bool,
    /// It is in storage; if not, there was no room for it.
    pub stored: bool,
}

/// A mixture and how good its texts were.
#[derive(Clone, Copy, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct TriedMixture {
    /// The mixture.
    pub mixture: Mixture,
    /// Validation pairs whose texts it wrote.
    pub pairs: u32,
    /// Their corpus chrF.
    pub chrf: f64,
}

/// Who chose the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// The model alone.
    Plm,
    /// The mixture.
    Mixture,
}

/// A generated token and how it came about.
#[derive(Clone, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct StepToken {
    /// Text that this token completed; may be empty within a character.
    pub text: String,
    /// The adapter's weight at this step.
    pub lambda: f32,
    /// The adapter's probability of the token.
    pub p_pema: f32,
    /// The model's, where it was asked.
    pub p_plm: Option<f32>,
    /// The mixture's.
    pub p_mixture: f32,
}

/// A test pair and its outputs.
#[derive(Clone, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct EvaluationRow {
    /// From 0.
    pub index: u32,
    /// Of how many.
    pub of: u32,
    /// The pair's input.
    pub input: String,
    /// The pair's target.
    pub target: String,
    /// The model alone; absent where it is not to learn what is generated.
    pub plm: Option<String>,
    /// The mixture.
    pub mixture: String,
}

/// Scores over test pairs, each in [0, 100].
#[derive(Clone, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct EvaluationScores {
    /// chrF2 as sacrebleu computes it.
    pub chrf: f64,
    /// BLEU as sacrebleu computes it.
    pub bleu: f64,
    /// Outputs equal to their targets.
    pub exact: f64,
}

/// A request that left the tab. Sizes are of bodies and WebSocket messages, without headers.
#[derive(Clone, Debug, Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// Its number.
    pub number: u32,
    /// Milliseconds since the page opened.
    pub at: f64,
    /// Method and path.
    pub request: String,
    /// What it carried out of the tab, for people.
    pub carried: String,
    /// What kind of thing left: one of the rows of the privacy table.
    pub kind: LedgerKind,
    /// Bytes that left.
    pub sent: f64,
    /// Bytes that came.
    pub received: f64,
    /// HTTP status, 101 for a stream; 0 when none came.
    pub status: u16,
}

/// Rows of the privacy table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerKind {
    /// Nothing but the request itself.
    Request,
    /// Prompt token ids, and step budgets where there are any.
    Prompts,
    /// Prompts and generated tokens.
    Generation,
}
