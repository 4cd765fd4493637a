//! Shards become a [`Memory`]: rows that meet a target token are kept, each once, and so are all of a
//! prompt's that has one for each of its tokens; pairs are put on the side of their prompt.

use std::sync::Arc;

use half::f16;
use pema_core::align::{AlignError, Contexts, Joiner, RowRef};
use pema_core::id::TokenId;
use pema_core::memory::Shard;
use pema_core::prepare::Prepared;

use crate::memory::{FreeRun, HostRows, Memory, MemoryError, Prompts};

/// Takes shards one by one, so that no two need to be in memory at once.
#[derive(Debug)]
pub struct MemoryBuilder<'t> {
    joiner: Joiner<'t>,
    pairs: &'t Prepared,
    contexts: Contexts,
    d: usize,
    /// The first prompt whose pairs are for validation.
    validation_from: u32,
    /// Rows, `[rows, d]`.
    h: Vec<f16>,
    /// Where the last row of `h` came from.
    last: Option<RowRef>,
    /// Each pair's row of `h`.
    row_of: Vec<u32>,
    y: Vec<TokenId>,
    steps: Vec<u32>,
    prompt: Vec<u32>,
    train: Vec<usize>,
    valid: Vec<usize>,
    /// One for each prompt, if they are kept.
    runs: Option<Vec<FreeRun>>,
}

impl<'t> MemoryBuilder<'t> {
    /// A memory of hidden states of `d` entries; prompts from `validation_from` on are for
    /// validation.
    pub fn new(pairs: &'t Prepared, contexts: Contexts, d: usize, validation_from: u32) -> Self {
        Self {
            joiner: Joiner::new(&pairs.targets, &pairs.prompts, contexts),
            pairs,
            contexts,
            d,
            validation_from,
            h: Vec::new(),
            last: None,
            row_of: Vec::new(),
            y: Vec::new(),
            steps: Vec::new(),
            prompt: Vec::new(),
            train: Vec::new(),
            valid: Vec::new(),
            runs: None,
        }
    }

    /// Keeps the model's free runs as a whole, rows that no target token meets by position too, so
    /// that the memory can be [aligned](Memory::pair). There are none in contexts of the prompt alone.
    pub fn keep_runs(self) -> Self {
        let runs = (self.contexts == Contexts::Steps).then(|| vec![FreeRun::default(); self.pairs.prompts.len()]);
        Self { runs, ..self }
    }

    /// Joins one shard.
    ///
    /// # Errors
    /// [`AlignError`] when its rows do not belong to the targets.
    pub fn add(&mut self, index: u32, shard: &Shard) -> Result<(), AlignError> {
        let joined = self.joiner.add(index, &shard.prompt, &shard.step)?;
        let first = self.h.len() / self.d;
        let keeps_all = self.runs.is_some() || self.contexts == Contexts::PromptAll;
        if keeps_all {
            self.h.extend_from_slice(&shard.h);
        }
        if let Some(runs) = &mut self.runs {
            for (row, (&prompt, &word)) in (first..).zip(shard.prompt.iter().zip(&shard.token)) {
                runs[prompt as usize].push(row as u32, word);
            }
        }
        for (row, prompt) in joined.rows.iter().zip(&joined.prompt) {
            if !keeps_all && self.last != Some(*row) {
                self.h.extend_from_slice(shard.row(row.row as usize));
                self.last = Some(*row);
            }
            let is_validation = *prompt >= self.validation_from;
            let side = if is_validation { &mut self.valid } else { &mut self.train };
            side.push(self.row_of.len());
            self.row_of.push(match keeps_all {
                true => first as u32 + row.row,
                false => (self.h.len() / self.d - 1) as u32,
            });
        }
        self.y.extend(joined.y);
        self.steps.extend(joined.step);
        self.prompt.extend(joined.prompt);
        Ok(())
    }

    /// Pairs of a row and a target token joined so far.
    pub fn pairs(&self) -> usize {
        self.y.len()
    }

    /// The memory, cheap to clone.
    ///
    /// # Errors
    /// [`MemoryError`] when a target token has met no row.
    pub fn finish(self) -> Result<Memory<Arc<HostRows>>, MemoryError> {
        self.joiner.finish()?;
        let rows = Arc::new(HostRows::new(self.d, self.h)?);
        let tokens = self.pairs.prompts.iter().map(|prompt| prompt.tokens.clone()).collect();
        let prompts = Prompts { tokens, source_lens: self.pairs.source_lens.clone(), of: self.prompt };
        let memory = Memory::paired(rows, self.row_of, self.y, self.train, self.valid)?;
        Ok(memory.with_places(self.contexts, self.steps, prompts).with_runs(self.runs.unwrap_or_default()))
    }
}
