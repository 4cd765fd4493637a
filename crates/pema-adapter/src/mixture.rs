//! The next token's distribution: the PLM's, the adapter's, and their mixture.

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use pema_core::align::Contexts;
use pema_core::id::TokenId;
use pema_core::schedule::{Mix, log_softmax};

use crate::adapter::Adapter;
use crate::copying::CopyContext;
use crate::head::Head;
use crate::local_context::with_prefix;
use crate::recall::RecallContext;
use crate::tensor_file::{ReadError, read_f32};
use crate::train::Extra;

/// Turns hidden states into distributions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mixer {
    head: Head,
    adapter: Option<Adapter>,
    device: Device,
}

/// Hidden states `[d]` of one step of a text.
#[derive(Clone, Copy, Debug)]
pub struct Hidden<'a> {
    /// `f(prompt)`.
    pub prompt: &'a [f16],
    /// `f` of the prompt and the text so far.
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

    /// The adapter alone, which needs nothing of the PLM but `f(prompt)`.
    ///
    /// # Errors
    /// [`NotPrivate`] when there is no adapter, or one that needs more.
    pub fn private(&self) -> Result<PrivateMixer<'_>, NotPrivate> {
        match &self.adapter {
            None => Err(NotPrivate::NoAdapter),
            Some(adapter) if adapter.origin().config.contexts != Contexts::Prompt => Err(NotPrivate::OfSteps),
            Some(adapter) => Ok(PrivateMixer { mixer: self, adapter }),
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
        let h = self.upload(hidden.current);
        let adapted = self.adapter.as_ref().filter(|_| mix.lambda > 0.0).map(|adapter| {
            let h = match adapter.origin().config.contexts {
                Contexts::Steps => h.clone(),
                Contexts::Prompt => self.upload(hidden.prompt),
            };
            self.adapted(adapter, h, prompt, written)
        });
        // [2, d]: the head is read once for both.
        let rows = match &adapted {
            Some(adapted) => Tensor::cat(vec![h, adapted.h_pd.clone()], 0),
            None => h,
        };
        let mut plm = read_f32(self.head.logits(rows).await?).await?;
        let logits = plm.split_off(self.head.v());
        let plm = log_softmax(&plm);
        let Some(adapted) = adapted else {
            return Ok(Distributions { pema: None, mixture: plm.clone(), plm: Some(plm) });
        };
        let pema = adapted.log_probs(logits, prompt).await?;
        Ok(Distributions { mixture: mix.log_probs(&pema, &plm), pema: Some(pema), plm: Some(plm) })
    }

    /// What the adapter makes of `h` `[1, d]` and the text so far.
    fn adapted<'a>(&self, adapter: &'a Adapter, h: Tensor<2>, prompt: &[TokenId], written: &[TokenId]) -> Adapted<'a> {
        let config = &adapter.origin().config;
        let h_seen = with_prefix(h, &self.head, config.prefix, |_| written);
        let recall = config.recall.then(|| RecallContext::new(&self.head, &[written]));
        let z = adapter.z(h_seen, recall.as_ref());
        let copying = adapter.weights.extras.get(&Extra::Copy).map(|matrix| {
            let context = CopyContext::new(&self.head, &[(prompt, written)]);
            context.log_weights(matrix, z.clone())
        });
        Adapted { adapter, h_pd: adapter.up(z), copying }
    }

    /// `[d] -> [1, d]` on the device.
    fn upload(&self, h: &[f16]) -> Tensor<2> {
        let values: Vec<f32> = h.iter().map(|x| x.to_f32()).collect();
        Tensor::from_data(TensorData::new(values, [1, h.len()]), &self.device)
    }
}

/// The adapter's half of a step, on the device.
struct Adapted<'a> {
    adapter: &'a Adapter,
    /// `[1, d]`.
    h_pd: Tensor<2>,
    /// `log g` and `log a`, `[1, 1 + p]`, if the adapter copies.
    copying: Option<Tensor<2>>,
}

impl Adapted<'_> {
    /// The adapter's log-probabilities `[v]`, from the head's logits of `h_pd` `[v]`.
    async fn log_probs(self, logits: Vec<f32>, prompt: &[TokenId]) -> Result<Vec<f32>, ReadError> {
        let mut log_p = self.adapter.log_softmax(logits);
        if let Some(copying) = self.copying {
            copy_from(prompt, &read_f32(copying).await?, &mut log_p);
        }
        Ok(log_p)
    }
}

/// An adapter that writes from `f(prompt)` alone.
#[derive(Clone, Copy, Debug)]
pub struct PrivateMixer<'a> {
    mixer: &'a Mixer,
    adapter: &'a Adapter,
}

impl PrivateMixer<'_> {
    /// The adapter's distribution after a prompt, not empty, with the hidden state `h_prompt` `[d]`,
    /// and the text `written` so far, whose tokens are less than `v`. The PLM's is absent.
    ///
    /// # Errors
    /// [`ReadError`] when the device fails.
    pub async fn distributions(
        &self,
        h_prompt: &[f16],
        prompt: &[TokenId],
        written: &[TokenId],
    ) -> Result<Distributions, ReadError> {
        let h = self.mixer.upload(h_prompt);
        let adapted = self.mixer.adapted(self.adapter, h, prompt, written);
        let logits = read_f32(self.mixer.head.logits(adapted.h_pd.clone()).await?).await?;
        let pema = adapted.log_probs(logits, prompt).await?;
        Ok(Distributions { mixture: pema.clone(), pema: Some(pema), plm: None })
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
