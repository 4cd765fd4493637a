//! Shards of an external memory: hidden states of prompts with where they come from.
//!
//! A shard is a safetensors file of format `pema-shard`, version 1, little-endian:
//!
//! | tensor | type | meaning |
//! | --- | --- | --- |
//! | `h` | f16 `[n, d]` | what the LM head consumes |
//! | `prompt` | u32 `[n]` | index of the row's prompt in the memory's request |
//! | `step` | u32 `[n]` | 0, 1, … within a prompt: its place in the free run (or in the prompt) |
//! | `token` | u32 `[n]` | the model's own greedy token after this row |
//!
//! Rows are sorted by prompt, then by step; all rows of a prompt are in one shard. A shard holds
//! no target. Equal shards have equal bytes, so that a hash names their content.

mod builder;
mod error;
mod format;
#[cfg(test)]
mod tests;

use std::ops::Range;

use half::f16;

pub use builder::{FinishedShard, ShardBuilder, StoredManifest};
pub use error::ShardError;

use crate::id::{ContentHash, TokenId};
use crate::wire::ShardEntry;

/// The `format` entry of a shard's safetensors metadata.
pub const SHARD_FORMAT: &str = "pema-shard";
/// The `version` entry of a shard's safetensors metadata.
pub const SHARD_VERSION: &str = "1";

/// Bytes of a row with a hidden state of `d` entries: `h` and three columns.
pub const fn row_bytes(d: usize) -> usize {
    2 * d + 12
}

/// `n` rows of a memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Shard {
    /// Hidden states `[n, d]`, row after row.
    pub h: Vec<f16>,
    /// `d`, at least 1.
    pub hidden_size: usize,
    /// Index of each row's prompt `[n]`: ascending, without gaps.
    pub prompt: Vec<u32>,
    /// Place of each row in its prompt `[n]`: 0, 1, … anew for every prompt.
    pub step: Vec<u32>,
    /// The model's own greedy token after each row `[n]`.
    pub token: Vec<TokenId>,
}

impl Shard {
    /// `n`.
    pub fn rows(&self) -> usize {
        self.prompt.len()
    }

    /// Hidden state `[d]` of row `i`.
    ///
    /// # Panics
    /// When `i` is not below [`Self::rows`].
    pub fn row(&self, i: usize) -> &[f16] {
        &self.h[i * self.hidden_size..(i + 1) * self.hidden_size]
    }

    /// Its prompts, each with its rows.
    pub fn prompt_rows(&self) -> impl Iterator<Item = (u32, Range<usize>)> {
        let mut next = 0;
        self.prompt.chunk_by(|a, b| a == b).map(move |run| {
            let first = next;
            next += run.len();
            (run[0], first..next)
        })
    }

    /// The shard's bytes. They are read back exactly when [`Self::check`] passes.
    pub fn encode(&self) -> Vec<u8> {
        format::encode(self)
    }

    /// Reads and checks a shard.
    ///
    /// # Errors
    /// [`ShardError`] when the bytes are not a whole, valid shard.
    pub fn decode(bytes: &[u8]) -> Result<Self, ShardError> {
        let shard = format::decode(bytes)?;
        shard.check()?;
        Ok(shard)
    }

    /// Verifies, reads and checks the shard that `entry` promises, of hidden states `[d]` with
    /// `d = hidden_size`.
    ///
    /// # Errors
    /// [`ShardError`] when the bytes are not that shard.
    pub fn open(bytes: &[u8], entry: &ShardEntry, hidden_size: usize) -> Result<Self, ShardError> {
        verify(bytes, entry)?;
        let shard = Self::decode(bytes)?;
        if shard.rows() as u64 != entry.rows {
            return Err(ShardError::Rows { index: entry.index, expected: entry.rows, found: shard.rows() as u64 });
        }
        if shard.hidden_size != hidden_size {
            return Err(ShardError::HiddenSize { expected: hidden_size, found: shard.hidden_size });
        }
        Ok(shard)
    }

    /// Checks what the types cannot say: columns of one length and at least one row, prompts and
    /// steps in order, finite hidden states.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ShardError> {
        self.check_shapes()?;
        self.check_order()?;
        match self.h.iter().position(|x| !x.is_finite()) {
            None => Ok(()),
            Some(i) => Err(ShardError::NotFinite { row: i / self.hidden_size, column: i % self.hidden_size }),
        }
    }

    fn check_shapes(&self) -> Result<(), ShardError> {
        let (n, d) = (self.rows(), self.hidden_size);
        if n == 0 {
            return Err(ShardError::Shape { tensor: "prompt", expected: "[n] with n > 0".to_owned(), found: vec![n] });
        }
        if d == 0 || n.checked_mul(d) != Some(self.h.len()) {
            let expected = format!("[{n}, d] with d > 0");
            return Err(ShardError::Shape { tensor: "h", expected, found: vec![self.h.len() / n, d] });
        }
        for (tensor, found) in [("step", self.step.len()), ("token", self.token.len())] {
            if found != n {
                return Err(ShardError::Shape { tensor, expected: format!("[{n}]"), found: vec![found] });
            }
        }
        Ok(())
    }

    fn check_order(&self) -> Result<(), ShardError> {
        let (mut previous, mut expected) = (self.prompt[0], 0);
        for (row, (&prompt, &found)) in self.prompt.iter().zip(&self.step).enumerate() {
            if prompt != previous {
                if Some(prompt) != previous.checked_add(1) {
                    return Err(ShardError::PromptOrder { row, previous, found: prompt });
                }
                (previous, expected) = (prompt, 0);
            }
            if found != expected {
                return Err(ShardError::StepOrder { row, prompt, expected, found });
            }
            expected += 1;
        }
        Ok(())
    }
}

/// Checks that `bytes` are the ones that the manifest promises: first the length, then SHA-256.
///
/// # Errors
/// [`ShardError::Torn`] or [`ShardError::Altered`].
pub fn verify(bytes: &[u8], entry: &ShardEntry) -> Result<(), ShardError> {
    let found = bytes.len() as u64;
    if found != entry.bytes {
        return Err(ShardError::Torn { index: entry.index, expected: entry.bytes, found });
    }
    let found = ContentHash::of(bytes);
    if found != entry.sha256 {
        return Err(ShardError::Altered { index: entry.index, expected: entry.sha256.clone(), found });
    }
    Ok(())
}
