//! On-policy contexts: the mixture writes after each prompt, and the hidden states along its own
//! words are the contexts of a second round of training.
//!
//! In generation the adapter is given contexts that follow the mixture's words, and the PLM's own
//! words lead elsewhere. But each of these words is told to the PLM's owner, and they resemble the
//! targets that the adapter has learned. So the same writing is first [rehearsed](Regeneration::rehearse)
//! on contexts that are here already, and [`Regeneration::rewrite`] ends before more is told than is
//! allowed.

use std::ops::{ControlFlow, Range};

use half::f16;
use pema_core::align::Contexts;
use pema_core::id::TokenId;
use pema_core::memory::Shard;
use pema_core::overlap::Told;
use pema_core::prepare::Prepared;
use pema_core::sampling::{argmax, repeats, rule_out};
use pema_core::schedule::{GradualUnrolling, Schedule, ScheduleError};
use pema_core::wire::frame::{FrameLogits, StepFrame};
use pema_core::wire::{PromptSpec, PromptStates};

use crate::generation::ContextStream;
use crate::mixture::{Hidden, Mixer, NotPrivate};
use crate::tensor_file::ReadError;
use crate::weighing::NotMixed;

/// Whose contexts are made anew: greedily, and past a text's end, as the PLM's free run is.
#[derive(Clone, Copy, Debug)]
pub struct Regeneration<'a> {
    /// The mixture.
    pub mixer: &'a Mixer,
    /// The pairs that the adapter has learned from. Each prompt has its step budget's rows again.
    pub pairs: &'a Prepared,
    /// The adapter's weight after each prompt.
    pub unrollings: &'a [GradualUnrolling],
    /// No sequence of so many tokens is written twice; 0 allows it.
    pub no_repeat: usize,
    /// Tokens that end a text, which are left out of the choice.
    pub endings: &'a [TokenId],
}

/// Contexts along the mixture's own words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rewritten {
    /// `f` before each token, `[steps, d]`.
    pub h: Vec<f16>,
    /// The mixture's token after each.
    pub tokens: Vec<TokenId>,
}

/// Who writes in a rehearsal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The adapter, from whatever contexts its memory holds.
    Adapter,
    /// The mixture, which needs contexts of every step.
    Mixture,
}

impl Regeneration<'_> {
    /// Writes after a prompt on its stored contexts, `rows` of a shard, without telling anyone, and adds
    /// to `told` what would be sent: all tokens but the last.
    ///
    /// # Errors
    /// [`RehearsalError`] when the pairs have no such prompt, or the adapter needs the states of all its
    /// tokens and these rows are others, or when the device fails.
    pub async fn rehearse(
        &self,
        who: Who,
        prompt: u32,
        shard: &Shard,
        rows: Range<usize>,
        told: &mut Told<'_>,
    ) -> Result<(), RehearsalError> {
        let mixed = *self.unrollings.get(prompt as usize).ok_or(RehearsalError::OtherPairs)?;
        let unrolling = match who {
            Who::Adapter => GradualUnrolling::new(Schedule::Constant, 1.0, mixed.source_len())?,
            Who::Mixture => mixed,
        };
        let mut stored = self.stored(prompt, shard, rows)?;
        let hear = |text: &[TokenId]| {
            told.hear(prompt, text);
            ControlFlow::Continue(())
        };
        self.write(&mut stored, prompt, unrolling, hear).await?;
        Ok(())
    }

    /// A prompt's stored contexts as the adapter is to meet them.
    fn stored<'s>(&self, prompt: u32, shard: &'s Shard, rows: Range<usize>) -> Result<StoredContexts<'s>, RehearsalError> {
        let first = match self.mixer.contexts() {
            Some(Contexts::PromptAll) => {
                let tokens = self.pairs.prompts.get(prompt as usize).map(|prompt| prompt.tokens.len());
                rows.end.checked_sub(1).filter(|_| tokens == Some(rows.len())).ok_or(RehearsalError::OtherPairs)?
            }
            Some(Contexts::Steps | Contexts::Prompt) | None => rows.start,
        };
        Ok(StoredContexts { shard, earlier: rows.start..first, rows: first..rows.end, step: 0 })
    }

    /// Writes after a prompt of the pairs with the PLM, whose owner learns all tokens but the last,
    /// and adds them to `told`. `None` if that would pass the share `most` of the targets'
    /// sequences, at the token before which it would.
    ///
    /// # Errors
    /// Those of the stream, [`NotMixed`] before anything is sent, and [`ReadError`] when the device fails.
    pub async fn rewrite<S: ContextStream>(
        &self,
        stream: &mut S,
        prompt: u32,
        told: &mut Told<'_>,
        most: f64,
    ) -> Result<Option<Rewritten>, S::Error> {
        let hear = |text: &[TokenId]| {
            told.hear(prompt, text);
            if told.sequences() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        self.write(stream, prompt, self.unrollings[prompt as usize], hear).await
    }

    /// `on_token` is shown the text so far before its last token is sent, and may break.
    async fn write<S: ContextStream>(
        &self,
        stream: &mut S,
        prompt: u32,
        unrolling: GradualUnrolling,
        mut on_token: impl FnMut(&[TokenId]) -> ControlFlow<()>,
    ) -> Result<Option<Rewritten>, S::Error> {
        self.mixer.weighing(&unrolling, 0)?;
        let PromptSpec { tokens: prompt, steps } = &self.pairs.prompts[prompt as usize];
        let Rewritten { mut h, mut tokens } = Rewritten::default();
        let first = stream.start(prompt, self.mixer.prompt_states()).await?;
        let h_prompt = first.prompt_states();
        let mut current = first.h;
        loop {
            h.extend_from_slice(&current);
            let hidden = Hidden { prompt: &h_prompt, current: &current };
            let weighing = self.mixer.weighing(&unrolling, tokens.len())?;
            let next = self.mixer.distributions(hidden, prompt, &tokens, weighing).await?;
            let token = self.choose(next.mixture, &tokens);
            tokens.push(token);
            if tokens.len() >= *steps as usize {
                return Ok(Some(Rewritten { h, tokens }));
            }
            if on_token(&tokens).is_break() {
                return Ok(None);
            }
            current = stream.push(token).await?.h;
        }
    }

    fn choose(&self, mut log_p: Vec<f32>, written: &[TokenId]) -> TokenId {
        rule_out(&mut log_p, &repeats(written, self.no_repeat));
        rule_out(&mut log_p, self.endings);
        argmax(&log_p)
    }
}

/// Stands in for the PLM: a prompt's stored contexts, one after the other, whatever is written. The
/// last one stays.
struct StoredContexts<'s> {
    shard: &'s Shard,
    /// Of the prompt's tokens before its last, where there are all.
    earlier: Range<usize>,
    /// Of the prompt, at least one.
    rows: Range<usize>,
    step: usize,
}

impl StoredContexts<'_> {
    fn frame(&self) -> StepFrame {
        let row = (self.rows.start + self.step).min(self.rows.end - 1);
        let h = self.shard.row(row).to_vec();
        StepFrame { step: self.step as u32, greedy: self.shard.token[row], h, earlier: Vec::new(), logits: FrameLogits::None }
    }
}

impl ContextStream for StoredContexts<'_> {
    type Error = RehearsalError;

    async fn start(&mut self, _prompt: &[TokenId], _states: PromptStates) -> Result<StepFrame, RehearsalError> {
        self.step = 0;
        let earlier = self.earlier.clone().flat_map(|row| self.shard.row(row)).copied().collect();
        Ok(StepFrame { earlier, ..self.frame() })
    }

    async fn push(&mut self, _token: TokenId) -> Result<StepFrame, RehearsalError> {
        self.step += 1;
        Ok(self.frame())
    }
}

/// Writing on stored contexts that failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RehearsalError {
    /// The shard has prompts that the pairs have not.
    #[error("the memory was extracted for other pairs or with other contexts: extract it again")]
    OtherPairs,
    /// A weight that is none.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] ReadError),
    /// The adapter was to write alone and cannot.
    #[error(transparent)]
    NotPrivate(#[from] NotPrivate),
    /// The adapter cannot be mixed so.
    #[error(transparent)]
    NotMixed(#[from] NotMixed),
}
