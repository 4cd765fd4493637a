//! A memory whose rows come from here and not from a service's extraction.

use half::f16;
use serde::{Deserialize, Serialize};

use super::{Shard, ShardError};
use crate::id::{ContentHash, MemoryId, TokenId};
use crate::wire::{MemoryKind, MemoryManifest, MemoryState, ShardEntry};

/// A shard is closed once its hidden states take so many bytes.
const SHARD_BYTES: usize = 4 << 20;

/// A memory as its owner keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredManifest {
    /// As a service describes it.
    #[serde(flatten)]
    pub memory: MemoryManifest,
    /// 1 for the model's own contexts, which are what a service extracts; one more along the words of a
    /// mixture that learned from the round before.
    #[serde(default = "first_round")]
    pub round: u32,
}

fn first_round() -> u32 {
    1
}

/// Makes the shards of a memory of steps, prompt by prompt.
#[derive(Clone, Debug)]
pub struct ShardBuilder {
    open: Shard,
    entries: Vec<ShardEntry>,
    prompts: u32,
}

/// A shard to keep: its entry in the manifest and its bytes.
pub type FinishedShard = (ShardEntry, Vec<u8>);

impl ShardBuilder {
    /// No rows yet; they will have `hidden_size` entries.
    pub fn new(hidden_size: usize) -> Self {
        Self { open: empty(hidden_size), entries: Vec::new(), prompts: 0 }
    }

    /// Adds the rows `h [n, d]` of the next prompt, with the token `[n]` after each, and gives the shard
    /// that they complete.
    ///
    /// # Errors
    /// [`ShardError`] when the rows make no shard.
    pub fn push(&mut self, h: Vec<f16>, tokens: Vec<TokenId>) -> Result<Option<FinishedShard>, ShardError> {
        let shard = &mut self.open;
        shard.h.extend(h);
        shard.prompt.extend(tokens.iter().map(|_| self.prompts));
        shard.step.extend(0..tokens.len() as u32);
        shard.token.extend(tokens);
        self.prompts += 1;
        if size_of_val(shard.h.as_slice()) < SHARD_BYTES {
            return Ok(None);
        }
        self.close()
    }

    /// The last shard, if there are rows left, and the manifest of a memory of `model`, of the round.
    ///
    /// # Errors
    /// [`ShardError`] when the rows make no shard.
    pub fn finish(mut self, model: ContentHash, round: u32) -> Result<(Option<FinishedShard>, StoredManifest), ShardError> {
        let last = self.close()?;
        let hashes: String = self.entries.iter().map(|entry| entry.sha256.as_str()).collect();
        let rows = self.entries.iter().map(|entry| entry.rows).sum();
        let memory = MemoryManifest {
            id: MemoryId::of(hashes.as_bytes()),
            kind: MemoryKind::Steps,
            model,
            hidden_size: self.open.hidden_size as u32,
            state: MemoryState::Done,
            prompts: self.prompts,
            rows,
            rows_done: rows,
            shards: self.entries,
        };
        Ok((last, StoredManifest { memory, round }))
    }

    fn close(&mut self) -> Result<Option<FinishedShard>, ShardError> {
        if self.open.rows() == 0 {
            return Ok(None);
        }
        let next = empty(self.open.hidden_size);
        let shard = std::mem::replace(&mut self.open, next);
        shard.check()?;
        let bytes = shard.encode();
        let (index, rows) = (self.entries.len() as u32, shard.rows() as u64);
        let entry = ShardEntry { index, rows, bytes: bytes.len() as u64, sha256: ContentHash::of(&bytes) };
        self.entries.push(entry.clone());
        Ok(Some((entry, bytes)))
    }
}

fn empty(hidden_size: usize) -> Shard {
    Shard { h: Vec::new(), hidden_size, prompt: Vec::new(), step: Vec::new(), token: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_become_whole_shards_that_the_manifest_promises() {
        // Three rows of a prompt take half a shard and a little.
        let d = SHARD_BYTES / 2 / 6 + 1;
        let mut builder = ShardBuilder::new(d);
        let tokens = [4, 5, 6].map(TokenId).to_vec();
        let mut shards = Vec::new();
        for _ in 0..3 {
            shards.extend(builder.push(vec![f16::ONE; 3 * d], tokens.clone()).unwrap());
        }
        let (last, StoredManifest { memory: manifest, round }) = builder.finish(ContentHash::of(b"a model"), 2).unwrap();
        shards.extend(last);
        assert_eq!(round, 2);
        assert_eq!((manifest.prompts, manifest.rows, shards.len()), (3, 9, 2));
        assert_eq!(manifest.shards, shards.iter().map(|(entry, _)| entry.clone()).collect::<Vec<_>>());
        let open = |i: usize| Shard::open(&shards[i].1, &manifest.shards[i], d).unwrap();
        assert_eq!((open(0).prompt, open(1).prompt), (vec![0, 0, 0, 1, 1, 1], vec![2; 3]));
        assert_eq!((open(1).step, open(1).token), (vec![0, 1, 2], tokens));
    }

    #[test]
    fn a_manifest_of_a_service_is_of_the_first_round() {
        let (_, second) = ShardBuilder::new(4).finish(ContentHash::of(b""), 2).unwrap();
        let json = serde_json::to_string(&second).unwrap();
        assert_eq!(serde_json::from_str::<StoredManifest>(&json).unwrap(), second);
        let from_service = serde_json::to_string(&second.memory).unwrap();
        assert_eq!(serde_json::from_str::<StoredManifest>(&from_service).unwrap().round, 1);
        assert_eq!(serde_json::from_str::<MemoryManifest>(&json).unwrap(), second.memory);
    }

    #[test]
    fn rows_of_another_width_are_refused() {
        let mut builder = ShardBuilder::new(4);
        builder.push(vec![f16::ONE; 3], vec![TokenId(1)]).unwrap();
        assert!(matches!(builder.finish(ContentHash::of(b""), 2), Err(ShardError::Shape { tensor: "h", .. })));
    }
}
