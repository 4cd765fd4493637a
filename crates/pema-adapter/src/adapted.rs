//! The adapter's half of some steps: from contexts and texts so far to its distributions.

use burn::tensor::Tensor;
use pema_core::id::TokenId;

use crate::adapter::Adapter;
use crate::attend::AttendContext;
use crate::copying::CopyContext;
use crate::head::Head;
use crate::local_context::with_prefix;
use crate::recall::RecallContext;
use crate::tensor_file::{ReadError, read_f32};
use crate::train::Extra;

/// What an adapter makes of `n` steps, on the device.
pub(crate) struct Adapted {
    /// `[n, r]`.
    pub(crate) z: Tensor<2>,
    /// What the head is to read, `[n, d]`.
    pub(crate) h_pd: Tensor<2>,
    /// `log g` and `log a`, `[n, 1 + p]` for the longest prompt's `p`, if the adapter copies.
    pub(crate) copying: Option<Tensor<2>>,
}

impl Adapted {
    /// Of `h [n, d]`, each step's prompt, not empty, and text so far, and the prompts' hidden states, for an
    /// adapter that attends over them.
    pub(crate) fn new(
        adapter: &Adapter,
        head: &Head,
        h: Tensor<2>,
        steps: &[(&[TokenId], &[TokenId])],
        attend: Option<AttendContext>,
    ) -> Self {
        let (config, weights) = (&adapter.origin().config, &adapter.weights);
        // Uploads, which go before all work.
        let recall = config.recall.then(|| RecallContext::new(head, &steps.iter().map(|(_, text)| *text).collect::<Vec<_>>()));
        let copying = weights.extras.get(&Extra::Copy).map(|matrix| (matrix, CopyContext::new(head, steps)));
        let h_seen = with_prefix(h, head, config.prefix, |step| steps[step].1);
        let z = adapter.z(h_seen, recall.as_ref(), attend.as_ref());
        let copying = copying.map(|(matrix, context)| context.log_weights(matrix, z.clone()));
        Self { h_pd: adapter.up(z.clone()), z, copying }
    }
}

/// The adapter's log-probabilities `[v]` of each step, from the head's logits of `h_pd`, `[n, v]`, and
/// [`Adapted::copying`].
pub(crate) async fn log_probs(
    adapter: &Adapter,
    logits: &[f32],
    copying: Option<Tensor<2>>,
    steps: &[(&[TokenId], &[TokenId])],
) -> Result<Vec<Vec<f32>>, ReadError> {
    let v = logits.len() / steps.len().max(1);
    let mut all: Vec<Vec<f32>> = logits.chunks(v.max(1)).map(|logits| adapter.log_softmax(logits.to_vec())).collect();
    if let Some(copying) = copying {
        let [_, width] = copying.dims();
        let log_weights = read_f32(copying).await?;
        for ((log_p, log_weights), (prompt, _)) in all.iter_mut().zip(log_weights.chunks(width)).zip(steps) {
            copy_from(prompt, log_weights, log_p);
        }
    }
    Ok(all)
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
