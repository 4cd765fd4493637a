//! The trainer: section 3 of the paper, a step a call.

use std::fmt;

use burn::tensor::Device;
use pema_core::id::ContentHash;

use super::adam::{Moments, adam_step};
use super::progress::{Place, Tally};
use super::start::check_fit;
use super::{Activity, Batch, InitialWeights, LossRecord, Losses, Objective, Phase, Progress, TrainError, Weights};
use crate::adapter::{Adapter, AdapterOrigin};
use crate::attend::AttendContext;
use crate::config::AdapterConfig;
use crate::copying::CopyBatch;
use crate::encoder::Encoder;
use crate::gate::{Examples, Gate};
use crate::head::{Head, HeadError};
use crate::local_context::with_prefix;
use crate::memory::{Memory, Rows, RowsError};
use crate::random::{drop_out, epoch_order};
use crate::recall::RecallContext;
use crate::tensor_file::Matrix;
use crate::vocabulary::Kept;

/// Trains an adapter: call [`Trainer::step`] until [`Progress::done`].
///
/// A dropped [`Trainer::step`] future leaves the trainer as it was, so that a caller may stop at
/// any time. On a device with deterministic matrix products (flex), the weights depend on nothing
/// but the arguments, also across [`Trainer::checkpoint`] and [`Trainer::resume`].
pub struct Trainer<R> {
    pub(crate) config: AdapterConfig,
    pub(crate) memory: Memory<R>,
    pub(crate) head: Head,
    /// The head's rows that the softmax is over, unless it is over all.
    pub(crate) kept: Option<Kept>,
    /// The head of these rows.
    pub(crate) kept_head: Head,
    pub(crate) model: ContentHash,
    pub(crate) device: Device,
    pub(crate) place: Place,
    /// The running phase's weights.
    pub(crate) weights: Weights,
    pub(crate) moments: Option<Moments>,
    /// The running phase's weights at its best validation.
    pub(crate) best: Option<Weights>,
    /// Imitation's result, which phase 2 started from.
    pub(crate) before: Option<Weights>,
    /// What phase 2 will start from, while phase 1 runs.
    pub(crate) next: Option<Weights>,
    /// The running phase's objective, which holds phase 1's result.
    pub(crate) objective: Objective,
    pub(crate) history: Vec<LossRecord>,
    /// The training rows in the order in which the running epoch visits them.
    pub(crate) order: Vec<usize>,
    /// What the gate was shown so far.
    pub(crate) examples: Examples,
    pub(crate) gate: Option<Gate>,
}

impl<R: Rows> Trainer<R> {
    /// A trainer at its first step. `model` names the PLM that the memory was extracted from.
    pub async fn new(
        config: AdapterConfig,
        memory: Memory<R>,
        head: Head,
        model: ContentHash,
        device: Device,
    ) -> Result<Self, TrainError> {
        config.validate()?;
        let start = InitialWeights::drawn(&config, memory.d());
        Self::with_initial_weights(config, memory, head, model, device, start).await
    }

    /// [`Trainer::new`] from given weights.
    pub async fn with_initial_weights(
        config: AdapterConfig,
        memory: Memory<R>,
        head: Head,
        model: ContentHash,
        device: Device,
        start: InitialWeights,
    ) -> Result<Self, TrainError> {
        let config = config.rounded();
        config.validate()?;
        check_fit(&config, &memory, &head)?;
        let d = memory.d();
        if let Some((name, found, expected)) = start.misfit(&config, d) {
            return Err(TrainError::InitialWeights { name, found, expected });
        }
        let (reconstruction, prediction) = start.upload(&config, d, &device);
        let encoder = Encoder::of(&config);
        let kept = Kept::of(&config, &memory, &head).await?;
        let kept_head = kept_head(kept.as_ref(), &head).await?;
        // Without L_rct in phase 2 nothing would use phase 1's result.
        let (phase, weights, next, objective) = if config.kappa > 0.0 {
            let objective = Objective::Reconstruction { encoder };
            (Phase::Reconstruction, reconstruction, Some(prediction), objective)
        } else {
            let head = kept_head.clone();
            let objective = Objective::Prediction { encoder, kappa: 0.0, b_rct: None, head };
            let phase = if config.contrast { Phase::Imitation } else { Phase::Prediction };
            (phase, prediction, None, objective)
        };
        let mut trainer = Self {
            config,
            memory,
            head,
            kept,
            kept_head,
            model,
            device,
            place: Place::start_of(phase),
            weights,
            moments: None,
            best: None,
            before: None,
            next,
            objective,
            history: Vec::new(),
            order: Vec::new(),
            examples: Examples::default(),
            gate: None,
        };
        trainer.order = trainer.epoch_order();
        Ok(trainer)
    }

    /// One optimiser step, the losses of one batch of validation rows, or one part of the gate's turn.
    pub async fn step(&mut self) -> Result<Progress, TrainError> {
        if self.place.done {
            return Err(TrainError::Done);
        }
        match self.place.tally {
            _ if self.place.gating => self.gate_on_a_batch().await,
            None => self.train_on_a_batch().await,
            Some(_) => self.validate_on_a_batch().await,
        }
    }

    async fn train_on_a_batch(&mut self) -> Result<Progress, TrainError> {
        let first = self.place.step * self.batch_rows();
        let rows = &self.order[first..self.order.len().min(first + self.batch_rows())];
        let weights = self.memory.weights(rows);
        let weights = weights.map(|values| Matrix { shape: [rows.len(), 1], values }.upload(&self.device));
        let batch = Batch { weights, ..self.batch(rows, self.config.dropout)? };

        let (losses, gradients) = self.objective.backward(&batch, &self.weights).await?;
        let (weights, moments) = adam_step(self.lr(), &self.weights, gradients, self.moments.clone());
        let losses = finite(losses.read().await?, self.place.phase)?;

        // Nothing below waits: a future dropped above has changed nothing.
        self.weights = weights;
        self.moments = Some(moments);
        self.place.step += 1;
        self.place.steps_in_phase += 1;
        self.record(Activity::Training, losses);
        let progress = self.progress(Activity::Training, losses, batch.y.len());
        Ok(self.after_training(progress))
    }

    /// Moves on to the next batch, epoch, validation or phase.
    fn after_training(&mut self, progress: Progress) -> Progress {
        let epoch_ends = self.place.step == self.steps_in_epoch();
        if epoch_ends {
            self.place.step = 0;
            self.place.epoch += 1;
        }
        let is_last = self.place.epoch == self.max_epochs();
        let is_due = self.place.steps_in_phase.is_multiple_of(self.config.validate_every);
        if !self.memory.valid().is_empty() && (is_due || is_last) {
            self.place.tally = Some(Tally::default());
        } else if is_last {
            self.end_phase();
        }
        if epoch_ends && !self.place.done {
            self.order = self.epoch_order();
        }
        Progress { done: self.place.done, ..progress }
    }

    /// Goes on with the phase's best weights (the last ones, if nothing was validated): to phase 2
    /// with `B_rct` frozen, to the gate's turn, or to the end.
    pub(super) fn end_phase(&mut self) {
        let learned = self.best.take().unwrap_or_else(|| self.weights.clone());
        match self.next.take() {
            None if self.place.phase == Phase::Imitation => {
                self.before = Some(learned.clone());
                self.start_prediction(learned);
            }
            Some(start) => {
                self.objective = Objective::Prediction {
                    encoder: Encoder::of(&self.config),
                    kappa: self.config.kappa,
                    b_rct: Some(learned.b),
                    head: self.kept_head.clone(),
                };
                self.start_prediction(start);
            }
            None => {
                self.weights = learned;
                self.place.tally = None;
                self.place.gating = self.config.gate;
                self.place.done = !self.config.gate;
            }
        }
    }

    fn start_prediction(&mut self, start: Weights) {
        self.weights = start;
        self.moments = None;
        self.place = Place::start_of(Phase::Prediction);
        self.order = self.epoch_order();
    }

    /// Whether training is over.
    pub fn is_done(&self) -> bool {
        self.place.done
    }

    /// The settings.
    pub fn config(&self) -> &AdapterConfig {
        &self.config
    }

    /// Every loss so far, training and validation, both phases.
    pub fn history(&self) -> &[LossRecord] {
        &self.history
    }

    /// The adapter as it stands: phase 2's best weights so far. None before phase 2.
    pub fn adapter(&self) -> Option<Adapter> {
        let Objective::Prediction { b_rct, .. } = &self.objective else { return None };
        if self.place.phase != Phase::Prediction {
            return None;
        }
        let weights = self.best.as_ref().unwrap_or(&self.weights).clone();
        let origin = AdapterOrigin { config: self.config.clone(), head: self.head.hash().clone(), model: self.model.clone() };
        let (before, b_rct) = (self.before.clone(), b_rct.clone());
        Some(Adapter { weights, before, b_rct, kept: self.kept.clone(), gate: self.gate.clone(), origin })
    }

    /// The memory's rows at `indices`, with dropout at rate `p`; all count the same.
    pub(super) fn batch(&self, indices: &[usize], p: f64) -> Result<Batch, RowsError> {
        let h = self.memory.contexts_of(indices)?;
        let taught = |pair| match self.place.phase {
            Phase::Imitation => self.memory.own(pair),
            Phase::Reconstruction | Phase::Prediction => (self.memory.prefix(pair), self.memory.y[pair]),
        };
        let prefix = |pair| taught(pair).0;
        let y: Vec<_> = indices.iter().map(|&pair| taught(pair).1).collect();
        let (n, d) = (y.len(), self.memory.d());
        let mask = (p > 0.0).then(|| {
            let seen = self.config.seen(d);
            let mut values = vec![1.0; n * seen];
            let step = self.place.steps_in_phase as u64;
            drop_out(&mut values, p, self.config.seed, self.phase_key(), step);
            Matrix { shape: [n, seen], values }.upload(&self.device)
        });
        let h = Matrix { shape: [n, d], values: h }.upload(&self.device);
        let predicts = self.place.phase != Phase::Reconstruction;
        let copy = (self.config.copy && predicts).then(|| {
            let rows: Vec<_> = indices.iter().map(|&row| (self.memory.prompt(row), prefix(row))).collect();
            CopyBatch::new(&self.head, &rows, &y)
        });
        let recall = (self.config.recall && predicts).then(|| {
            let texts: Vec<_> = indices.iter().map(|&row| prefix(row)).collect();
            RecallContext::new(&self.head, &texts)
        });
        let attends = self.config.attend && predicts;
        let attend = attends.then(|| AttendContext::of_pairs(&self.memory, indices, &self.device)).transpose()?;
        // After all uploads: each would send off the work before it.
        let seen = with_prefix(h.clone(), &self.head, self.config.prefix, |row| prefix(indices[row]));
        let h_seen = match mask {
            Some(mask) => seen * mask,
            None => seen,
        };
        let y = match &self.kept {
            Some(kept) => kept.places(&y),
            None => y,
        };
        Ok(Batch { h, h_seen, y, copy, recall, attend, weights: None })
    }

    pub(super) fn record(&mut self, activity: Activity, losses: Losses) {
        let Place { phase, steps_in_phase: step, .. } = self.place;
        let Losses { loss, l_rct, l_pd } = losses;
        self.history.push(LossRecord { phase, step, activity, loss, l_rct, l_pd });
    }

    pub(super) fn progress(&self, activity: Activity, losses: Losses, rows: usize) -> Progress {
        Progress {
            phase: self.place.phase,
            activity,
            epoch: self.place.epoch,
            step: self.place.step,
            steps_in_epoch: self.steps_in_epoch(),
            steps_in_phase: self.place.steps_in_phase,
            loss: losses.loss,
            l_rct: losses.l_rct,
            l_pd: losses.l_pd,
            validation: None,
            gate: None,
            rows,
            done: false,
        }
    }

    /// The learning rate of the next step.
    fn lr(&self) -> f64 {
        let AdapterConfig { lr, lr_decay, .. } = self.config;
        let most = (self.max_epochs() * self.steps_in_epoch()) as f64;
        if lr_decay { lr * (1.0 - self.place.steps_in_phase as f64 / most) } else { lr }
    }

    pub(super) fn batch_rows(&self) -> usize {
        match self.place.phase {
            Phase::Reconstruction => self.config.reconstruction_batch,
            Phase::Imitation | Phase::Prediction => self.config.prediction_batch,
        }
    }

    pub(super) fn max_epochs(&self) -> usize {
        match self.place.phase {
            Phase::Reconstruction => self.config.reconstruction_epochs,
            Phase::Imitation | Phase::Prediction => self.config.prediction_epochs,
        }
    }

    fn steps_in_epoch(&self) -> usize {
        self.memory.train().len().div_ceil(self.batch_rows())
    }

    /// Whether a place read from a file is one that this training can reach.
    pub(crate) fn place_is_reachable(&self) -> bool {
        let Place { epoch, step, tally, gating, done, phase, .. } = &self.place;
        let tallied = tally.as_ref().map_or(0, Tally::rows);
        let valid = self.memory.valid().len();
        let gates = self.config.gate && *phase == Phase::Prediction && tally.is_none() && !done;
        let has_work = *done || *gating || *epoch < self.max_epochs() || tally.is_some();
        let tally_fits = tally.is_none() || tallied < valid;
        *step < self.steps_in_epoch() && *epoch <= self.max_epochs() && has_work && tally_fits && (!gating || gates)
    }

    pub(crate) fn epoch_order(&self) -> Vec<usize> {
        let epoch = self.place.epoch as u64;
        epoch_order(self.memory.train(), self.config.seed, self.phase_key(), epoch)
    }

    fn phase_key(&self) -> u64 {
        match self.place.phase {
            Phase::Reconstruction => 1,
            Phase::Prediction => 2,
            Phase::Imitation => 3,
        }
    }
}

// By hand, so that no log shows losses or the order of rows.
impl<R> fmt::Debug for Trainer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trainer").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The head of the kept tokens, all of it if there is no choice.
pub(crate) async fn kept_head(kept: Option<&Kept>, head: &Head) -> Result<Head, HeadError> {
    match kept {
        Some(kept) => head.subset(kept.tokens()).await,
        None => Ok(head.clone()),
    }
}

/// Refuses losses that have left the numbers.
pub(super) fn finite(losses: Losses, phase: Phase) -> Result<Losses, TrainError> {
    match losses.loss.is_finite() {
        true => Ok(losses),
        false => Err(TrainError::Diverged { phase }),
    }
}
