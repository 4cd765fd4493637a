//! Training in the tab: the trainer's steps, one at a time, with the page told of each and the
//! whole state kept in storage, so that a closed tab costs at most a minute.

use std::sync::Arc;

use pema_adapter::{
    Activation, Activity, AdapterConfig, Checkpoint, HostRows, Phase as TrainingPhase, Progress, TrainError, Trainer, Vocabulary,
};
use pema_core::{id::ContentHash, wire::ModelCard};
use serde::{Deserialize, Serialize};

use crate::{
    adapters,
    error::TabError,
    memory::{self, NO_MEMORY},
    page::{Page, now},
    protocol::{Event, Phase, Stage, Task, TrainSettings},
    session::State,
    storage::Store,
};

/// A checkpoint is stored this often at least.
const CHECKPOINT_MILLISECONDS: f64 = 60_000.0;

type TabTrainer = Trainer<Arc<HostRows>>;

/// What is stored of a run that has not ended.
#[derive(Clone, Serialize, Deserialize)]
struct Run {
    settings: TrainSettings,
    /// [`crate::memory::Memory::key`] of the memory it learns from.
    memory: String,
    /// SHA-256 of the checkpoint, which is stored under it.
    checkpoint: ContentHash,
}

/// A run that can go on.
#[derive(Clone)]
pub(crate) struct StoppedRun {
    run: Run,
    checkpoint: Vec<u8>,
}

/// A stored run for this model, if there is one.
pub(crate) async fn resumable(store: &Store, card: &ModelCard) -> Result<Option<TrainSettings>, TabError> {
    Ok(stored_run(store, card).await?.map(|run| run.settings))
}

/// Trains to the end, or until the user stops it.
pub(crate) async fn train(state: &mut State, page: &Page, settings: TrainSettings, resume: bool) -> Result<(), TabError> {
    let store = state.store()?;
    let card = state.connection()?.card.clone();
    let run = match resume {
        true => Some(stopped_run(state, &store, &card).await?),
        false => None,
    };
    let (settings, mut trainer) = open_trainer(state, page, &store, &card, settings, run).await?;
    let memory = state.memory.as_ref().ok_or(NO_MEMORY)?.key.clone();
    let checkpoints = Checkpoints { store: &store, card: &card, settings: &settings, memory };
    state.stopped_run = None;

    let mut saved = now();
    let mut has_room = true;
    while !trainer.is_done() && !page.stop_requested() {
        let began = now();
        let progress = trainer.step().await?;
        report(page, &progress, now() - began);
        page.breathe().await;
        if has_room && now() - saved > CHECKPOINT_MILLISECONDS {
            match checkpoints.store(&checkpoints.of(&trainer).await?).await {
                // A full disk costs the checkpoints, not the run.
                Err(TabError::StorageFull) => {
                    has_room = false;
                    page.post(&Event::Failed { during: Task::Train, failure: TabError::NoCheckpoint.failure() });
                }
                other => other?,
            }
            saved = now();
        }
    }
    let stopped = !trainer.is_done();
    if stopped {
        let run = checkpoints.of(&trainer).await?;
        match checkpoints.store(&run).await {
            Err(TabError::StorageFull) => state.stopped_run = Some(run),
            other => other?,
        }
    }
    let Some(adapter) = trainer.adapter() else { return Err(TabError::StoppedInPhaseOne) };
    let bytes = adapter.export(&settings.name).await?;
    #[cfg(feature = "planted-leaks")]
    crate::leak::after_training(&state.connection()?.service, state.data()?, &bytes).await;
    let kept = adapters::keep(state, bytes).await;
    if !stopped {
        checkpoints.forget().await?;
    }
    if kept.is_err() {
        adapters::show(state, page).await?;
    }
    page.post(&Event::Trained { adapter: kept?, stopped });
    Ok(())
}

async fn open_trainer(
    state: &mut State,
    page: &Page,
    store: &Store,
    card: &ModelCard,
    settings: TrainSettings,
    stopped: Option<StoppedRun>,
) -> Result<(TrainSettings, TabTrainer), TabError> {
    let ((_, device), pool) = (state.device()?, state.pool()?);
    let memory = state.memory.as_ref().ok_or(NO_MEMORY)?;
    if stopped.as_ref().is_some_and(|stopped| stopped.run.memory != memory.key) {
        return Err(TabError::NotYet(
            "the stopped run learns from another memory: load its data, and download its contexts, first",
        ));
    }
    let connection = state.connection.as_mut().ok_or(crate::session::NOT_CONNECTED)?;
    let head = connection.head(store, &device, pool).await?.clone();
    let settings = stopped.as_ref().map_or(settings, |stopped| stopped.run.settings.clone());
    let config = AdapterConfig { contexts: memory.rows.contexts(), ..config(&settings) };
    config.validate().map_err(TrainError::from)?;
    let rows = memory::paired(state, page, &config, &head).await?;
    let trainer = match stopped {
        None => Trainer::new(config, rows, head, card.model.clone(), device).await?,
        Some(stopped) => Trainer::resume(&Checkpoint::from_bytes(stopped.checkpoint), rows, head, device).await?,
    };
    Ok((settings, trainer))
}

/// Of each context, tokens that a short vocabulary keeps beside those of targets.
const LIKELIEST_KEPT: usize = 8;

/// The settings but for the contexts, which are the memory's.
fn config(settings: &TrainSettings) -> AdapterConfig {
    AdapterConfig {
        rank: settings.rank as usize,
        alpha: settings.alpha.into(),
        dropout: settings.dropout.into(),
        kappa: settings.kappa.into(),
        lr: settings.learning_rate.into(),
        lr_decay: settings.lr_decay,
        reconstruction_batch: settings.reconstruction_batch as usize,
        reconstruction_epochs: settings.reconstruction_epochs as usize,
        prediction_batch: settings.joint_batch as usize,
        prediction_epochs: settings.joint_epochs as usize,
        validate_every: settings.validate_every as usize,
        patience: settings.patience as usize,
        prefix: settings.prefix as usize,
        activation: if settings.silu { Activation::Silu } else { Activation::Linear },
        recall: settings.recall,
        copy: settings.copy,
        attend: settings.attend,
        contrast: settings.contrast,
        residual: settings.residual,
        vocabulary: if settings.short_vocabulary { Vocabulary::Met { top_k: LIKELIEST_KEPT } } else { Vocabulary::Full },
        pairing: settings.pairing.into(),
        gate: settings.gate,
        seed: settings.seed.into(),
        ..AdapterConfig::default()
    }
}

fn report(page: &Page, progress: &Progress, milliseconds: f64) {
    let phase = match progress.phase {
        TrainingPhase::Reconstruction => Phase::Reconstruction,
        TrainingPhase::Imitation => Phase::Imitation,
        TrainingPhase::Prediction => Phase::Joint,
    };
    let (epoch, step) = (progress.epoch as u32, progress.steps_in_phase as u32);
    if progress.activity == Activity::Training {
        page.post(&Event::TrainStep {
            phase,
            epoch,
            step,
            steps_in_epoch: progress.steps_in_epoch as u32,
            loss: progress.loss as f32,
            reconstruction: progress.l_rct.map(|loss| loss as f32),
            prediction: progress.l_pd.map(|loss| loss as f32),
            pairs_per_second: (progress.rows as f64 * 1000.0 / milliseconds.max(1.0)) as f32,
        });
    }
    if progress.activity == Activity::Gating {
        page.progress(Stage::Gate, progress.step as u64, progress.steps_in_epoch as u64, "batches");
    }
    if let Some(validation) = progress.validation {
        page.post(&Event::Validated { phase, epoch, step, loss: validation.loss as f32, best: validation.best });
    }
}

/// Where a run's state is stored. A new checkpoint is whole before the run points to it.
struct Checkpoints<'a> {
    store: &'a Store,
    card: &'a ModelCard,
    settings: &'a TrainSettings,
    memory: String,
}

impl Checkpoints<'_> {
    async fn of(&self, trainer: &TabTrainer) -> Result<StoppedRun, TabError> {
        let checkpoint = trainer.checkpoint().await?.into_bytes();
        let (settings, memory) = (self.settings.clone(), self.memory.clone());
        Ok(StoppedRun { run: Run { settings, memory, checkpoint: ContentHash::of(&checkpoint) }, checkpoint })
    }

    async fn store(&self, StoppedRun { run, checkpoint }: &StoppedRun) -> Result<(), TabError> {
        let old = stored_run(self.store, self.card).await?;
        self.store.write(&checkpoint_path(self.card, &run.checkpoint), checkpoint).await?;
        let json = serde_json::to_vec(run).map_err(|error| TabError::Setting(error.to_string()))?;
        self.store.write(&run_path(self.card), &json).await?;
        match old.filter(|old| old.checkpoint != run.checkpoint) {
            Some(old) => self.store.remove(&checkpoint_path(self.card, &old.checkpoint)).await,
            None => Ok(()),
        }
    }

    /// The run has ended.
    async fn forget(&self) -> Result<(), TabError> {
        self.store.remove(&folder(self.card)).await
    }
}

/// The run to go on with: one that there was no room for, else the stored one.
async fn stopped_run(state: &State, store: &Store, card: &ModelCard) -> Result<StoppedRun, TabError> {
    let memory = state.memory.as_ref().map(|memory| &memory.key);
    if let Some(stopped) = state.stopped_run.as_ref().filter(|stopped| memory == Some(&stopped.run.memory)) {
        return Ok(stopped.clone());
    }
    let run = stored_run(store, card).await?.ok_or(NOTHING_TO_RESUME)?;
    let checkpoint = store.read(&checkpoint_path(card, &run.checkpoint)).await?.ok_or(NOTHING_TO_RESUME)?;
    Ok(StoppedRun { run, checkpoint })
}

async fn stored_run(store: &Store, card: &ModelCard) -> Result<Option<Run>, TabError> {
    let bytes = store.read(&run_path(card)).await?;
    // A file that was cut short is a run that cannot go on.
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn folder(card: &ModelCard) -> String {
    format!("runs/{}", card.model)
}

fn run_path(card: &ModelCard) -> String {
    format!("{}/run.json", folder(card))
}

fn checkpoint_path(card: &ModelCard, checkpoint: &ContentHash) -> String {
    format!("{}/{checkpoint}", folder(card))
}

const NOTHING_TO_RESUME: TabError = TabError::NotYet("there is no stopped run that can go on: start a new one");
