//! The next token: the PLM's distribution, the adapter's, and their mixture, or what is chosen from it.

use std::borrow::Cow;

use burn::tensor::Device;
use half::f16;
use pema_core::align::Contexts;
use pema_core::id::TokenId;
use pema_core::sampling::Choice;
use pema_core::schedule::{GradualUnrolling, Mix, Mixing};
use pema_core::wire::PromptStates;

use crate::adapter::Adapter;
use crate::distribution::entropy;
use crate::head::Head;
use crate::steps::{Half, Steps, last};
use crate::tensor_file::ReadError;
use crate::weighing::{NotMixed, Weighing};

/// Steps whose distributions are computed together: each takes two rows of logits, and two more of
/// what comes of them.
const STEPS_AT_ONCE: usize = 32;

/// Turns hidden states into distributions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mixer {
    head: Head,
    adapter: Option<Adapter>,
    device: Device,
}

/// A token that was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Picked {
    /// The token.
    pub token: TokenId,
    /// The adapter's probability of it, 0 where the adapter has no weight.
    pub p_pema: f32,
    /// The PLM's, where it was asked.
    pub p_plm: Option<f32>,
    /// The mixture's.
    pub p_mixture: f32,
    /// The mixture's entropy in nats.
    pub entropy: f32,
    /// The adapter's weight in the mixture.
    pub lambda: f32,
}

/// Hidden states of one step of a text, or of several.
#[derive(Clone, Copy, Debug)]
pub struct Hidden<'a> {
    /// Of the prompt: `f(prompt)` `[d]`, or those of all its tokens, `[p, d]`, of which it is the last. See
    /// [`Mixer::prompt_states`].
    pub prompt: &'a [f16],
    /// `f` of the prompt and the text so far, `[d]`; of several steps one after the other, `[n, d]`.
    pub current: &'a [f16],
}

/// Log-probabilities `[v]` of the next token.
#[derive(Clone, Debug, PartialEq)]
pub struct Distributions {
    /// The adapter's; absent where it has no weight.
    pub pema: Option<Vec<f32>>,
    /// The PLM's; absent where it was not asked.
    pub plm: Option<Vec<f32>>,
    /// The mixture's.
    pub mixture: Vec<f32>,
    /// The adapter's weight in it.
    pub lambda: f32,
}

impl Mixer {
    /// A mixer on the device that head and adapter lie on. Without an adapter it gives the PLM's
    /// distribution whatever the mixture is.
    pub fn new(head: Head, adapter: Option<Adapter>, device: Device) -> Self {
        Self { head, adapter, device }
    }

    /// Whether there is an adapter.
    pub fn has_adapter(&self) -> bool {
        self.adapter.is_some()
    }

    /// Whether there is an adapter with a gate.
    pub fn has_gate(&self) -> bool {
        self.adapter.as_ref().is_some_and(|adapter| adapter.gate.is_some())
    }

    /// Whether there is an adapter with contrast.
    pub fn has_contrast(&self) -> bool {
        self.adapter.as_ref().is_some_and(Adapter::has_contrast)
    }

    /// What weighs the token after `t` generated ones.
    ///
    /// # Errors
    /// [`NotMixed`] when a gate is to and there is none, or none for this mixture, or when there is an adapter
    /// without the contrast that is asked for.
    pub fn weighing(&self, unrolling: &GradualUnrolling, t: usize) -> Result<Weighing<'_>, NotMixed> {
        if unrolling.mixing() == Mixing::Contrast && self.has_adapter() && !self.has_contrast() {
            return Err(NotMixed::NoContrast);
        }
        if let Some(mix) = unrolling.mix(t) {
            return Ok(mix.into());
        }
        let adapter = self.adapter.as_ref().ok_or(NotMixed::NoAdapter)?;
        let gate = adapter.gate.as_ref().ok_or(NotMixed::NoGate)?;
        match unrolling.mixing() {
            Mixing::Arithmetic => Ok(Weighing::Learned { gate, most: unrolling.lambda_max(), progress: unrolling.progress(t) }),
            Mixing::Geometric | Mixing::Contrast => Err(NotMixed::NotArithmetic),
        }
    }

    /// The adapter alone, which needs nothing of the PLM but the prompt's hidden states.
    ///
    /// # Errors
    /// [`NotPrivate`] when there is no adapter, or one that needs more.
    pub fn private(&self) -> Result<PrivateMixer<'_>, NotPrivate> {
        match &self.adapter {
            None => Err(NotPrivate::NoAdapter),
            Some(adapter) if adapter.origin().config.given() == Contexts::Steps => Err(NotPrivate::OfSteps),
            Some(adapter) => Ok(PrivateMixer { mixer: self, adapter }),
        }
    }

    /// The contexts that the adapter is given, if there is one.
    pub fn contexts(&self) -> Option<Contexts> {
        self.adapter.as_ref().map(|adapter| adapter.origin().config.given())
    }

    /// Which of the prompt's hidden states the adapter needs.
    pub fn prompt_states(&self) -> PromptStates {
        match &self.adapter {
            Some(adapter) if adapter.origin().config.attend => PromptStates::All,
            _ => PromptStates::Last,
        }
    }

    /// The distributions after a prompt, not empty, and the text `written` so far, whose tokens are
    /// less than `v`, given their hidden states. `weighing` is a [`Mix`] or comes of [`Self::weighing`];
    /// at `lambda` 0 the adapter's half of the work is left out. An adapter without contrast has its own
    /// distribution in [`Mixing::Contrast`] too.
    ///
    /// # Errors
    /// [`ReadError`] when the device fails.
    pub async fn distributions<'a>(
        &'a self,
        hidden: Hidden<'a>,
        prompt: &'a [TokenId],
        written: &'a [TokenId],
        weighing: impl Into<Weighing<'a>>,
    ) -> Result<Distributions, ReadError> {
        let mut one = self.steps(hidden, prompt, vec![written], vec![weighing.into()]).distributions().await?;
        Ok(one.swap_remove(0))
    }

    /// Hands over the distributions before each token of `text`, in order, as [`Self::distributions`]
    /// gives them one by one, which takes several times as long: `hidden.current` is `[text, d]`, and
    /// each token has its own of `weighings`, in which contrast is for all or for none.
    ///
    /// # Errors
    /// [`ReadError`] when the device fails.
    pub async fn along<'a>(
        &'a self,
        hidden: Hidden<'a>,
        prompt: &'a [TokenId],
        text: &'a [TokenId],
        weighings: &[Weighing<'a>],
        mut each: impl FnMut(Distributions),
    ) -> Result<(), ReadError> {
        let written: Vec<&[TokenId]> = (0..text.len()).map(|t| &text[..t]).collect();
        let currents = hidden.current.chunks(STEPS_AT_ONCE * self.head.d());
        for ((current, written), weighings) in currents.zip(written.chunks(STEPS_AT_ONCE)).zip(weighings.chunks(STEPS_AT_ONCE)) {
            let steps = self.steps(Hidden { current, ..hidden }, prompt, written.to_vec(), weighings.to_vec());
            steps.distributions().await?.into_iter().for_each(&mut each);
        }
        Ok(())
    }

    /// Chooses the next token, not one of `ruled_out`, which rises; the rest as for
    /// [`Self::distributions`], which a device with Pema's own kernels keeps to itself unless a gate is
    /// to see them.
    ///
    /// # Errors
    /// [`ReadError`] when the device fails.
    pub async fn choose<'a>(
        &'a self,
        hidden: Hidden<'a>,
        prompt: &'a [TokenId],
        written: &'a [TokenId],
        weighing: impl Into<Weighing<'a>>,
        choice: Choice,
        ruled_out: &[TokenId],
    ) -> Result<Picked, ReadError> {
        self.steps(hidden, prompt, vec![written], vec![weighing.into()]).choose(choice, ruled_out).await
    }

    /// Steps of a text, not none: what is written before each, and how each is weighed.
    fn steps<'a>(
        &'a self,
        hidden: Hidden<'a>,
        prompt: &'a [TokenId],
        written: Vec<&'a [TokenId]>,
        weighings: Vec<Weighing<'a>>,
    ) -> Steps<'a> {
        let has_weight = weighings.iter().any(|weighing| weighing.most() > 0.0);
        let pema = self.adapter.as_ref().filter(|_| has_weight).map(|adapter| Half {
            adapter,
            h: match adapter.origin().config.given() {
                Contexts::Steps => Cow::Borrowed(hidden.current),
                Contexts::Prompt | Contexts::PromptAll => last(hidden.prompt, self.head.d()).repeat(written.len()).into(),
            },
            states: hidden.prompt,
        });
        Steps { head: &self.head, device: &self.device, plm: Some(hidden.current), pema, prompt, written, weighings }
    }
}

/// An adapter that writes from the prompt's hidden states alone.
#[derive(Clone, Copy, Debug)]
pub struct PrivateMixer<'a> {
    mixer: &'a Mixer,
    adapter: &'a Adapter,
}

impl PrivateMixer<'_> {
    /// Chooses the next token, not one of `ruled_out`, which rises, from the adapter's distribution after
    /// a prompt, not empty, with the hidden states `h_prompt` as in [`Hidden::prompt`], and the text
    /// `written` so far, whose tokens are less than `v`.
    ///
    /// # Errors
    /// [`ReadError`] when the device fails.
    pub async fn choose(
        &self,
        h_prompt: &[f16],
        prompt: &[TokenId],
        written: &[TokenId],
        choice: Choice,
        ruled_out: &[TokenId],
    ) -> Result<Picked, ReadError> {
        let Mixer { head, device, .. } = self.mixer;
        let pema = Some(Half { adapter: self.adapter, h: last(h_prompt, head.d()).into(), states: h_prompt });
        let (written, weighings) = (vec![written], vec![Mix::ADAPTER.into()]);
        Steps { head, device, plm: None, pema, prompt, written, weighings }.choose(choice, ruled_out).await
    }
}

/// Why nothing can be generated without telling it to the PLM's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPrivate {
    /// The PLM would write alone.
    #[error("private generation needs an adapter, and none is in use: train, import or select one")]
    NoAdapter,
    /// The adapter needs a context for each token.
    #[error(
        "this adapter needs the model's context of every token, so what it writes cannot be kept from the model's owner: \
         train one on a memory with contexts of the prompt alone"
    )]
    OfSteps,
}

impl Distributions {
    /// The mixture's entropy in nats.
    pub fn entropy(&self) -> f32 {
        entropy(&self.mixture)
    }

    /// Probabilities of `token`: the adapter's, the PLM's (each 0 where it is absent), the mixture's.
    pub fn of(&self, token: TokenId) -> [f32; 3] {
        let p = |log_p: &[f32]| log_p.get(token.0 as usize).map_or(0.0, |x| x.exp());
        [self.pema.as_deref().map_or(0.0, p), self.plm.as_deref().map_or(0.0, p), p(&self.mixture)]
    }
}
