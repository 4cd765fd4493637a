//! The next token: the PLM's distribution, the adapter's, and their mixture, or what is chosen from it.

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use pema_core::align::Contexts;
use pema_core::id::TokenId;
use pema_core::sampling::{Choice, rule_out};
use pema_core::schedule::{GradualUnrolling, Mix, Mixing, log_softmax};
use pema_core::wire::PromptStates;

use crate::adapted::{Adapted, log_probs};
use crate::adapter::Adapter;
use crate::attend::AttendContext;
use crate::distribution::entropy;
use crate::gate::Sight;
use crate::head::Head;
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
use crate::head::Order;
use crate::tensor_file::{ReadError, read_f32};
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
use crate::train::Extra;
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
use crate::vocabulary::Kept;
use crate::weighing::{NotLearned, Weighing};

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

/// Hidden states of one step of a text.
#[derive(Clone, Copy, Debug)]
pub struct Hidden<'a> {
    /// Of the prompt: `f(prompt)` `[d]`, or those of all its tokens, `[p, d]`, of which it is the last. See
    /// [`Mixer::prompt_states`].
    pub prompt: &'a [f16],
    /// `f` of the prompt and the text so far, `[d]`.
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

    /// What weighs the token after `t` generated ones.
    ///
    /// # Errors
    /// [`NotLearned`] when a gate is to and there is none, or none for this mixture.
    pub fn weighing(&self, unrolling: &GradualUnrolling, t: usize) -> Result<Weighing<'_>, NotLearned> {
        if let Some(mix) = unrolling.mix(t) {
            return Ok(mix.into());
        }
        let adapter = self.adapter.as_ref().ok_or(NotLearned::NoAdapter)?;
        let gate = adapter.gate.as_ref().ok_or(NotLearned::NoGate)?;
        match unrolling.mixing() {
            Mixing::Arithmetic => Ok(Weighing::Learned { gate, most: unrolling.lambda_max(), progress: unrolling.progress(t) }),
            Mixing::Geometric => Err(NotLearned::Geometric),
        }
    }

    /// The adapter alone, which needs nothing of the PLM but the prompt's hidden states.
    ///
    /// # Errors
    /// [`NotPrivate`] when there is no adapter, or one that needs more.
    pub fn private(&self) -> Result<PrivateMixer<'_>, NotPrivate> {
        match &self.adapter {
            None => Err(NotPrivate::NoAdapter),
            Some(adapter) if adapter.origin().config.contexts == Contexts::Steps => Err(NotPrivate::OfSteps),
            Some(adapter) => Ok(PrivateMixer { mixer: self, adapter }),
        }
    }

    /// The contexts that the adapter is given, if there is one.
    pub fn contexts(&self) -> Option<Contexts> {
        self.adapter.as_ref().map(|adapter| adapter.origin().config.contexts)
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
    /// at `lambda` 0 the adapter's half of the work is left out.
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
        self.step(hidden, prompt, written, weighing.into()).distributions().await
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
        self.step(hidden, prompt, written, weighing.into()).choose(choice, ruled_out).await
    }

    fn step<'a>(&'a self, hidden: Hidden<'a>, prompt: &'a [TokenId], written: &'a [TokenId], weighing: Weighing<'a>) -> Step<'a> {
        let adapter = self.adapter.as_ref().filter(|_| weighing.most() > 0.0);
        let pema = adapter.map(|adapter| match adapter.origin().config.contexts {
            Contexts::Steps => (adapter, hidden.current),
            Contexts::Prompt | Contexts::PromptAll => (adapter, hidden.prompt),
        });
        let weighing = if pema.is_some() { weighing } else { Mix::PLM.into() };
        Step { mixer: self, plm: Some(hidden.current), pema, prompt, written, weighing }
    }

    /// What the adapter makes of the prompt's hidden states `[rows, d]`, of which the last is `h`, and the
    /// text so far.
    fn adapted(&self, adapter: &Adapter, states: &[f16], prompt: &[TokenId], written: &[TokenId]) -> Adapted {
        let d = adapter.d();
        let attend = adapter.origin().config.attend.then(|| {
            let values = states.iter().map(|x| x.to_f32()).collect();
            AttendContext::new(values, d, &[states.len() / d], &[0], &self.device)
        });
        let h = self.upload(last(states, d));
        Adapted::new(adapter, &self.head, h, &[(prompt, written)], attend)
    }

    /// `[d] -> [1, d]` on the device.
    fn upload(&self, h: &[f16]) -> Tensor<2> {
        let values: Vec<f32> = h.iter().map(|x| x.to_f32()).collect();
        Tensor::from_data(TensorData::new(values, [1, h.len()]), &self.device)
    }
}

/// A step of a text.
struct Step<'a> {
    mixer: &'a Mixer,
    /// `f` of the prompt and the text so far, where the PLM is asked.
    plm: Option<&'a [f16]>,
    /// The adapter and the hidden states that it is given, where it has weight. Never neither.
    pema: Option<(&'a Adapter, &'a [f16])>,
    prompt: &'a [TokenId],
    written: &'a [TokenId],
    weighing: Weighing<'a>,
}

impl Step<'_> {
    /// What the head is to read, `[n, d]`: the PLM's row, the adapter's, or both, so that it is read
    /// once; and the adapter's half of the step, if it has weight.
    fn rows(&self) -> (Tensor<2>, Option<Adapted>) {
        let plm = self.plm.map(|h| self.mixer.upload(h));
        let adapted = self.pema.map(|(adapter, states)| self.mixer.adapted(adapter, states, self.prompt, self.written));
        let pema = adapted.as_ref().map(|adapted| adapted.h_pd.clone());
        (Tensor::cat(plm.into_iter().chain(pema).collect(), 0), adapted)
    }

    async fn distributions(&self) -> Result<Distributions, ReadError> {
        let head = &self.mixer.head;
        let (rows, adapted) = self.rows();
        let mut logits = read_f32(head.logits(rows).await?).await?;
        let of_adapter = logits.split_off(self.plm.map_or(0, |_| head.v()));
        let plm = self.plm.map(|_| log_softmax(&logits));
        let (pema, z) = match (self.pema, adapted) {
            (Some((adapter, _)), Some(Adapted { z, copying, .. })) => {
                let pema = log_probs(adapter, &of_adapter, copying, &[(self.prompt, self.written)]).await?;
                (pema.into_iter().next(), Some(z))
            }
            _ => (None, None),
        };
        let (mix, mixture) = match (&pema, &plm) {
            (Some(pema), Some(plm)) => {
                let mix = self.mix(pema, plm, z).await?;
                (mix, mix.log_probs(pema, plm))
            }
            (Some(pema), None) => (Mix::ADAPTER, pema.clone()),
            (None, plm) => (Mix::PLM, plm.clone().unwrap_or_default()),
        };
        Ok(Distributions { pema, plm, mixture, lambda: mix.lambda })
    }

    /// The mixture of both distributions, `[v]` each; a gate looks at them first.
    async fn mix(&self, pema: &[f32], plm: &[f32], z: Option<Tensor<2>>) -> Result<Mix, ReadError> {
        match (self.weighing, self.pema, z) {
            (Weighing::Given(mix), ..) => Ok(mix),
            (Weighing::Learned { gate, most, progress }, Some((_, h)), Some(z)) => {
                let h: Vec<f32> = last(h, self.mixer.head.d()).iter().map(|x| x.to_f32()).collect();
                let z = read_f32(z).await?;
                let lambda = gate.lambda(Sight { h: &h, z: &z, progress, pema, plm });
                Ok(Mix { mixing: Mixing::Arithmetic, lambda: lambda.min(most) })
            }
            (Weighing::Learned { .. }, ..) => Ok(Mix::PLM),
        }
    }

    async fn choose(&self, choice: Choice, ruled_out: &[TokenId]) -> Result<Picked, ReadError> {
        #[cfg(any(feature = "webgpu", feature = "wgpu"))]
        if let (Some(head), Weighing::Given(mix)) = (self.mixer.head.packed(), self.weighing) {
            let adapter = self.pema.map(|(adapter, _)| adapter);
            let copies = adapter.is_some_and(|adapter| adapter.weights.extras.contains_key(&Extra::Copy));
            let placed = head.place(&Order {
                has: [self.plm.is_some(), adapter.is_some()],
                mix,
                choice,
                ruled_out,
                vocabulary: adapter.and_then(|adapter| adapter.kept.as_ref()).map_or(&[], Kept::tokens),
                copies: if copies { self.prompt } else { &[] },
            });
            let (rows, adapted) = self.rows();
            return head.pick(placed, rows, adapted.and_then(|adapted| adapted.copying)).await;
        }
        let next = self.distributions().await?;
        let mut allowed = next.mixture.clone();
        rule_out(&mut allowed, ruled_out);
        let token = choice.of(&allowed);
        let [p_pema, p_plm, p_mixture] = next.of(token);
        let p_plm = next.plm.is_some().then_some(p_plm);
        Ok(Picked { token, p_pema, p_plm, p_mixture, entropy: next.entropy(), lambda: next.lambda })
    }
}

/// The last of hidden states `[rows, d]`.
fn last(states: &[f16], d: usize) -> &[f16] {
    states.rchunks_exact(d).next().unwrap_or(states)
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
        let pema = Some((self.adapter, h_prompt));
        let step = Step { mixer: self.mixer, plm: None, pema, prompt, written, weighing: Mix::ADAPTER.into() };
        step.choose(choice, ruled_out).await
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
