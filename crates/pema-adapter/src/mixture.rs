//! The next token: the PLM's distribution, the adapter's, and their mixture, or what is chosen from it.

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use pema_core::align::Contexts;
use pema_core::id::TokenId;
use pema_core::sampling::{Choice, rule_out};
use pema_core::schedule::{Mix, log_softmax};
use pema_core::wire::PromptStates;

use crate::adapter::Adapter;
use crate::attend::AttendContext;
use crate::copying::CopyContext;
use crate::head::Head;
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
use crate::head::Order;
use crate::local_context::with_prefix;
use crate::recall::RecallContext;
use crate::tensor_file::{ReadError, read_f32};
use crate::train::Extra;
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
use crate::vocabulary::Kept;

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
    /// less than `v`, given their hidden states. At `lambda` 0 the adapter's half of the work is left
    /// out.
    ///
    /// # Errors
    /// [`ReadError`] when the device fails.
    pub async fn distributions(
        &self,
        hidden: Hidden<'_>,
        prompt: &[TokenId],
        written: &[TokenId],
        mix: Mix,
    ) -> Result<Distributions, ReadError> {
        self.step(hidden, prompt, written, mix).distributions().await
    }

    /// Chooses the next token, not one of `ruled_out`, which rises; the rest as for
    /// [`Self::distributions`], which a device with Pema's own kernels keeps to itself.
    ///
    /// # Errors
    /// [`ReadError`] when the device fails.
    pub async fn choose(
        &self,
        hidden: Hidden<'_>,
        prompt: &[TokenId],
        written: &[TokenId],
        mix: Mix,
        choice: Choice,
        ruled_out: &[TokenId],
    ) -> Result<Picked, ReadError> {
        self.step(hidden, prompt, written, mix).choose(choice, ruled_out).await
    }

    fn step<'a>(&'a self, hidden: Hidden<'a>, prompt: &'a [TokenId], written: &'a [TokenId], mix: Mix) -> Step<'a> {
        let pema = self.adapter.as_ref().filter(|_| mix.lambda > 0.0).map(|adapter| match adapter.origin().config.contexts {
            Contexts::Steps => (adapter, hidden.current),
            Contexts::Prompt | Contexts::PromptAll => (adapter, hidden.prompt),
        });
        let mix = if pema.is_some() { mix } else { Mix::PLM };
        Step { mixer: self, plm: Some(hidden.current), pema, prompt, written, mix }
    }

    /// What the adapter makes of the hidden states `[rows, d]`, of which the last is `h`, and the text so
    /// far.
    fn adapted(&self, adapter: &Adapter, states: &[f16], prompt: &[TokenId], written: &[TokenId]) -> Adapted {
        let (config, weights, d) = (&adapter.origin().config, &adapter.weights, adapter.d());
        // Uploads, which go before all work.
        let h = self.upload(states.rchunks_exact(d).next().unwrap_or(states));
        let attend = config.attend.then(|| {
            let values = states.iter().map(|x| x.to_f32()).collect();
            AttendContext::new(values, d, &[states.len() / d], &[0], &self.device)
        });
        let recall = config.recall.then(|| RecallContext::new(&self.head, &[written]));
        let copying = weights.extras.get(&Extra::Copy);
        let copying = copying.map(|matrix| (matrix, CopyContext::new(&self.head, &[(prompt, written)])));
        let h_seen = with_prefix(h, &self.head, config.prefix, |_| written);
        let z = adapter.z(h_seen, recall.as_ref(), attend.as_ref());
        let copying = copying.map(|(matrix, context)| context.log_weights(matrix, z.clone()));
        Adapted { h_pd: adapter.up(z), copying }
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
    mix: Mix,
}

impl Step<'_> {
    /// What the head is to read, `[n, d]`: the PLM's row, the adapter's, or both, so that it is read
    /// once; and the weights of copying, if the adapter copies.
    fn rows(&self) -> (Tensor<2>, Option<Tensor<2>>) {
        let plm = self.plm.map(|h| self.mixer.upload(h));
        let adapted = self.pema.map(|(adapter, states)| self.mixer.adapted(adapter, states, self.prompt, self.written));
        let (pema, copying) = adapted.map_or((None, None), |adapted| (Some(adapted.h_pd), adapted.copying));
        (Tensor::cat(plm.into_iter().chain(pema).collect(), 0), copying)
    }

    async fn distributions(&self) -> Result<Distributions, ReadError> {
        let head = &self.mixer.head;
        let (rows, copying) = self.rows();
        let mut logits = read_f32(head.logits(rows).await?).await?;
        let of_adapter = logits.split_off(self.plm.map_or(0, |_| head.v()));
        let plm = self.plm.map(|_| log_softmax(&logits));
        let mut pema = self.pema.map(|(adapter, _)| adapter.log_softmax(of_adapter));
        if let (Some(pema), Some(copying)) = (&mut pema, copying) {
            copy_from(self.prompt, &read_f32(copying).await?, pema);
        }
        let mixture = match (&pema, &plm) {
            (Some(pema), Some(plm)) => self.mix.log_probs(pema, plm),
            (pema, plm) => pema.as_ref().or(plm.as_ref()).cloned().unwrap_or_default(),
        };
        Ok(Distributions { pema, plm, mixture })
    }

    async fn choose(&self, choice: Choice, ruled_out: &[TokenId]) -> Result<Picked, ReadError> {
        #[cfg(any(feature = "webgpu", feature = "wgpu"))]
        if let Some(head) = self.mixer.head.packed() {
            let adapter = self.pema.map(|(adapter, _)| adapter);
            let copies = adapter.is_some_and(|adapter| adapter.weights.extras.contains_key(&Extra::Copy));
            let placed = head.place(&Order {
                has: [self.plm.is_some(), adapter.is_some()],
                mix: self.mix,
                choice,
                ruled_out,
                vocabulary: adapter.and_then(|adapter| adapter.kept.as_ref()).map_or(&[], Kept::tokens),
                copies: if copies { self.prompt } else { &[] },
            });
            let (rows, copying) = self.rows();
            return head.pick(placed, rows, copying).await;
        }
        let next = self.distributions().await?;
        let mut allowed = next.mixture.clone();
        rule_out(&mut allowed, ruled_out);
        let token = choice.of(&allowed);
        let [p_pema, p_plm, p_mixture] = next.of(token);
        let p_plm = next.plm.is_some().then_some(p_plm);
        Ok(Picked { token, p_pema, p_plm, p_mixture, entropy: next.entropy() })
    }
}

/// The adapter's half of a step, on the device.
struct Adapted {
    /// `[1, d]`.
    h_pd: Tensor<2>,
    /// `log g` and `log a`, `[1, 1 + p]`, if the adapter copies.
    copying: Option<Tensor<2>>,
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
        let step = Step { mixer: self.mixer, plm: None, pema, prompt, written, mix: Mix::ADAPTER };
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

/// Weighs the head's log-probabilities and those of the prompt's tokens: `log g` comes first.
fn copy_from(prompt: &[TokenId], log_weights: &[f32], log_p: &mut [f32]) {
    let Some((log_g, log_a)) = log_weights.split_first() else { return };
    log_p.iter_mut().for_each(|log_p| *log_p += log_g);
    for (token, log_a) in prompt.iter().zip(log_a) {
        if let Some(log_p) = log_p.get_mut(token.0 as usize) {
            let top = log_p.max(*log_a);
            *log_p = top + ((*log_p - top).exp() + (log_a - top).exp()).ln();
        }
    }
}

impl Distributions {
    /// The mixture's entropy in nats.
    pub fn entropy(&self) -> f32 {
        let term = |&log_p: &f32| if log_p == f32::NEG_INFINITY { 0.0 } else { -f64::from(log_p).exp() * f64::from(log_p) };
        self.mixture.iter().map(term).sum::<f64>() as f32
    }

    /// Probabilities of `token`: the adapter's, the PLM's (each 0 where it is absent), the mixture's.
    pub fn of(&self, token: TokenId) -> [f32; 3] {
        let p = |log_p: &[f32]| log_p.get(token.0 as usize).map_or(0.0, |x| x.exp());
        [self.pema.as_deref().map_or(0.0, p), self.plm.as_deref().map_or(0.0, p), p(&self.mixture)]
    }
}
