//! The external memory as training reads it: rows of `h`, the target tokens that each meets, and
//! which of these pairs is for what.

mod error;
mod rows;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use pema_core::align::{Contexts, Pairing};
use pema_core::id::{ContentHash, ContentHasher, TokenId};

pub use error::MemoryError;
pub use rows::{HostRows, Rows, RowsError};

/// `E = {(h_i, y_i)}`, divided into pairs to learn from and pairs to validate on.
///
/// `h_i` is `f(c_i)`, a row for each pair, or `f(prompt)`, one row for all pairs of a prompt, with or
/// without the rows of the prompt's other tokens before it. Every loss is a mean over pairs, that of
/// reconstruction too, so a row counts as often as it is met.
#[derive(Clone)]
pub struct Memory<R> {
    rows: R,
    /// Each pair's row.
    pub(crate) row_of: Vec<u32>,
    pub(crate) y: Vec<TokenId>,
    train: Vec<usize>,
    valid: Vec<usize>,
    contexts: Contexts,
    /// Each pair's place in its target, from 0.
    steps: Vec<u32>,
    pub(crate) prompts: Prompts,
    pub(crate) pairing: Pairing,
    /// What each pair counts in training; none where all count the same.
    pub(crate) weights: Vec<f32>,
    /// One for each prompt, where they were kept.
    pub(crate) runs: Vec<FreeRun>,
}

/// The memory's prompts, and which is whose; none for a memory that was made without.
#[derive(Clone, Default)]
pub(crate) struct Prompts {
    /// The tokens of each.
    pub(crate) tokens: Vec<Vec<TokenId>>,
    /// The tokens of each one's input alone, `SL`.
    pub(crate) source_lens: Vec<u32>,
    /// Each pair's prompt.
    pub(crate) of: Vec<u32>,
}

/// What the PLM wrote after one prompt.
#[derive(Clone, Debug, Default)]
pub(crate) struct FreeRun {
    /// The row of `f(c_1)`; the others follow.
    pub(crate) first_row: u32,
    /// The PLM's own token after each row.
    pub(crate) words: Vec<TokenId>,
}

impl FreeRun {
    /// The next row of the run, and the token after it.
    pub(crate) fn push(&mut self, row: u32, word: TokenId) {
        if self.words.is_empty() {
            self.first_row = row;
        }
        self.words.push(word);
    }
}

impl<R: Rows> Memory<R> {
    /// `y[i]` is the target of row `i`; `train` and `valid` are row numbers, `valid` may be empty
    /// (then nothing stops a phase early).
    pub fn new(rows: R, y: Vec<TokenId>, train: Vec<usize>, valid: Vec<usize>) -> Result<Self, MemoryError> {
        let row_of = (0..rows.len() as u32).collect();
        Self::paired(rows, row_of, y, train, valid)
    }

    /// `y[i]` meets row `row_of[i]`; `train` and `valid` are numbers of such pairs.
    pub(crate) fn paired(
        rows: R,
        row_of: Vec<u32>,
        y: Vec<TokenId>,
        train: Vec<usize>,
        valid: Vec<usize>,
    ) -> Result<Self, MemoryError> {
        let len = row_of.len();
        if y.len() != len {
            return Err(MemoryError::Targets { rows: len, targets: y.len() });
        }
        if train.is_empty() {
            return Err(MemoryError::NothingToLearn);
        }
        if let Some(&index) = train.iter().chain(&valid).find(|&&index| index >= len) {
            return Err(RowsError::OutOfRange { index, len }.into());
        }
        let (contexts, pairing) = (Contexts::default(), Pairing::default());
        let (steps, prompts, weights, runs) = (vec![0; len], Prompts::default(), Vec::new(), Vec::new());
        Ok(Self { rows, row_of, y, train, valid, contexts, steps, prompts, pairing, weights, runs })
    }

    /// Says what the rows are; at which step of its target each pair is, so that an adapter with
    /// local context finds the target's prefix in the pairs before; and what its prompt is, so that
    /// it can copy.
    pub(crate) fn with_places(self, contexts: Contexts, steps: Vec<u32>, prompts: Prompts) -> Self {
        Self { contexts, steps, prompts, ..self }
    }

    /// Adds the PLM's free runs, by which the memory can be aligned.
    pub(crate) fn with_runs(self, runs: Vec<FreeRun>) -> Self {
        Self { runs, ..self }
    }

    /// What the rows are: an adapter's settings must say the same.
    pub fn contexts(&self) -> Contexts {
        self.contexts
    }

    /// How rows and target tokens are paired: an adapter's settings must say the same.
    pub fn pairing(&self) -> Pairing {
        self.pairing
    }

    /// Whether it holds all of the PLM's free runs, so that [`Pairing::Alignment`] is possible.
    pub fn has_runs(&self) -> bool {
        !self.runs.is_empty()
    }

    /// What the pairs at `indices` count, adding up to 1; `None` where all count the same.
    pub(crate) fn weights(&self, indices: &[usize]) -> Option<Vec<f32>> {
        let of = |index: &usize| self.weights.get(*index).copied();
        let weights: Vec<f32> = indices.iter().map(of).collect::<Option<_>>()?;
        let sum: f32 = weights.iter().sum();
        Some(weights.into_iter().map(|weight| weight / sum).collect())
    }

    /// Rows of `h`.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether every pair has a prompt that is not empty.
    pub(crate) fn has_prompts(&self) -> bool {
        (0..self.y.len()).all(|index| !self.prompt(index).is_empty())
    }

    /// The tokens of pair `index`'s prompt.
    pub(crate) fn prompt(&self, index: usize) -> &[TokenId] {
        let prompt = self.prompts.of.get(index).and_then(|&prompt| self.prompts.tokens.get(prompt as usize));
        prompt.map_or(&[], Vec::as_slice)
    }

    /// The rows of pair `index`'s prompt, one for each of its tokens. Of a memory of
    /// [`Contexts::PromptAll`].
    pub(crate) fn prompt_rows(&self, index: usize) -> Range<usize> {
        let end = self.row_of[index] as usize + 1;
        end - self.prompt(index).len()..end
    }

    /// `t` of pair `index`: its place in its target.
    pub(crate) fn step(&self, index: usize) -> usize {
        self.steps.get(index).map_or(0, |step| *step as usize)
    }

    /// `t / SL` of pair `index`.
    pub(crate) fn progress(&self, index: usize) -> f32 {
        let prompt = self.prompts.of.get(index).copied().unwrap_or_default();
        let source_len = self.prompts.source_lens.get(prompt as usize).copied().unwrap_or_default().max(1);
        self.step(index) as f32 / source_len as f32
    }

    /// What pair `index` counts beside the others, and a number that it shares with pairs of its prompt.
    pub(crate) fn weight_and_group(&self, index: usize) -> (f32, u32) {
        let group = self.prompts.of.get(index).copied().unwrap_or(index as u32);
        (self.weights.get(index).copied().unwrap_or(1.0), group)
    }

    /// The tokens of pair `index`'s target before `y[index]`.
    pub(crate) fn prefix(&self, index: usize) -> &[TokenId] {
        &self.y[index.saturating_sub(self.step(index))..index]
    }

    /// The PLM's own words up to pair `index`'s row, or its place where all of a target's pairs have one, and the
    /// word after them. Of a memory with [whole runs](crate::MemoryBuilder::keep_runs).
    pub(crate) fn own(&self, index: usize) -> (&[TokenId], TokenId) {
        let run = &self.runs[self.prompts.of[index] as usize];
        let place = match self.pairing {
            Pairing::Position | Pairing::Alignment => (self.row_of[index] - run.first_row) as usize,
            Pairing::Prompt => self.step(index),
        };
        (&run.words[..place], run.words[place])
    }

    /// `d`: entries in a row.
    pub fn d(&self) -> usize {
        self.rows.d()
    }

    /// Numbers of the pairs to learn from.
    pub fn train(&self) -> &[usize] {
        &self.train
    }

    /// Numbers of the pairs to validate on.
    pub fn valid(&self) -> &[usize] {
        &self.valid
    }

    /// The memory with the pairs of its first `prompts` prompts alone to learn from; those to validate
    /// on stay, and so do pairs without a prompt. For learning curves.
    ///
    /// # Errors
    /// [`MemoryError::NothingToLearn`] when that leaves none.
    pub fn learning_from(self, prompts: u32) -> Result<Self, MemoryError> {
        let is_kept = |index: &usize| self.prompts.of.get(*index).is_none_or(|&prompt| prompt < prompts);
        let train: Vec<usize> = self.train.iter().copied().filter(is_kept).collect();
        if train.is_empty() {
            return Err(MemoryError::NothingToLearn);
        }
        Ok(Self { train, ..self })
    }

    /// The largest token, which the head must have.
    pub(crate) fn largest_token(&self) -> Option<TokenId> {
        self.y.iter().chain(self.prompts.tokens.iter().flatten()).copied().max()
    }

    /// The PLM's own words at every pair; none without runs.
    pub(crate) fn own_words(&self) -> impl Iterator<Item = TokenId> {
        self.train.iter().chain(&self.valid).filter(|_| self.has_runs()).map(|&index| self.own(index).1)
    }

    /// Every pair's target, validation pairs' too.
    pub(crate) fn targets(&self) -> impl Iterator<Item = TokenId> {
        self.train.iter().chain(&self.valid).map(|&index| self.y[index])
    }

    /// The rows that training pairs meet, each once.
    pub(crate) fn training_contexts(&self) -> Vec<usize> {
        let rows: BTreeSet<u32> = self.train.iter().map(|&index| self.row_of[index]).collect();
        rows.into_iter().map(|row| row as usize).collect()
    }

    /// `h` of these rows, row-major.
    pub(crate) fn contexts_at(&self, rows: &[usize]) -> Result<Vec<f32>, RowsError> {
        let mut h = Vec::new();
        self.rows.gather(rows, &mut h)?;
        Ok(h)
    }

    /// `h` of the pairs at `indices`, row-major.
    pub(crate) fn contexts_of(&self, indices: &[usize]) -> Result<Vec<f32>, RowsError> {
        let rows: Vec<usize> = indices.iter().map(|&index| self.row_of[index] as usize).collect();
        self.contexts_at(&rows)
    }

    /// `h [n, d]` (row-major) and `y [n]` of the pairs to learn from.
    pub fn training_rows(&self) -> Result<(Vec<f32>, Vec<TokenId>), RowsError> {
        self.gather(&self.train)
    }

    /// `h` (row-major) and `y` of the pairs at `indices`.
    pub(crate) fn gather(&self, indices: &[usize]) -> Result<(Vec<f32>, Vec<TokenId>), RowsError> {
        Ok((self.contexts_of(indices)?, indices.iter().map(|&index| self.y[index]).collect()))
    }

    /// Names the targets and the division (not `h`, which is large and named by the service), so
    /// that a checkpoint is not resumed on another memory.
    pub fn fingerprint(&self) -> ContentHash {
        let mut hasher = ContentHasher::default();
        // Steps have a row for each pair, and some that no pair meets where runs were kept.
        let rows = if self.contexts == Contexts::Steps { self.y.len() } else { self.rows.len() };
        let lens = [rows, self.d(), self.train.len(), self.valid.len()];
        for number in lens.iter().chain(&self.train).chain(&self.valid) {
            hasher.update(&(*number as u64).to_le_bytes());
        }
        let Prompts { tokens, of, .. } = &self.prompts;
        let tokens = self.y.iter().chain(tokens.iter().flatten()).map(|token| &token.0);
        // Rows in order have the name that they had before there were other contexts and pairings.
        let is_in_order = self.contexts == Contexts::Steps && self.pairing == Pairing::Position;
        let row_of = self.row_of.iter().filter(|_| !is_in_order);
        for number in tokens.chain(&self.steps).chain(of).chain(row_of) {
            hasher.update(&number.to_le_bytes());
        }
        self.weights.iter().for_each(|weight| hasher.update(&weight.to_le_bytes()));
        hasher.finish()
    }
}

// By hand, so that no log shows a row or a target.
impl<R> fmt::Debug for Memory<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (train, valid) = (self.train.len(), self.valid.len());
        f.debug_struct("Memory").field("train", &train).field("valid", &valid).finish_non_exhaustive()
    }
}
