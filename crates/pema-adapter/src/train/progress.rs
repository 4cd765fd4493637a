//! What a caller learns of a step, and the counters behind it.

use serde::{Deserialize, Serialize};

use super::Losses;
use crate::gate::GateFit;

/// The two phases of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Phase 1: `A` and `B_rct` learn to reconstruct `h`.
    Reconstruction,
    /// Phase 1 of an adapter with contrast: all that phase 2 has learns to write what the PLM writes.
    Imitation,
    /// Phase 2: a new `A` and `B_pd` learn to predict `y`; those of imitation, if there was one.
    Prediction,
}

/// What a call of [`Trainer::step`](crate::Trainer::step) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// One optimiser step.
    Training,
    /// The losses of one batch of validation rows.
    Validating,
    /// After phase 2: a batch of validation rows shown to the gate, or the gate fitted to all of them.
    Gating,
}

/// One call of [`Trainer::step`](crate::Trainer::step).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The phase that the call worked in.
    pub phase: Phase,
    /// What the call did.
    pub activity: Activity,
    /// The epoch, from 0.
    pub epoch: usize,
    /// Optimiser steps taken in this epoch; batches shown to the gate.
    pub step: usize,
    /// Optimiser steps in an epoch; batches to show to the gate.
    pub steps_in_epoch: usize,
    /// Optimiser steps taken in this phase.
    pub steps_in_phase: usize,
    /// The objective on the batch that the call worked on; of the gate's turn the mixture's loss at weight
    /// 0.5, and last [`GateFit::loss`].
    pub loss: f32,
    /// `L_rct` on that batch, if the phase has it.
    pub l_rct: Option<f32>,
    /// `L_pd` on that batch, if the phase has it.
    pub l_pd: Option<f32>,
    /// The result, if the call finished a validation.
    pub validation: Option<Validation>,
    /// What the gate gives, if the call fitted it.
    pub gate: Option<GateFit>,
    /// Rows in the batch that the call worked on.
    pub rows: usize,
    /// Whether training is over.
    pub done: bool,
}

/// The losses over all validation rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// The phase's objective, which decides which weights are kept.
    pub loss: f32,
    /// `L_rct`, if the phase has it.
    pub l_rct: Option<f32>,
    /// `L_pd`, if the phase has it.
    pub l_pd: Option<f32>,
    /// Whether these are the phase's best weights so far.
    pub best: bool,
}

/// One point of the losses' history: an optimiser step, or a whole validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossRecord {
    /// The phase.
    pub phase: Phase,
    /// Optimiser steps taken in the phase by then.
    pub step: usize,
    /// On which rows.
    pub activity: Activity,
    /// The objective.
    pub loss: f32,
    /// `L_rct`, if the phase has it.
    pub l_rct: Option<f32>,
    /// `L_pd`, if the phase has it.
    pub l_pd: Option<f32>,
}

/// Where training stands. With the weights and the seed, this decides everything that follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) phase: Phase,
    pub(crate) epoch: usize,
    /// Optimiser steps taken in this epoch.
    pub(crate) step: usize,
    pub(crate) steps_in_phase: usize,
    pub(crate) best_loss: Option<f32>,
    /// Validations in a row that were not the phase's best.
    pub(crate) worse: usize,
    /// The validation under way, if one is.
    pub(crate) tally: Option<Tally>,
    /// Whether phase 2 is over and it is the gate's turn.
    #[serde(default)]
    pub(crate) gating: bool,
    pub(crate) done: bool,
}

impl Place {
    pub(crate) fn start_of(phase: Phase) -> Self {
        Self { phase, epoch: 0, step: 0, steps_in_phase: 0, best_loss: None, worse: 0, tally: None, gating: false, done: false }
    }
}

/// The losses of the validation batches seen so far.
///
/// Kept apart as f32, which JSON carries exactly, so that a checkpoint in mid-validation does too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    batches: Vec<(usize, Losses)>,
}

impl Tally {
    /// Validation rows seen.
    pub(crate) fn rows(&self) -> usize {
        self.batches.iter().map(|(rows, _)| rows).sum()
    }

    /// Adds the mean losses of `rows` rows.
    pub(crate) fn add(&mut self, rows: usize, losses: Losses) {
        self.batches.push((rows, losses));
    }

    /// The means over all rows.
    pub(crate) fn means(&self) -> Losses {
        let mean = |pick: fn(&Losses) -> Option<f32>| {
            let weighted = |(rows, losses): &(usize, Losses)| Some(*rows as f64 * f64::from(pick(losses)?));
            let sum: Option<f64> = self.batches.iter().map(weighted).sum();
            sum.map(|sum| (sum / self.rows() as f64) as f32)
        };
        let loss = mean(|losses| Some(losses.loss)).unwrap_or(f32::NAN);
        Losses { loss, l_rct: mean(|losses| losses.l_rct), l_pd: mean(|losses| losses.l_pd) }
    }
}
