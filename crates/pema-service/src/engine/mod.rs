//! The seam between the service and whatever runs the model.
//!
//! An [`Engine`] answers two kinds of question, and may batch them together as it likes:
//! - [`Engine::extract`]: the hidden states of one prompt, read or free-run
//! - [`Engine::open`]: a [`Session`] that is told a prompt, then one token after another
//!
//! A free run never stops: at every step it takes the greedy token **among those that do not
//! end generation** (what other libraries call `min_new_tokens`), so that each prompt yields
//! exactly the rows that were asked for. Everywhere else `greedy` means the plain argmax.

mod batch;
#[cfg(test)]
pub(crate) mod fake;
mod llama;
mod sequence;
mod worker;

use std::sync::atomic::{AtomicU64, Ordering};

use half::f16;
use pema_core::id::TokenId;
use pema_core::wire::PromptStates;
use tokio::sync::oneshot;

#[cfg(test)]
pub(crate) use llama::backend;
pub use llama::{LlamaEngine, LlamaOptions};

/// What must be known of a model before anything is asked of it.
#[derive(Clone, Debug)]
pub struct EngineInfo {
    /// The model's name, for people.
    pub name: String,
    /// `d`.
    pub hidden_size: usize,
    /// `v`.
    pub vocab_size: usize,
    /// Longest sequence, prompt and generated tokens together.
    pub context_length: usize,
    /// Prompts that run side by side; asking for more at once queues them.
    pub parallel: usize,
    /// Sessions that may be open at once.
    pub max_sessions: usize,
    /// Put before every prompt, if the model wants one.
    pub bos: Option<TokenId>,
    /// Ends a text.
    pub eos: TokenId,
    /// Tokens at which generation ends, `eos` among them.
    pub end_of_generation: Vec<TokenId>,
}

/// Which hidden states of a prompt to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// A free run: row t is `f(c_{t+1})`, its token the greedy one that follows.
    Steps(usize),
    /// One row, `f(prompt)`.
    Last,
    /// A row for every prompt token.
    All,
}

/// Prompts of one memory. Where one begins like another that a place has read, that much is not read again. How soon an
/// answer comes tells of such beginnings, so prompts of two data owners are never of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group(u64);

impl Group {
    /// One that no other prompt is of.
    #[expect(clippy::new_without_default, reason = "two groups are never equal")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Hidden states of one prompt.
#[derive(Clone, Debug, Default)]
pub struct PromptRows {
    /// `[n, d]`, row-major.
    pub h: Vec<f16>,
    /// `[n]`: the model's next token after each row.
    pub tokens: Vec<TokenId>,
}

/// What the model says after one more token.
#[derive(Clone, Debug)]
pub struct Step {
    /// Tokens appended since the prompt.
    pub index: u32,
    /// Hidden state `[d]`.
    pub h: Vec<f32>,
    /// Hidden states of the prompt's tokens before its last, `[p - 1, d]`, after a prompt that all are
    /// asked of.
    pub earlier: Vec<f16>,
    /// Logits `[v]`.
    pub logits: Vec<f32>,
    /// Their argmax.
    pub greedy: TokenId,
}

/// An answer that the engine is working on. Dropping it cancels the work.
pub type Pending<T> = oneshot::Receiver<Result<T, EngineError>>;

/// A language model that shows its hidden states.
pub trait Engine: Send + Sync + 'static {
    /// Facts that do not change.
    fn info(&self) -> &EngineInfo;
    /// The model's own tokenisation, special tokens in the text recognised, none added.
    fn tokenize(&self, text: &str) -> Vec<TokenId>;
    /// Hidden states of one prompt. The caller has checked that it fits the context.
    fn extract(&self, group: Group, prompt: Vec<TokenId>, rows: Rows) -> Pending<PromptRows>;
    /// A sequence of the caller's own.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when every session is taken.
    fn open(&self) -> Result<Box<dyn Session>, EngineError>;
}

/// One sequence that grows as its owner says. Dropping it frees its place.
pub trait Session: Send {
    /// Forgets the sequence and reads `prompt`.
    fn start(&mut self, prompt: Vec<TokenId>, states: PromptStates) -> Pending<Step>;
    /// Appends one token.
    fn push(&mut self, token: TokenId) -> Pending<Step>;
}

/// Why the engine has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The file is no model that llama.cpp can run.
    #[error("the model could not be loaded: {0}")]
    Load(String),
    /// Every session is taken.
    #[error("all {0} generation streams are in use: try again when one has closed")]
    Busy(usize),
    /// The sequence is full.
    #[error("the sequence has reached the model's context length of {0} tokens")]
    ContextFull(usize),
    /// `push` before `start`.
    #[error("the stream has no prompt yet: send `start` first")]
    NotStarted,
    /// llama.cpp refused a batch.
    #[error("the model failed on a batch: {0}")]
    Decode(String),
    /// The engine's thread has ended.
    #[error("the model's engine has stopped: restart the service")]
    Gone,
}

/// Index of the largest value for which `allowed` holds.
pub(crate) fn argmax(logits: &[f32], allowed: impl Fn(usize) -> bool) -> TokenId {
    let mut best = (0, f32::NEG_INFINITY);
    for (i, &logit) in logits.iter().enumerate() {
        if logit > best.1 && allowed(i) {
            best = (i, logit);
        }
    }
    TokenId(best.0 as u32)
}
