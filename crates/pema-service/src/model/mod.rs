//! From the `--model` argument to a model that may be served: found, loaded, exported, proven.

mod cache;
mod download;
mod source;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pema_core::id::ContentHash;
use pema_core::wire::{Artifact, LogitsMode, MemoryKind, ModelCard, WIRE_VERSION};
use tokenizers::Tokenizer;

pub use cache::{Cache, default_cache_dir};
pub use source::{DEFAULT_MODEL_FILE, ModelSource, SourceError};

use crate::config::{LimitsConfig, ModelConfig};
use crate::engine::{Engine, EngineError, EngineInfo, LlamaEngine, LlamaOptions};
use crate::gguf::{Gguf, GgufError, export_head};
use crate::int8;
use crate::proof::{self, LogitRule, ProofError};
use crate::tokenizer::{TokenizerError, Vocabulary};

/// Bumped when the exports of the same GGUF change, so that old ones are made anew.
const EXPORT_VERSION: &str = "1";

/// Most logits that a top-k frame carries.
const MAX_TOP_K: u32 = 1024;

/// Everything that is served about one model.
pub struct Model {
    /// What tabs are told.
    pub card: ModelCard,
    /// The LM head's file.
    pub head: PathBuf,
    /// The file of its int8 form, if that is as good.
    pub head_int8: Option<PathBuf>,
    /// The tokenizer's file.
    pub tokenizer: PathBuf,
    /// What runs it.
    pub engine: Arc<dyn Engine>,
}

/// Why a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The `--model` argument leads nowhere.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// llama.cpp cannot run it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Its head cannot be exported.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// Its tokenizer cannot be exported.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The file of `--tokenizer`.
    #[error("{0} is no tokenizer ({1}): give the model's own tokenizer.json")]
    TokenizerFile(PathBuf, tokenizers::Error),
    /// What was exported does not agree with the engine.
    #[error("Pema will not serve this model: {0}")]
    Proof(#[from] ProofError),
    /// The cache cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] std::io::Error),
}

impl Model {
    /// Loads, exports and proves. Blocks; minutes for a large model, seconds after the first time.
    ///
    /// # Errors
    /// [`ModelError`] says what to do.
    pub fn load(config: &ModelConfig, limits: &LimitsConfig) -> Result<Self, ModelError> {
        let cache = Cache::new(config.cache_dir.clone());
        let path = config.source.resolve(&cache, &config.hf_endpoint)?;
        let hash = cache.hash_file(&path).map_err(|e| ModelError::Io(path.clone(), e))?;
        tracing::info!(path = %path.display(), %hash, "loading the model");
        let engine: Arc<dyn Engine> = Arc::new(LlamaEngine::load(&LlamaOptions {
            path: path.clone(),
            context_length: config.context_length,
            parallel: config.parallel,
            max_sessions: limits.max_streams,
            threads: config.threads,
        })?);
        let gguf = Gguf::open(&path)?;
        let exports = cache.dir().join("exports").join(hash.as_str()).join(EXPORT_VERSION);
        fs::create_dir_all(&exports).map_err(|e| ModelError::Io(exports.clone(), e))?;
        let head = exported_head(&gguf, engine.info(), &exports)?;
        let tokenizer_path = exported_tokenizer(&gguf, config.tokenizer.as_deref(), &exports)?;
        let tokenizer =
            Tokenizer::from_file(&tokenizer_path).map_err(|e| ModelError::TokenizerFile(tokenizer_path.clone(), e))?;
        proof::tokenizer_agrees(engine.as_ref(), &tokenizer)?;
        let rule = proof::head_agrees(engine.as_ref(), &head, &candidate_rules(&gguf))?;
        let artifact = |path: &Path| artifact(&cache, path).map_err(|e| ModelError::Io(path.to_owned(), e));
        let f16 = artifact(&head)?;
        let source = int8::Source { path: &head, hash: &f16.sha256, rule };
        let head_int8 = int8::int8_head(engine.as_ref(), &source, &exports)?;
        let int8 = head_int8.as_deref().map(artifact).transpose()?;
        let card = card(engine.info(), rule, hash, f16, int8, artifact(&tokenizer_path)?, limits);
        Ok(Self { card, head, head_int8, tokenizer: tokenizer_path, engine })
    }
}

/// The card of a model and what is served of it.
pub(crate) fn card(
    info: &EngineInfo,
    rule: LogitRule,
    model: ContentHash,
    head: Artifact,
    head_int8: Option<Artifact>,
    tokenizer: Artifact,
    limits: &LimitsConfig,
) -> ModelCard {
    let vocab_size = info.vocab_size as u32;
    ModelCard {
        wire_version: WIRE_VERSION,
        name: info.name.clone(),
        hidden_size: info.hidden_size as u32,
        vocab_size,
        logit_scale: rule.scale,
        logit_softcap: rule.softcap,
        context_length: info.context_length as u32,
        bos: info.bos,
        eos: info.eos,
        end_of_generation: info.end_of_generation.clone(),
        model,
        head,
        head_int8,
        tokenizer,
        memory_kinds: vec![MemoryKind::Steps, MemoryKind::Prompt, MemoryKind::PromptAll],
        logits_modes: vec![LogitsMode::None, LogitsMode::TopK { k: MAX_TOP_K.min(vocab_size) }, LogitsMode::Full],
        limits: limits.for_context(info.context_length as u32),
    }
}

fn artifact(cache: &Cache, path: &Path) -> std::io::Result<Artifact> {
    Ok(Artifact { sha256: cache.hash_file(path)?, bytes: fs::metadata(path)?.len() })
}

fn exported_head(gguf: &Gguf, info: &EngineInfo, exports: &Path) -> Result<PathBuf, ModelError> {
    let path = exports.join("head.safetensors");
    if !path.exists() {
        tracing::info!("exporting the LM head");
        write_atomically(&path, |file| export_head(gguf, info.vocab_size, info.hidden_size, file).map_err(Into::into))?;
    }
    Ok(path)
}

fn exported_tokenizer(gguf: &Gguf, given: Option<&Path>, exports: &Path) -> Result<PathBuf, ModelError> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let path = exports.join("tokenizer.json");
    if !path.exists() {
        let json = Vocabulary::read(gguf)?.to_tokenizer()?.to_string(false).map_err(TokenizerError::Build)?;
        write_atomically(&path, |file| file.write_all(json.as_bytes()).map_err(|e| ModelError::Io(path.clone(), e)))?;
    }
    Ok(path)
}

/// Writes beside `path` and renames, so that a half-written file is never taken for a whole one.
fn write_atomically(path: &Path, write: impl FnOnce(&mut fs::File) -> Result<(), ModelError>) -> Result<(), ModelError> {
    let io = |e| ModelError::Io(path.to_owned(), e);
    // Two services that start at once write different files and rename the same bytes.
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let mut file = fs::File::create(&partial).map_err(io)?;
    write(&mut file)?;
    file.sync_all().map_err(io)?;
    fs::rename(&partial, path).map_err(io)
}

/// What the metadata may mean. Architectures disagree on whether `logit_scale` multiplies or
/// divides, so both are offered and the proof chooses.
fn candidate_rules(gguf: &Gguf) -> Vec<LogitRule> {
    let architecture = gguf.text("general.architecture").unwrap_or_default();
    let of = |key: &str| gguf.float(&format!("{architecture}.{key}")).filter(|&x| x != 0.0);
    let scales = of("logit_scale").map_or(vec![1.0], |scale| vec![1.0, scale, 1.0 / scale]);
    let softcaps = of("final_logit_softcapping").map_or(vec![None], |cap| vec![None, Some(cap)]);
    let pair = |&scale| softcaps.iter().map(move |&softcap| LogitRule { scale, softcap });
    scales.iter().flat_map(pair).collect()
}
