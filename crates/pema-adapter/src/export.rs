//! Adapters as files: safetensors with `a`, `b_pd`, `b_rct` if there was a phase 1, and what the
//! settings have beside these ([`Extra`]), the same as `before.a` and so on of an adapter with contrast, and
//! `gate` if there is one.

use burn::tensor::Device;
use pema_core::align::Contexts;
use pema_core::id::ContentHash;
use serde::{Deserialize, Serialize};

use crate::adapter::{Adapter, AdapterOrigin};
use crate::config::{AdapterConfig, ConfigError};
use crate::gate::Gate;
use crate::tensor_file::{self, FileError, Matrix, ReadError, TensorFile};
use crate::train::{Extra, Weights};
use crate::vocabulary::{Kept, Vocabulary};

/// The file's kind, in its header.
const FORMAT: &str = "pema-adapter";

/// The file's version, in its header.
const VERSION: u32 = 1;

/// What the names of the weights before the targets begin with.
const BEFORE: &str = "before.";

/// The file's JSON header.
#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    version: u32,
    name: String,
    d: usize,
    rank: usize,
    alpha: f64,
    has_b_rct: bool,
    #[serde(default)]
    has_gate: bool,
    config: AdapterConfig,
    kept: Option<Kept>,
    head: ContentHash,
    model: ContentHash,
}

/// The part of the header that is the same in every version.
#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u32,
}

/// What an adapter's file says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterSummary {
    /// For people.
    pub name: String,
    /// `r`.
    pub rank: usize,
    /// The contexts that it must be given.
    pub contexts: Contexts,
    /// Whether it has a gate, which a learned schedule needs.
    pub has_gate: bool,
    /// Whether it has contrast, which the mixture of that name needs.
    pub has_contrast: bool,
    /// The LM head that it was trained through.
    pub head: ContentHash,
    /// The model that its memory was extracted from.
    pub model: ContentHash,
}

impl AdapterSummary {
    /// Reads the header of an exported file, without a device.
    ///
    /// # Errors
    /// [`ImportError`] when the file is no adapter of this format.
    pub fn read(bytes: &[u8]) -> Result<Self, ImportError> {
        let Document { name, rank, has_gate, config, head, model, .. } = parse_document(&TensorFile::parse(bytes)?)?;
        Ok(Self { name, rank, contexts: config.given(), has_gate, has_contrast: config.contrast, head, model })
    }
}

impl Adapter {
    /// The adapter as a file named `name` (for people), the same bytes each time.
    pub async fn export(&self, name: &str) -> Result<Vec<u8>, ExportError> {
        let AdapterOrigin { config, head, model } = self.origin.clone();
        let document = Document {
            format: FORMAT.to_owned(),
            version: VERSION,
            name: name.to_owned(),
            d: self.d(),
            rank: config.rank,
            alpha: config.alpha,
            has_b_rct: self.b_rct.is_some(),
            has_gate: self.gate.is_some(),
            config,
            kept: self.kept.clone(),
            head,
            model,
        };
        let mut tensors = Vec::new();
        for (prefix, weights) in [("", &self.weights)].into_iter().chain(self.before.iter().map(|before| (BEFORE, before))) {
            let Weights { a, b: b_pd, extras } = weights;
            let extras = extras.iter().map(|(extra, matrix)| (extra.name(), matrix));
            for (name, matrix) in [("a", a), ("b_pd", b_pd)].into_iter().chain(extras) {
                tensors.push((format!("{prefix}{name}"), Matrix::read(matrix).await?));
            }
        }
        if let Some(b_rct) = &self.b_rct {
            tensors.push(("b_rct".to_owned(), Matrix::read(b_rct).await?));
        }
        tensors.extend(self.gate.iter().map(|gate| ("gate".to_owned(), Matrix::from(gate))));
        Ok(tensor_file::write(&document, tensors)?)
    }

    /// Reads an exported file onto `device` and returns its name with it. `head` is the hash of
    /// the LM head in use, which must be the one that the adapter was trained through.
    pub fn import(bytes: &[u8], head: &ContentHash, device: &Device) -> Result<(String, Self), ImportError> {
        let file = TensorFile::parse(bytes)?;
        let document = parse_document(&file)?;
        let Document { name, d, rank, config, kept, model, .. } = document;
        config.validate()?;
        if d == 0 || config.rank != rank || config.alpha != document.alpha {
            let text = "d, rank or alpha disagree with its settings".to_owned();
            return Err(FileError::Document(text).into());
        }
        if kept.is_none() != (config.vocabulary == Vocabulary::Full) {
            return Err(FileError::Document("its vocabulary disagrees with its settings".to_owned()).into());
        }
        if document.head != *head {
            return Err(ImportError::OtherHead { made_for: document.head, in_use: head.clone() });
        }
        let matrix = |name: &str, shape| Ok::<_, FileError>(file.matrix(name, shape)?.upload(device));
        let weights = |prefix: &str| {
            let matrix = |name, shape| matrix(&format!("{prefix}{name}"), shape);
            let mut weights = Weights::new(matrix("a", [config.seen(d), rank])?, matrix("b_pd", [rank, d])?);
            for extra in Extra::of(&config) {
                weights.extras.insert(extra, matrix(extra.name(), extra.shape(d, rank))?);
            }
            Ok::<_, FileError>(weights)
        };
        let (weights, before) = (weights("")?, config.contrast.then(|| weights(BEFORE)).transpose()?);
        let b_rct = document.has_b_rct.then(|| matrix("b_rct", [rank, d])).transpose()?;
        let gate = document.has_gate.then(|| Gate::read(&file, d, rank)).transpose()?;
        let adapter = Self { weights, before, b_rct, kept, gate, origin: AdapterOrigin { config, head: document.head, model } };
        Ok((name, adapter))
    }
}

fn parse_document(file: &TensorFile<'_>) -> Result<Document, ImportError> {
    let text = file.document.as_deref().ok_or(ImportError::NotAnAdapter)?;
    let kind: Kind = serde_json::from_str(text).map_err(|_| ImportError::NotAnAdapter)?;
    if kind.format != FORMAT {
        return Err(ImportError::NotAnAdapter);
    }
    if kind.version != VERSION {
        return Err(ImportError::Version { found: kind.version });
    }
    Ok(serde_json::from_str(text).map_err(|error| FileError::Document(error.to_string()))?)
}

/// An adapter that could not be exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The device failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file could not be written.
    #[error("the adapter could not be written: {0}")]
    File(#[from] FileError),
}

/// A file that is no adapter for the head in use.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ImportError {
    /// The file is damaged.
    #[error("this adapter file cannot be used: {0}; export it again")]
    File(#[from] FileError),
    /// The file is something else.
    #[error("this file is not a Pema adapter; choose one that Pema exported")]
    NotAnAdapter,
    /// The file is newer or older than this Pema.
    #[error("this adapter has format version {found}, this Pema reads {VERSION}; update Pema")]
    Version {
        /// The file's version.
        found: u32,
    },
    /// The settings in the file cannot work.
    #[error("this adapter's settings: {0}; export it again")]
    Config(#[from] ConfigError),
    /// The adapter belongs to another head.
    #[error(
        "this adapter was made for the LM head {made_for}, but {in_use} is in use; \
         connect to the model that it was trained for"
    )]
    OtherHead {
        /// The head that it was trained through.
        made_for: ContentHash,
        /// The head in use.
        in_use: ContentHash,
    },
}
