//! Checkpoints: everything that resuming needs but the memory and the head, as safetensors bytes.

use std::fmt;

use burn::tensor::{Device, Tensor};
use pema_core::id::ContentHash;
use serde::{Deserialize, Serialize};

use crate::config::{AdapterConfig, ConfigError};
use crate::copying::weight_rows;
use crate::head::Head;
use crate::memory::{Memory, Rows};
use crate::tensor_file::{self, FileError, Matrix, ReadError, TensorFile};
use crate::train::adam::Moments;
use crate::train::progress::Place;
use crate::train::start::check_fit;
use crate::train::{LossRecord, Objective, Phase, TrainError, Trainer, Weights};

/// The file's kind, in its header.
const FORMAT: &str = "pema-checkpoint";

/// The file's version, in its header.
const VERSION: u32 = 1;

/// Names of saved weights: `a`, `b`, `copy`.
const RUNNING: [&str; 3] = ["a", "b", "copy"];
const BEST: [&str; 3] = ["best.a", "best.b", "best.copy"];
const NEXT: [&str; 3] = ["next.a", "next.b", "next.copy"];
const FIRST_MOMENT: [&str; 3] = ["adam.first.a", "adam.first.b", "adam.first.copy"];
const SECOND_MOMENT: [&str; 3] = ["adam.second.a", "adam.second.b", "adam.second.copy"];

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
    place: Place,
    config: AdapterConfig,
    head: ContentHash,
    model: ContentHash,
    memory: ContentHash,
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
            place: self.place.clone(),
            config: self.config.clone(),
            head: self.head.hash().clone(),
            model: self.model.clone(),
            memory: self.memory.fingerprint(),
            history: self.history.clone(),
        };
        let moments = self.moments.as_ref();
        let saved = [
            (RUNNING, Some(&self.weights)),
            (BEST, self.best.as_ref()),
            (NEXT, self.next.as_ref()),
            (FIRST_MOMENT, moments.map(|moments| &moments.first)),
            (SECOND_MOMENT, moments.map(|moments| &moments.second)),
        ];
        let mut tensors = Vec::new();
        for ([a, b, copy], weights) in saved {
            let Some(weights) = weights else { continue };
            tensors.push((a, Matrix::read(&weights.a).await?));
            tensors.push((b, Matrix::read(&weights.b).await?));
            if let Some(weights) = &weights.copy {
                tensors.push((copy, Matrix::read(weights).await?));
            }
        }
        if let Some(b_rct) = b_rct {
            tensors.push(("b_rct", Matrix::read(b_rct).await?));
        }
        Ok(Checkpoint(tensor_file::write(&document, tensors)?))
    }

    /// Goes on where [`Trainer::checkpoint`] was called, with the same memory and head.
    pub fn resume(checkpoint: &Checkpoint, memory: Memory<R>, head: Head, device: Device) -> Result<Self, CheckpointError> {
        let file = TensorFile::parse(&checkpoint.0)?;
        let document = parse_document(&file)?;
        document.config.validate()?;
        check_fit(&document.config, &memory, &head)?;
        document.check_belongs_to(&memory, &head)?;

        let (d, r) = (document.d, document.config.rank);
        let saved = Saved { file, seen: document.config.seen(d), d, r, device: &device };
        // Copying begins in phase 2.
        let copies = document.config.copy;
        let copies_now = copies && document.place.phase == Phase::Prediction;
        let weights = saved.weights(RUNNING, copies_now)?;
        let best = document.has_best.then(|| saved.weights(BEST, copies_now)).transpose()?;
        let moments = document.adam_time.map(|time| {
            let first = saved.weights(FIRST_MOMENT, copies_now)?;
            let second = saved.weights(SECOND_MOMENT, copies_now)?;
            Ok::<_, FileError>(Moments { time, first, second })
        });
        let moments = moments.transpose()?;
        let scale = document.config.scale();
        let (objective, next) = match document.place.phase {
            Phase::Reconstruction => {
                let next = saved.weights(NEXT, copies)?;
                (Objective::Reconstruction { scale }, Some(next))
            }
            Phase::Prediction => {
                let b_rct = document.has_b_rct.then(|| saved.b("b_rct")).transpose()?;
                let (kappa, head) = (document.config.kappa, head.clone());
                (Objective::Prediction { scale, kappa, b_rct, head }, None)
            }
        };
        let Document { config, model, place, history, .. } = document;
        let order = Vec::new();
        let mut trainer =
            Self { config, memory, head, model, device, place, weights, moments, best, next, objective, history, order };
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
        if self.place.phase == Phase::Prediction && self.has_b_rct != (self.config.kappa > 0.0) {
            return Err(FileError::Document("b_rct and kappa disagree".to_owned()).into());
        }
        Ok(())
    }
}

/// A checkpoint's tensors.
struct Saved<'a> {
    file: TensorFile<'a>,
    seen: usize,
    d: usize,
    r: usize,
    device: &'a Device,
}

impl Saved<'_> {
    fn weights(&self, [a, b, copy]: [&str; 3], copies: bool) -> Result<Weights, FileError> {
        let a = self.file.matrix(a, [self.seen, self.r])?.upload(self.device);
        let copy = copies.then(|| self.file.matrix(copy, [weight_rows(self.d), self.r])).transpose()?;
        Ok(Weights { a, b: self.b(b)?, copy: copy.map(|copy| copy.upload(self.device)) })
    }

    fn b(&self, name: &str) -> Result<Tensor<2>, FileError> {
        Ok(self.file.matrix(name, [self.r, self.d])?.upload(self.device))
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
