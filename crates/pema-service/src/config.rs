//! What the operator decides.

use std::net::IpAddr;
use std::path::PathBuf;

use pema_core::wire::{Limits, STEP_BUCKET};

use crate::model::{ModelSource, default_cache_dir};

/// Everything `pema serve` needs.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// The model and how to run it.
    pub model: ModelConfig,
    /// Address to bind.
    pub host: IpAddr,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// Origins whose pages may call, such as `http://localhost:5173`.
    pub allow_origins: Vec<String>,
    /// API keys; each is a tenant. Needed unless `host` is loopback.
    pub keys: Vec<String>,
    /// Where memories are kept.
    pub data_dir: PathBuf,
    /// Upper bounds.
    pub limits: LimitsConfig,
}

/// The model and how to run it.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// Which model.
    pub source: ModelSource,
    /// A `tokenizer.json` instead of the one exported from the GGUF.
    pub tokenizer: Option<PathBuf>,
    /// Base URL for `hf:` sources.
    pub hf_endpoint: String,
    /// Where models and exports are kept.
    pub cache_dir: PathBuf,
    /// Longest sequence; the model's own limit if that is shorter.
    pub context_length: u32,
    /// Prompts extracted side by side.
    pub parallel: u32,
    /// CPU threads.
    pub threads: u32,
}

impl ModelConfig {
    /// The usual settings for a model.
    pub fn new(source: ModelSource) -> Self {
        Self {
            source,
            tokenizer: None,
            hf_endpoint: "https://huggingface.co".to_owned(),
            cache_dir: default_cache_dir(),
            context_length: 2048,
            parallel: 8,
            threads: default_threads(),
        }
    }
}

/// Half of the processors, at least one. llama.cpp's threads spin while they wait for each other:
/// with as many as processors, any other program on the machine (the demo's browser) makes the
/// service several times slower, and the second thread of a core adds nothing.
fn default_threads() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| (n.get() as u32 / 2).max(1))
}

/// Bounds on what one request may ask.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// Prompts in one memory.
    pub max_prompts: u32,
    /// Step budget of one prompt.
    pub max_steps: u32,
    /// Rows in one memory.
    pub max_rows: u64,
    /// Bytes of one JSON request.
    pub max_body_bytes: u64,
    /// Generation streams open at once.
    pub max_streams: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { max_prompts: 200_000, max_steps: 1024, max_rows: 20_000_000, max_body_bytes: 64 << 20, max_streams: 4 }
    }
}

impl LimitsConfig {
    /// The limits as tabs see them, for a model with this context length.
    pub(crate) fn for_context(&self, context_length: u32) -> Limits {
        Limits {
            max_prompts: self.max_prompts,
            max_prompt_tokens: context_length.saturating_sub(1),
            max_steps: self.max_steps.min(context_length) / STEP_BUCKET * STEP_BUCKET,
            max_rows: self.max_rows,
            max_body_bytes: self.max_body_bytes,
            max_streams: self.max_streams,
        }
    }
}
