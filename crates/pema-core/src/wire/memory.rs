//! Extraction jobs: what a tab asks for and what the service says of it.

use serde::{Deserialize, Serialize};

use crate::id::{ContentHash, MemoryId, TokenId};

/// Step budgets are rounded up to a multiple of this, so that a budget tells a target's length
/// only to within a bucket.
pub const STEP_BUCKET: u32 = 16;

/// Rounds `steps` up to a whole number of buckets, at least one.
pub fn bucket_steps(steps: u32) -> u32 {
    steps.max(1).div_ceil(STEP_BUCKET).saturating_mul(STEP_BUCKET)
}

/// Which hidden states of a prompt a memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryKind {
    /// `f(c_i)` at every step of a free run from the prompt (the paper's memory).
    Steps,
    /// `f(prompt)` alone: one row a prompt, no decoding.
    Prompt,
    /// The hidden state of every prompt token, the last `f(prompt)`: one row a token, no decoding.
    PromptAll,
}

/// Body of `POST /v1/memories`. The `Idempotency-Key` header makes a repeated call harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateMemory {
    /// What to record.
    pub kind: MemoryKind,
    /// From which prompts.
    pub prompts: Vec<PromptSpec>,
}

/// One prompt of a memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptSpec {
    /// Token ids, with BOS where the model wants one.
    pub tokens: Vec<TokenId>,
    /// Steps of the free run: a positive multiple of [`STEP_BUCKET`] for [`MemoryKind::Steps`],
    /// 0 for the other kinds.
    pub steps: u32,
}

/// Answer of `POST /v1/memories` and `GET /v1/memories/{id}`, and each progress event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryManifest {
    /// The memory's name in later calls.
    pub id: MemoryId,
    /// What it holds.
    pub kind: MemoryKind,
    /// [`super::ModelCard::model`] of the model that it was extracted from.
    pub model: ContentHash,
    /// `d` of its rows.
    pub hidden_size: u32,
    /// How far the job is.
    pub state: MemoryState,
    /// Prompts asked for.
    pub prompts: u32,
    /// Rows asked for.
    pub rows: u64,
    /// Rows extracted so far.
    pub rows_done: u64,
    /// Finished shards, in prompt order: all rows of a prompt are in one shard.
    pub shards: Vec<ShardEntry>,
}

/// One downloadable shard, `GET /v1/memories/{id}/shards/{index}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Its place in the manifest and its URL.
    pub index: u32,
    /// Rows in it.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: ContentHash,
}

/// A job's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum MemoryState {
    /// Waiting for its turn.
    Queued,
    /// The model is at work.
    Running,
    /// Every shard is there.
    Done,
    /// It ended early; `detail` says why.
    Failed {
        /// For people.
        detail: String,
    },
}

impl MemoryState {
    /// Whether no further shard will come.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Done | Self::Failed { .. })
    }
}
