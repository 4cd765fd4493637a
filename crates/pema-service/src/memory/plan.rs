//! Which prompts go into which shard: a function of the request alone, so that a restarted
//! service cuts the rest of a memory as the first one would have.

use std::ops::Range;

use pema_core::memory::row_bytes;
use pema_core::wire::{CreateMemory, MemoryKind, PromptSpec};

/// Shards hold about this many bytes; a prompt's rows are never split, so one prompt may make a
/// larger shard.
pub(super) const SHARD_BYTES: usize = 4 << 20;

/// Rows that a prompt makes.
pub(super) fn rows_of(kind: MemoryKind, prompt: &PromptSpec) -> usize {
    match kind {
        MemoryKind::Steps => prompt.steps as usize,
        MemoryKind::Prompt => 1,
        MemoryKind::PromptAll => prompt.tokens.len(),
    }
}

/// The prompts of each shard.
pub(super) fn plan(request: &CreateMemory, hidden: usize) -> Vec<Range<usize>> {
    let mut shards = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (i, prompt) in request.prompts.iter().enumerate() {
        let more = rows_of(request.kind, prompt) * row_bytes(hidden);
        if i > start && bytes + more > SHARD_BYTES {
            shards.push(start..i);
            (start, bytes) = (i, 0);
        }
        bytes += more;
    }
    if start < request.prompts.len() {
        shards.push(start..request.prompts.len());
    }
    shards
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(steps: &[u32]) -> CreateMemory {
        let prompt = |&steps| PromptSpec { tokens: vec![], steps };
        CreateMemory { kind: MemoryKind::Steps, prompts: steps.iter().map(prompt).collect() }
    }

    #[test]
    fn prompts_fill_shards_in_order_and_are_never_split() {
        // 2 MiB less the extra bytes a row: two rows fit a shard.
        let hidden = (SHARD_BYTES / 2 - row_bytes(0)) / 2;
        assert_eq!(plan(&request(&[1, 1, 1]), hidden), [0..2, 2..3]);
        assert_eq!(plan(&request(&[5, 1, 1, 2]), hidden), [0..1, 1..3, 3..4]);
        assert!(plan(&request(&[]), hidden).is_empty());
    }
}
