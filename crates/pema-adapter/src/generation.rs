//! Generating token by token: someone gives `f(x_t)`, this mixes, chooses and goes on.

use std::ops::ControlFlow;

use pema_core::id::TokenId;
use pema_core::sampling::{Chooser, repeats};
use pema_core::schedule::{GradualUnrolling, Mix};
use pema_core::wire::PromptStates;
use pema_core::wire::frame::StepFrame;

use crate::mixture::{Hidden, Mixer, NotPrivate, Picked};
use crate::tensor_file::ReadError;
use crate::weighing::{NotMixed, Weighing};

/// Where hidden states come from: a service's generation stream.
#[expect(async_fn_in_trait, reason = "callers are single-threaded: a tab's worker or a block_on")]
pub trait ContextStream {
    /// What can go wrong.
    type Error: From<ReadError> + From<NotPrivate> + From<NotMixed>;

    /// Begins a sequence with a prompt; the frame holds `f(prompt)`, and the hidden states of the
    /// prompt's other tokens if `states` asks for all. A frame that holds others is an error of the stream.
    async fn start(&mut self, prompt: &[TokenId], states: PromptStates) -> Result<StepFrame, Self::Error>;

    /// Appends a token; the frame holds `f` of the longer sequence.
    async fn push(&mut self, token: TokenId) -> Result<StepFrame, Self::Error>;

    /// Called instead of [`Self::push`] where nothing is sent: a chance to look at other things.
    async fn pause(&mut self) {}
}

/// What to generate.
#[derive(Debug)]
pub struct Generation<'a> {
    /// The prompt, with BOS where the model wants one.
    pub prompt: &'a [TokenId],
    /// The adapter's weight over the steps; without it the PLM writes alone.
    pub unrolling: Option<GradualUnrolling>,
    /// How long the PLM is asked.
    pub consult: Consult,
    /// How tokens are chosen.
    pub chooser: Chooser,
    /// No sequence of so many tokens is written twice; 0 allows it.
    pub no_repeat: usize,
    /// Tokens that end the text.
    pub endings: &'a [TokenId],
    /// At most so many tokens.
    pub max_tokens: usize,
}

/// When the PLM is asked for its distribution. Elsewhere the adapter writes alone, from the prompt's
/// context and what it has written. The PLM's owner learns what was written before a token at which
/// the PLM is asked. All but [`Self::Always`] need an adapter with contexts of the prompt alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Consult {
    /// At every token.
    #[default]
    Always,
    /// At the first so many tokens.
    First(usize),
    /// Where the adapter's entropy is above so many nats.
    Above(f32),
}

impl Consult {
    /// Private generation: the PLM gives `f(prompt)` and then nothing.
    pub const NEVER: Self = Self::First(0);

    /// Whether the PLM's owner may learn a generated token.
    pub fn tells(self) -> bool {
        match self {
            Self::Always => true,
            Self::First(tokens) => tokens > 1,
            Self::Above(nats) => nats != f32::INFINITY,
        }
    }

    /// Whether it is certain, before the adapter has spoken, that the PLM is asked.
    fn at(self, step: usize) -> bool {
        match self {
            Self::Always => true,
            Self::First(tokens) => step < tokens,
            Self::Above(_) => false,
        }
    }

    /// Whether the adapter alone, which chose this token, will do.
    fn spares(self, alone: &Picked) -> bool {
        match self {
            Self::Always => false,
            Self::First(_) => true,
            Self::Above(nats) => alone.entropy <= nats,
        }
    }
}

/// One chosen token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chosen {
    /// The token.
    pub token: TokenId,
    /// Whether it ends the text.
    pub is_end: bool,
    /// The adapter's weight; 1 where the PLM was not asked.
    pub lambda: f32,
    /// The adapter's probability of it, 0 where the adapter has no weight.
    pub p_pema: f32,
    /// The PLM's, where it was asked.
    pub p_plm: Option<f32>,
    /// The mixture's.
    pub p_mixture: f32,
}

/// Generates until an ending, the most tokens allowed, or until `on_token` breaks. Tokens are sent to
/// the stream when the PLM is asked after them, so neither an ending nor the last token ever is.
///
/// # Errors
/// Those of the stream, [`NotPrivate`] before anything is sent when the adapter cannot do without
/// the PLM as [`Generation::consult`] wants, likewise [`NotMixed`] when it cannot be mixed as
/// [`Generation::unrolling`] wants, and [`ReadError`] when the device fails.
pub async fn generate<S: ContextStream>(
    stream: &mut S,
    mixer: &Mixer,
    generation: Generation<'_>,
    mut on_token: impl FnMut(Chosen) -> ControlFlow<()>,
) -> Result<(), S::Error> {
    let Generation { prompt, unrolling, consult, mut chooser, no_repeat, endings, max_tokens } = generation;
    let private = match consult {
        Consult::Always => None,
        Consult::First(_) | Consult::Above(_) => Some(mixer.private()?),
    };
    let weighing = |t: usize| match &unrolling {
        Some(unrolling) => mixer.weighing(unrolling, t),
        None => Ok(Weighing::Given(Mix::PLM)),
    };
    weighing(0)?;
    if max_tokens == 0 {
        return Ok(());
    }
    let mut written = Vec::with_capacity(max_tokens);
    let plm_alone = unrolling.is_none() && private.is_none();
    let first = stream.start(prompt, if plm_alone { PromptStates::Last } else { mixer.prompt_states() }).await?;
    let h_prompt = first.prompt_states();
    let mut current = first.h;
    let mut told = 0;
    for step in 0..max_tokens {
        let (choice, ruled_out) = (chooser.choice(), repeats(&written, no_repeat));
        let alone = match private.filter(|_| !consult.at(step)) {
            Some(private) => Some(private.choose(&h_prompt, prompt, &written, choice, &ruled_out).await?),
            None => None,
        };
        let picked = match alone.filter(|alone| consult.spares(alone)) {
            Some(alone) => {
                stream.pause().await;
                alone
            }
            None => {
                for &token in &written[told..] {
                    current = stream.push(token).await?.h;
                }
                told = written.len();
                let hidden = Hidden { prompt: &h_prompt, current: &current };
                mixer.choose(hidden, prompt, &written, weighing(step)?, choice, &ruled_out).await?
            }
        };
        let Picked { token, p_pema, p_plm, p_mixture, lambda, .. } = picked;
        let is_end = endings.contains(&token);
        let flow = on_token(Chosen { token, is_end, lambda, p_pema, p_plm, p_mixture });
        if is_end || flow.is_break() || step + 1 == max_tokens {
            break;
        }
        written.push(token);
    }
    Ok(())
}
