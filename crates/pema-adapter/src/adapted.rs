//! The adapter's half of some steps: from contexts and texts so far to its distributions.

use burn::tensor::Tensor;
use pema_core::id::TokenId;

use crate::adapter::Adapter;
use crate::attend::AttendContext;
use crate::contrast::contrasted;
use crate::copying::CopyContext;
use crate::encoder::Encoder;
use crate::head::Head;
use crate::local_context::with_prefix;
use crate::recall::RecallContext;
use crate::tensor_file::{ReadError, read_f32};
use crate::train::{Extra, Weights};

/// What an adapter makes of `n` steps, on the device.
pub(crate) struct Adapted {
    pub(crate) after: Side,
    /// What it made of them before it learned targets, if that is wanted and it has contrast.
    before: Option<Side>,
}

/// What one of an adapter's weights make of `n` steps.
pub(crate) struct Side {
    /// `[n, r]`.
    pub(crate) z: Tensor<2>,
    /// What the head is to read, `[n, d]`.
    h_pd: Tensor<2>,
    /// `log g` and `log a`, `[n, 1 + p]` for the longest prompt's `p`, if the adapter copies.
    copying: Option<Tensor<2>>,
}

impl Adapted {
    /// Of `h [n, d]`, each step's prompt, not empty, and text so far, and the prompts' hidden states, for an
    /// adapter that attends over them; `contrasts` if what it was before is to count.
    pub(crate) fn new(
        adapter: &Adapter,
        head: &Head,
        h: Tensor<2>,
        steps: &[(&[TokenId], &[TokenId])],
        attend: Option<AttendContext>,
        contrasts: bool,
    ) -> Self {
        let config = &adapter.origin().config;
        // Uploads, which go before all work.
        let recall = config.recall.then(|| RecallContext::new(head, &steps.iter().map(|(_, text)| *text).collect::<Vec<_>>()));
        let copying = config.copy.then(|| CopyContext::new(head, steps));
        let h_seen = with_prefix(h.clone(), head, config.prefix, |step| steps[step].1);
        let encoder = Encoder::of(config);
        let side = |weights: &Weights| {
            let z = encoder.z(weights, h_seen.clone(), recall.as_ref(), attend.as_ref());
            let copying = copying.as_ref().zip(weights.extras.get(&Extra::Copy));
            let copying = copying.map(|(context, matrix)| context.log_weights(matrix, z.clone()));
            Side { h_pd: encoder.h_pd(z.clone(), weights.b.clone(), h.clone()), z, copying }
        };
        Self { after: side(&adapter.weights), before: adapter.before.as_ref().filter(|_| contrasts).map(side) }
    }

    /// What the head is to read: one `[n, d]` after the other.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Tensor<2>> {
        [&self.after].into_iter().chain(&self.before).map(|side| side.h_pd.clone())
    }

    /// `log g` and `log a` of each side, in the order of [`Self::rows`], if the adapter copies.
    #[cfg(any(feature = "webgpu", feature = "wgpu"))]
    pub(crate) fn copying(self) -> Option<Tensor<2>> {
        let after = self.after.copying?;
        Some(match self.before.and_then(|before| before.copying) {
            None => after,
            Some(before) => Tensor::cat(vec![after, before], 0),
        })
    }

    /// The adapter's log-probabilities `[v]` of each step, from the head's logits of [`Self::rows`] and, to
    /// contrast, the PLM's log-probabilities.
    pub(crate) async fn log_probs(
        self,
        adapter: &Adapter,
        logits: &[f32],
        steps: &[(&[TokenId], &[TokenId])],
        plm: &[Vec<f32>],
    ) -> Result<Vec<Vec<f32>>, ReadError> {
        let (of_after, of_before) = logits.split_at(if self.before.is_some() { logits.len() / 2 } else { logits.len() });
        let after = self.after.log_probs(adapter, of_after, steps).await?;
        let Some(before) = self.before else { return Ok(after) };
        let before = before.log_probs(adapter, of_before, steps).await?;
        Ok(plm.iter().zip(after.iter().zip(&before)).map(|(plm, (after, before))| contrasted(plm, after, before)).collect())
    }
}

impl Side {
    async fn log_probs(
        self,
        adapter: &Adapter,
        logits: &[f32],
        steps: &[(&[TokenId], &[TokenId])],
    ) -> Result<Vec<Vec<f32>>, ReadError> {
        let v = logits.len() / steps.len().max(1);
        let mut all: Vec<Vec<f32>> = logits.chunks(v.max(1)).map(|logits| adapter.log_softmax(logits.to_vec())).collect();
        if let Some(copying) = self.copying {
            let [_, width] = copying.dims();
            let log_weights = read_f32(copying).await?;
            for ((log_p, log_weights), (prompt, _)) in all.iter_mut().zip(log_weights.chunks(width)).zip(steps) {
                copy_from(prompt, log_weights, log_p);
            }
        }
        Ok(all)
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
