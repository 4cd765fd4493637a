//! Pairing anew: which of the memory's contexts each target token meets.
//!
//! The paper pairs `f(c_i)` with `y_i` by position, though the PLM went its own way: where it
//! put two words before what the target says, every later context is two words off.
//!
//! With the prompt, every token of a target meets `f(prompt)`, before the PLM went anywhere.
//!
//! By alignment each meets the context whose prefix says what the target's says: the
//! target and the PLM's own words are aligned ([`align_prefixes`]), words being alike as far as
//! the head's rows point the same way, and a pair counts less the less its prefixes agree. All of it
//! happens at the data owner's, from tokens that the memory holds anyway.

use std::collections::{BTreeSet, HashMap};

use pema_core::align::{Pairing, align_prefixes};
use pema_core::id::TokenId;

use crate::head::Head;
use crate::memory::{Memory, MemoryError, Rows};
use crate::tensor_file::{ReadError, read_f32};

/// Tokens whose rows of the head are read from the device at once.
const TOKENS_AT_ONCE: usize = 1024;

impl<R: Rows> Memory<R> {
    /// The memory, as it was joined, with its pairs made anew.
    ///
    /// # Errors
    /// For [`Pairing::Alignment`] [`MemoryError::NoRuns`] unless it holds
    /// [whole runs](crate::MemoryBuilder::keep_runs), as a memory of
    /// [`Contexts::Prompt`](pema_core::align::Contexts::Prompt) cannot, and [`MemoryError::Read`] when the device
    /// fails.
    pub async fn pair(self, pairing: Pairing, head: &Head) -> Result<Self, MemoryError> {
        match pairing {
            Pairing::Position => Ok(self),
            Pairing::Alignment => self.align(head).await,
            Pairing::Prompt => Ok(self.pair_with_prompts()),
        }
    }

    /// Every pair meets the row of its target's first.
    fn pair_with_prompts(mut self) -> Self {
        self.row_of = (0..self.row_of.len()).map(|index| self.row_of[index - self.step(index)]).collect();
        self.pairing = Pairing::Prompt;
        self
    }

    async fn align(mut self, head: &Head) -> Result<Self, MemoryError> {
        if !self.has_runs() {
            return Err(MemoryError::NoRuns);
        }
        let words = self.runs.iter().flat_map(|run| &run.words).chain(&self.y);
        let directions = Directions::read(words.copied().collect(), head).await?;
        self.weights.clear();
        let mut first = 0;
        for of_prompt in self.prompts.of.chunk_by(|a, b| a == b) {
            let run = &self.runs[of_prompt[0] as usize];
            // The last token of the one is EOS, the last of the other comes after the last context.
            let target = &self.y[first..first + of_prompt.len() - 1];
            let own = &run.words[..run.words.len() - 1];
            let cost = |i: usize, j: usize| 1.0 - directions.cosine(target[i], own[j]);
            for matched in align_prefixes(target.len(), own.len(), cost) {
                self.row_of[self.weights.len()] = run.first_row + matched.own as u32;
                self.weights.push(matched.weight());
            }
            first += of_prompt.len();
        }
        self.pairing = Pairing::Alignment;
        Ok(self)
    }
}

/// Rows of the head at length 1.
struct Directions {
    place: HashMap<TokenId, usize>,
    values: Vec<f32>,
    d: usize,
}

impl Directions {
    async fn read(mut tokens: BTreeSet<TokenId>, head: &Head) -> Result<Self, ReadError> {
        // The trainer refuses targets that the head lacks; here such a token is like no other.
        tokens.retain(|token| (token.0 as usize) < head.v());
        let tokens: Vec<Option<TokenId>> = tokens.into_iter().map(Some).collect();
        let d = head.d();
        let mut values = Vec::with_capacity(tokens.len() * d);
        for some in tokens.chunks(TOKENS_AT_ONCE) {
            values.extend(read_f32(head.tokens(some).embeddings()).await?);
        }
        for row in values.chunks_exact_mut(d) {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            row.iter_mut().for_each(|x| *x /= length.max(f32::MIN_POSITIVE));
        }
        let place = tokens.into_iter().flatten().zip(0..).collect();
        Ok(Self { place, values, d })
    }

    /// How alike two tokens are: exactly 1 for a token and itself.
    fn cosine(&self, a: TokenId, b: TokenId) -> f32 {
        if a == b {
            return 1.0;
        }
        let row = |token| self.place.get(&token).map(|at| &self.values[at * self.d..][..self.d]);
        let Some((a, b)) = row(a).zip(row(b)) else { return 0.0 };
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }
}
