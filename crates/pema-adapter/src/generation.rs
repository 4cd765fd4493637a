//! Generating token by token: someone gives `f(x_t)`, this mixes, chooses and goes on.

use std::ops::ControlFlow;

use pema_core::id::TokenId;
use pema_core::sampling::Chooser;
use pema_core::schedule::GradualUnrolling;
use pema_core::wire::frame::StepFrame;

use crate::mixture::Mixer;
use crate::tensor_file::ReadError;

/// Where hidden states come from: a service's generation stream.
#[expect(async_fn_in_trait, reason = "callers are single-threaded: a tab's worker or a block_on")]
pub trait ContextStream {
    /// What can go wrong.
    type Error: From<ReadError>;

    /// Begins a sequence with a prompt; the frame holds `f(prompt)`.
    async fn start(&mut self, prompt: &[TokenId]) -> Result<StepFrame, Self::Error>;

    /// Appends a token; the frame holds `f` of the longer sequence.
    async fn push(&mut self, token: TokenId) -> Result<StepFrame, Self::Error>;
}

/// What to generate.
#[derive(Debug)]
pub struct Generation<'a> {
    /// The prompt, with BOS where the model wants one.
    pub prompt: &'a [TokenId],
    /// The adapter's weight over the steps; without it the PLM writes alone.
    pub unrolling: Option<GradualUnrolling>,
    /// How tokens are chosen.
    pub chooser: Chooser,
    /// Tokens that end the text.
    pub endings: &'a [TokenId],
    /// At most so many tokens.
    pub max_tokens: usize,
}

/// One chosen token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chosen {
    /// The token.
    pub token: TokenId,
    /// Whether it ends the text.
    pub is_end: bool,
    /// The adapter's weight.
    pub lambda: f32,
    /// The adapter's probability of it, 0 where the adapter has no weight.
    pub p_pema: f32,
    /// The PLM's.
    pub p_plm: f32,
    /// The mixture's.
    pub p_mixture: f32,
}

/// Generates until an ending, the most tokens allowed, or until `on_token` breaks. An ending is
/// shown to `on_token` and not sent to the stream, and neither is the last token.
///
/// # Errors
/// Those of the stream, and [`ReadError`] when the device fails.
pub async fn generate<S: ContextStream>(
    stream: &mut S,
    mixer: &Mixer,
    generation: Generation<'_>,
    mut on_token: impl FnMut(Chosen) -> ControlFlow<()>,
) -> Result<(), S::Error> {
    let Generation { prompt, unrolling, mut chooser, endings, max_tokens } = generation;
    if max_tokens == 0 {
        return Ok(());
    }
    let mut written = Vec::with_capacity(max_tokens);
    let mut frame = stream.start(prompt).await?;
    for step in 0..max_tokens {
        let lambda = unrolling.as_ref().map_or(0.0, |unrolling| unrolling.lambda(step));
        let next = mixer.distributions(&frame.h, prompt, &written, lambda).await?;
        let token = chooser.choose(&next.mixture);
        let is_end = endings.contains(&token);
        let [p_pema, p_plm, p_mixture] = next.of(token);
        let flow = on_token(Chosen { token, is_end, lambda, p_pema, p_plm, p_mixture });
        if is_end || flow.is_break() || step + 1 == max_tokens {
            break;
        }
        written.push(token);
        frame = stream.push(token).await?;
    }
    Ok(())
}
