//! Validation: the objective on rows that training does not see, a batch a call.

use super::trainer::finite;
use super::{Activity, Losses, Progress, TrainError, Trainer, Validation};
use crate::memory::Rows;

impl<R: Rows> Trainer<R> {
    pub(super) async fn validate_on_a_batch(&mut self) -> Result<Progress, TrainError> {
        let mut tally = self.place.tally.clone().unwrap_or_default();
        let valid = self.memory.valid();
        let seen = tally.rows();
        let rows = &valid[seen..valid.len().min(seen + self.batch_rows())];
        let batch = self.batch(rows, 0.0)?;
        let losses = self.objective.losses(&batch, &self.weights).await?;
        let losses = finite(losses, self.place.phase)?;

        // Nothing below waits: a future dropped above has changed nothing.
        tally.add(rows.len(), losses);
        let progress = self.progress(Activity::Validating, losses, rows.len());
        if tally.rows() < valid.len() {
            self.place.tally = Some(tally);
            return Ok(progress);
        }
        let validation = Some(self.judge(tally.means()));
        Ok(Progress { validation, done: self.place.done, ..progress })
    }

    /// Keeps the weights if they are the phase's best; ends the phase if its patience or its
    /// epochs are used up.
    fn judge(&mut self, means: Losses) -> Validation {
        self.record(Activity::Validating, means);
        let best = self.place.best_loss.is_none_or(|best_loss| means.loss < best_loss);
        if best {
            self.place.best_loss = Some(means.loss);
            self.place.worse = 0;
            self.best = Some(self.weights.clone());
        } else {
            self.place.worse += 1;
        }
        self.place.tally = None;
        if self.place.worse >= self.config.patience || self.place.epoch == self.max_epochs() {
            self.end_phase();
        }
        Validation { loss: means.loss, l_rct: means.l_rct, l_pd: means.l_pd, best }
    }
}
