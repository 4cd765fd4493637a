//! Shards become a [`Memory`]: rows that meet a target token are kept, on the side of their
//! prompt's pair.

use std::sync::Arc;

use half::f16;
use pema_core::align::{AlignError, Joiner};
use pema_core::id::TokenId;
use pema_core::memory::Shard;
use pema_core::prepare::Prepared;
use pema_core::wire::PromptSpec;

use crate::memory::{HostRows, Memory, MemoryError, Prompts};

/// Takes shards one by one, so that no two need to be in memory at once.
#[derive(Debug)]
pub struct MemoryBuilder<'t> {
    joiner: Joiner<'t>,
    prompts: &'t [PromptSpec],
    d: usize,
    /// The first prompt whose rows are for validation.
    validation_from: u32,
    h: Vec<f16>,
    y: Vec<TokenId>,
    steps: Vec<u32>,
    prompt: Vec<u32>,
    train: Vec<usize>,
    valid: Vec<usize>,
}

impl<'t> MemoryBuilder<'t> {
    /// A memory of hidden states of `d` entries; prompts from `validation_from` on are for
    /// validation.
    pub fn new(pairs: &'t Prepared, d: usize, validation_from: u32) -> Self {
        Self {
            joiner: Joiner::new(&pairs.targets),
            prompts: &pairs.prompts,
            d,
            validation_from,
            h: Vec::new(),
            y: Vec::new(),
            steps: Vec::new(),
            prompt: Vec::new(),
            train: Vec::new(),
            valid: Vec::new(),
        }
    }

    /// Joins one shard.
    ///
    /// # Errors
    /// [`AlignError`] when its rows do not belong to the targets.
    pub fn add(&mut self, index: u32, shard: &Shard) -> Result<(), AlignError> {
        let joined = self.joiner.add(index, &shard.prompt, &shard.step)?;
        for (row, prompt) in joined.rows.iter().zip(&joined.prompt) {
            let is_validation = *prompt >= self.validation_from;
            let side = if is_validation { &mut self.valid } else { &mut self.train };
            side.push(self.h.len() / self.d);
            self.h.extend_from_slice(shard.row(row.row as usize));
            self.steps.push(shard.step[row.row as usize]);
        }
        self.y.extend(joined.y);
        self.prompt.extend(joined.prompt);
        Ok(())
    }

    /// Rows joined so far.
    pub fn rows(&self) -> usize {
        self.y.len()
    }

    /// The memory, cheap to clone.
    ///
    /// # Errors
    /// [`MemoryError`] when a target token has met no row.
    pub fn finish(self) -> Result<Memory<Arc<HostRows>>, MemoryError> {
        self.joiner.finish()?;
        let rows = Arc::new(HostRows::new(self.d, self.h)?);
        let tokens = self.prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
        let prompts = Prompts { tokens, of: self.prompt };
        Ok(Memory::new(rows, self.y, self.train, self.valid)?.with_places(self.steps, prompts))
    }
}
