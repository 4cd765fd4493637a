//! The gate's turn, after phase 2: what both distributions make of validation rows, a batch a call, and
//! last the fit.

use burn::tensor::Tensor;
use pema_core::schedule::log_softmax;

use super::{Activity, Losses, Progress, TrainError, Trainer};
use crate::adapted::Adapted;
use crate::adapter::Adapter;
use crate::gate::{self, Examples, Sight};
use crate::memory::Rows;
use crate::tensor_file::{Matrix, read_f32};

/// Rows that are looked at together: each has two rows of logits, on the host too.
const ROWS_PER_LOOK: usize = 32;

impl<R: Rows> Trainer<R> {
    pub(super) async fn gate_on_a_batch(&mut self) -> Result<Progress, TrainError> {
        let pairs = gate::pairs(&self.memory);
        let seen = self.examples.len();
        let batches = pairs.len().div_ceil(ROWS_PER_LOOK);
        let batch = &pairs[seen.min(pairs.len())..pairs.len().min(seen + ROWS_PER_LOOK)];
        let adapter = self.adapter().filter(|_| !batch.is_empty());
        let Some(adapter) = adapter else {
            let (gate, fit) = gate::fit::fit(&self.examples);
            self.gate = Some(gate);
            self.place.gating = false;
            self.place.done = true;
            let progress = self.gating(fit.loss, seen, batches, batches);
            return Ok(Progress { gate: Some(fit), done: true, ..progress });
        };
        let look = self.look(&adapter, batch).await?;

        // Nothing below waits: a future dropped above has changed nothing.
        let loss = look.even_loss();
        self.examples.append(look);
        Ok(self.gating(loss, batch.len(), seen / ROWS_PER_LOOK + 1, batches))
    }

    /// What there is to see of these pairs.
    async fn look(&self, adapter: &Adapter, pairs: &[usize]) -> Result<Examples, TrainError> {
        let (h, y) = self.memory.gather(pairs)?;
        let (n, d, r, v) = (pairs.len(), self.memory.d(), self.config.rank, self.head.v());
        let steps: Vec<_> = pairs.iter().map(|&pair| (self.memory.prompt(pair), self.memory.prefix(pair))).collect();
        let on_device = Matrix { shape: [n, d], values: h.clone() }.upload(&self.device);
        let adapted = Adapted::new(adapter, &self.head, on_device.clone(), &steps, None, false);
        let z = read_f32(adapted.after.z.clone()).await?;
        // Both halves at once, so that the head is read once.
        let rows = [on_device].into_iter().chain(adapted.rows()).collect();
        let logits = read_f32(self.head.logits(Tensor::cat(rows, 0)).await?).await?;
        let (of_plm, of_pema) = logits.split_at(n * v);
        let plm: Vec<Vec<f32>> = of_plm.chunks_exact(v).map(log_softmax).collect();
        let pema = adapted.log_probs(adapter, of_pema, &steps, &plm).await?;
        let mut examples = Examples::default();
        for (i, &pair) in pairs.iter().enumerate() {
            let progress = self.memory.progress(pair);
            let sight = Sight { h: &h[i * d..][..d], z: &z[i * r..][..r], progress, pema: &pema[i], plm: &plm[i] };
            let (weight, group) = self.memory.weight_and_group(pair);
            examples.push(sight, y[i], weight, group);
        }
        Ok(examples)
    }

    fn gating(&self, loss: f32, rows: usize, batch: usize, batches: usize) -> Progress {
        let losses = Losses { loss, l_rct: None, l_pd: None };
        Progress { step: batch, steps_in_epoch: batches, ..self.progress(Activity::Gating, losses, rows) }
    }
}
