//! Checkpoints: everything that resuming needs but the memory and the head, as safetensors bytes.

use std::fmt;

use burn::tensor::{Device, Tensor};
use pema_core::id::ContentHash;
use serde::{Deserialize, Serialize};

use crate::config::{AdapterConfig, ConfigError};
use crate::encoder::Encoder;
use crate::gate::{Examples, Gate};
use crate::head::Head;
use crate::memory::{Memory, Rows};
use crate::tensor_file::{self, FileError, Matrix, ReadError, TensorFile};
use crate::train::adam::Moments;
use crate::train::progress::Place;
use crate::train::start::check_fit;
use crate::train::trainer::kept_head;
use crate::train::{Extra, LossRecord, Objective, Phase, TrainError, Trainer, Weights};
use crate::vocabulary::{Kept, Vocabulary};

/// The file's kind, in its header.
const FORMAT: &str = "pema-checkpoint";

/// The file's version, in its header.
const VERSION: u32 = 1;

/// What the names of saved weights begin with.
const RUNNING: &str = "";
const BEST: &str = "best.";
const NEXT: &str = "next.";
const BEFORE: &str = "before.";
const FIRST_MOMENT: &str = "adam.first.";
const SECOND_MOMENT: &str = "adam.second.";

/// Training at rest. Only [`Trainer::resume`] looks inside.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint(Vec<u8>);

impl Checkpoint {
    /// A checkpoint read back from storage; [`Trainer::resume`] checks it.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What to store, by value.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

// By hand, so that no log shows weights or losses.
impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checkpoint({} bytes)", self.0.len())
    }
}

/// The file's JSON header.
#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    version: u32,
    d: usize,
    /// Adam's steps, if it has taken any.
    adam_time: Option<usize>,
    has_best: bool,
    has_b_rct: bool,
    #[serde(default)]
    has_gate: bool,
    place: Place,
    config: AdapterConfig,
    head: ContentHash,
    model: ContentHash,
    memory: ContentHash,
    kept: Option<Kept>,
    history: Vec<LossRecord>,
}

/// The part of the header that is the same in every version.
#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u32,
}

impl<R: Rows> Trainer<R> {
    /// Everything that [`Trainer::resume`] needs but the memory and the head.
    pub async fn checkpoint(&self) -> Result<Checkpoint, CheckpointError> {
        let b_rct = match &self.objective {
            Objective::Prediction { b_rct, .. } => b_rct.as_ref(),
            Objective::Reconstruction { .. } => None,
        };
        let document = Document {
            format: FORMAT.to_owned(),
            version: VERSION,
            d: self.memory.d(),
            adam_time: self.moments.as_ref().map(|moments| moments.time),
            has_best: self.best.is_some(),
            has_b_rct: b_rct.is_some(),
            has_gate: self.gate.is_some(),
            place: self.place.clone(),
            config: self.config.clone(),
            head: self.head.hash().clone(),
            model: self.model.clone(),
            memory: self.memory.fingerprint(),
            kept: self.kept.clone(),
            history: self.history.clone(),
        };
        let moments = self.moments.as_ref();
        let saved = [
            (RUNNING, Some(&self.weights)),
            (BEST, self.best.as_ref()),
            (NEXT, self.next.as_ref()),
            (BEFORE, self.before.as_ref()),
            (FIRST_MOMENT, moments.map(|moments| &moments.first)),
            (SECOND_MOMENT, moments.map(|moments| &moments.second)),
        ];
        let mut tensors = Vec::new();
        for (prefix, weights) in saved {
            for (name, matrix) in weights.into_iter().flat_map(Weights::named) {
                tensors.push((format!("{prefix}{name}"), Matrix::read(matrix).await?));
            }
        }
        if let Some(b_rct) = b_rct {
            tensors.push(("b_rct".to_owned(), Matrix::read(b_rct).await?));
        }
        tensors.extend(self.gate.iter().map(|gate| ("gate".to_owned(), Matrix::from(gate))));
        Ok(Checkpoint(tensor_file::write(&document, tensors)?))
    }

    /// Goes on where [`Trainer::checkpoint`] was called, with the same memory and head.
    pub async fn resume(checkpoint: &Checkpoint, memory: Memory<R>, head: Head, device: Device) -> Result<Self, CheckpointError> {
        let file = TensorFile::parse(&checkpoint.0)?;
        let document = parse_document(&file)?;
        document.config.validate()?;
        check_fit(&document.config, &memory, &head)?;
        document.check_belongs_to(&memory, &head)?;

        let saved = Saved { file, config: &document.config, d: document.d, device: &device };
        let phase = document.place.phase;
        let kept_head = kept_head(document.kept.as_ref(), &head).await.map_err(TrainError::from)?;
        let weights = saved.weights(RUNNING, phase)?;
        let best = document.has_best.then(|| saved.weights(BEST, phase)).transpose()?;
        let moments = document.adam_time.map(|time| {
            let first = saved.weights(FIRST_MOMENT, phase)?;
            let second = saved.weights(SECOND_MOMENT, phase)?;
            Ok::<_, FileError>(Moments { time, first, second })
        });
        let moments = moments.transpose()?;
        let gate = document.has_gate.then(|| Gate::read(&saved.file, document.d, document.config.rank)).transpose()?;
        let encoder = Encoder::of(&document.config);
        let (objective, next) = match phase {
            Phase::Reconstruction => {
                let next = saved.weights(NEXT, Phase::Prediction)?;
                (Objective::Reconstruction { encoder }, Some(next))
            }
            Phase::Imitation | Phase::Prediction => {
                let b_rct = document.has_b_rct.then(|| saved.matrix("b_rct", [document.config.rank, document.d])).transpose()?;
                let (kappa, head) = (document.config.kappa, kept_head.clone());
                (Objective::Prediction { encoder, kappa, b_rct, head }, None)
            }
        };
        let has_before = document.config.contrast && phase == Phase::Prediction;
        let before = has_before.then(|| saved.weights(BEFORE, phase)).transpose()?;
        let Document { config, model, place, kept, history, .. } = document;
        let order = Vec::new();
        let mut trainer = Self {
            config,
            memory,
            head,
            kept,
            kept_head,
            model,
            device,
            place,
            weights,
            moments,
            best,
            before,
            next,
            objective,
            history,
            order,
            // A gate's turn begins anew, and ends the same.
            examples: Examples::default(),
            gate,
        };
        trainer.order = trainer.epoch_order();
        match trainer.place_is_reachable() {
            true => Ok(trainer),
            false => Err(FileError::Document("its counters disagree".to_owned()).into()),
        }
    }
}

fn parse_document(file: &TensorFile<'_>) -> Result<Document, CheckpointError> {
    let text = file.document.as_deref().ok_or(CheckpointError::NotACheckpoint)?;
    let kind: Kind = serde_json::from_str(text).map_err(|_| CheckpointError::NotACheckpoint)?;
    if kind.format != FORMAT {
        return Err(CheckpointError::NotACheckpoint);
    }
    if kind.version != VERSION {
        return Err(CheckpointError::Version { found: kind.version });
    }
    Ok(serde_json::from_str(text).map_err(|error| FileError::Document(error.to_string()))?)
}

impl Document {
    fn check_belongs_to<R: Rows>(&self, memory: &Memory<R>, head: &Head) -> Result<(), CheckpointError> {
        if self.head != *head.hash() {
            let (made_for, in_use) = (self.head.clone(), head.hash().clone());
            return Err(CheckpointError::OtherHead { made_for, in_use });
        }
        if self.memory != memory.fingerprint() || self.d != memory.d() {
            return Err(CheckpointError::OtherMemory);
        }
        let fits = self.kept.as_ref().is_none_or(|kept| kept.fits(&self.config, memory, head));
        if !fits || self.kept.is_none() != (self.config.vocabulary == Vocabulary::Full) {
            return Err(FileError::Document("its vocabulary is not that of its memory".to_owned()).into());
        }
        let phases = match (self.config.kappa > 0.0, self.config.contrast) {
            (true, _) => [Phase::Reconstruction, Phase::Prediction],
            (false, true) => [Phase::Imitation, Phase::Prediction],
            (false, false) => [Phase::Prediction; 2],
        };
        if !phases.contains(&self.place.phase) {
            return Err(FileError::Document("its phase disagrees with its settings".to_owned()).into());
        }
        if self.place.phase == Phase::Prediction && self.has_b_rct != (self.config.kappa > 0.0) {
            return Err(FileError::Document("b_rct and kappa disagree".to_owned()).into());
        }
        Ok(())
    }
}

/// A checkpoint's tensors.
struct Saved<'a> {
    file: TensorFile<'a>,
    config: &'a AdapterConfig,
    d: usize,
    device: &'a Device,
}

impl Saved<'_> {
    fn weights(&self, prefix: &str, phase: Phase) -> Result<Weights, FileError> {
        let (d, r) = (self.d, self.config.rank);
        let matrix = |name: &str, shape| self.matrix(&format!("{prefix}{name}"), shape);
        let mut weights = Weights::new(matrix("a", [self.config.seen(d), r])?, matrix("b", [r, d])?);
        for extra in Extra::of(self.config).filter(|_| phase != Phase::Reconstruction) {
            weights.extras.insert(extra, matrix(extra.name(), extra.shape(d, r))?);
        }
        Ok(weights)
    }

    fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Tensor<2>, FileError> {
        Ok(self.file.matrix(name, shape)?.upload(self.device))
    }
}

/// A checkpoint that cannot be made or resumed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CheckpointError {
    /// The device failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file is damaged.
    #[error("this checkpoint cannot be used: {0}; start training again")]
    File(#[from] FileError),
    /// The file is something else.
    #[error("this file is not a Pema checkpoint")]
    NotACheckpoint,
    /// The file is newer or older than this Pema.
    #[error("this checkpoint has format version {found}, this Pema reads {VERSION}; start again")]
    Version {
        /// The file's version.
        found: u32,
    },
    /// The settings in the file cannot work.
    #[error("this checkpoint's settings: {0}; start training again")]
    Config(#[from] ConfigError),
    /// The memory and the head in use do not fit each other.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The checkpoint was made with another head.
    #[error("this checkpoint was made with the LM head {made_for}, but {in_use} is in use")]
    OtherHead {
        /// The head it was made with.
        made_for: ContentHash,
        /// The head in use.
        in_use: ContentHash,
    },
    /// The checkpoint was made with another memory.
    #[error("this checkpoint was made with other training data; start training again")]
    OtherMemory,
}
