//! The next token's distribution: the PLM's, the adapter's, and their mixture.

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use pema_core::id::TokenId;
use pema_core::schedule::{log_softmax, mix_log_probs};

use crate::adapter::Adapter;
use crate::copying::CopyContext;
use crate::head::Head;
use crate::local_context::with_prefix;
use crate::tensor_file::{ReadError, read_f32};

/// Turns hidden states into distributions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mixer {
    head: Head,
    adapter: Option<Adapter>,
    device: Device,
}

/// Log-probabilities `[v]` of the next token.
#[derive(Clone, Debug, PartialEq)]
pub struct Distributions {
    /// The adapter's; absent where it has no weight.
    pub pema: Option<Vec<f32>>,
    /// The PLM's.
    pub plm: Vec<f32>,
    /// `log(lambda p_pema + (1 - lambda) p_plm)`.
    pub mixture: Vec<f32>,
}

impl Mixer {
    /// A mixer on the device that head and adapter lie on. Without an adapter it gives the PLM's
    /// distribution whatever `lambda` is.
    pub fn new(head: Head, adapter: Option<Adapter>, device: Device) -> Self {
        Self { head, adapter, device }
    }

    /// Whether there is an adapter.
    pub fn has_adapter(&self) -> bool {
        self.adapter.is_some()
    }

    /// The distributions after the hidden state `h` `[d]` of a prompt, not empty, and the text
    /// `written` so far, whose tokens are less than `v`. At `lambda` 0 the adapter's half of
    /// the work is left out.
    ///
    /// # Errors
    /// [`ReadError`] when the device fails.
    pub async fn distributions(
        &self,
        h: &[f16],
        prompt: &[TokenId],
        written: &[TokenId],
        lambda: f32,
    ) -> Result<Distributions, ReadError> {
        let values: Vec<f32> = h.iter().map(|x| x.to_f32()).collect();
        let h = Tensor::<2>::from_data(TensorData::new(values, [1, h.len()]), &self.device);
        let mut copying = None;
        let rows = match self.adapter.as_ref().filter(|_| lambda > 0.0) {
            // [2, d]: the head is read once for both.
            Some(adapter) => {
                let h_seen = with_prefix(h.clone(), &self.head, adapter.origin().config.prefix, |_| written);
                if let Some(copy) = &adapter.copy {
                    let context = CopyContext::new(&self.head, &[(prompt, written)]);
                    copying = Some(context.log_weights(copy, adapter.z(h_seen.clone())));
                }
                Tensor::cat(vec![h, adapter.h_pd(h_seen)], 0)
            }
            None => h,
        };
        let logits = read_f32(self.head.logits(rows).await?).await?;
        let mut halves = logits.chunks_exact(self.head.v()).map(log_softmax);
        let plm = halves.next().unwrap_or_default();
        let mut pema = halves.next();
        if let (Some(pema), Some(copying)) = (&mut pema, copying) {
            copy_from(prompt, &read_f32(copying).await?, pema);
        }
        let mixture = match &pema {
            Some(pema) => mix_log_probs(pema, &plm, lambda),
            None => plm.clone(),
        };
        Ok(Distributions { pema, plm, mixture })
    }
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
    /// Probabilities of `token`: the adapter's (0 where it has no weight), the PLM's, the mixture's.
    pub fn of(&self, token: TokenId) -> [f32; 3] {
        let p = |log_p: &[f32]| log_p.get(token.0 as usize).map_or(0.0, |x| x.exp());
        [self.pema.as_deref().map_or(0.0, p), p(&self.plm), p(&self.mixture)]
    }
}
