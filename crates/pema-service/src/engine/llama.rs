//! [`Engine`] by llama.cpp: the handle; the work is in [`super::worker`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use pema_core::id::TokenId;
use pema_core::wire::PromptStates;
use tokio::sync::oneshot;

use super::worker::{self, Command};
use super::{Engine, EngineError, EngineInfo, Group, Pending, PromptRows, Rows, Session, Step};

/// Layers to put on a GPU when there is one: all of any model.
const ALL_LAYERS: u32 = 1_000_000;

/// How to run a model.
#[derive(Clone, Debug)]
pub struct LlamaOptions {
    /// The GGUF file.
    pub path: PathBuf,
    /// Longest sequence; the model's own limit if that is shorter.
    pub context_length: u32,
    /// Prompts extracted side by side.
    pub parallel: u32,
    /// Generation sessions open at once.
    pub max_sessions: u32,
    /// CPU threads.
    pub threads: u32,
}

/// A model that llama.cpp runs on a thread of its own.
pub struct LlamaEngine {
    info: EngineInfo,
    model: Arc<LlamaModel>,
    commands: mpsc::Sender<Command>,
    places: Arc<Places>,
}

/// Sequences that no session holds.
struct Places(Mutex<Vec<usize>>);

impl Places {
    fn free(&self) -> MutexGuard<'_, Vec<usize>> {
        // A list of numbers is whole whatever a panicking holder was doing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LlamaEngine {
    /// Loads the model and starts its thread. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`EngineError::Load`] with what llama.cpp said.
    pub fn load(options: &LlamaOptions) -> Result<Self, EngineError> {
        let load = |error: &dyn std::fmt::Display| EngineError::Load(error.to_string());
        let gpu = cfg!(any(feature = "cuda", feature = "metal", feature = "vulkan"));
        let params = LlamaModelParams::default().with_n_gpu_layers(if gpu { ALL_LAYERS } else { 0 });
        let model = LlamaModel::load_from_file(backend()?, &options.path, &params).map_err(|e| load(&e))?;
        let info = describe(&model, options)?;
        let model = Arc::new(model);
        let (commands, inbox) = mpsc::channel();
        worker::spawn(Arc::clone(&model), info.clone(), options.threads, inbox)?;
        let sessions = info.parallel..info.parallel + info.max_sessions;
        let places = Arc::new(Places(Mutex::new(sessions.rev().collect())));
        Ok(Self { info, model, commands, places })
    }
}

/// llama.cpp's global state, made once and never freed; its log goes to `tracing`.
pub(crate) fn backend() -> Result<&'static LlamaBackend, EngineError> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    BACKEND
        .get_or_init(|| {
            llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default());
            LlamaBackend::init().map_err(|e| e.to_string())
        })
        .as_ref()
        .map_err(|e| EngineError::Load(e.clone()))
}

fn describe(model: &LlamaModel, options: &LlamaOptions) -> Result<EngineInfo, EngineError> {
    let vocab = model.vocab();
    let id = |LlamaToken(id): LlamaToken| u32::try_from(id).ok().map(TokenId);
    let eos = id(vocab.eos()).ok_or_else(|| EngineError::Load("its vocabulary has no end-of-text token".to_owned()))?;
    let mut end_of_generation: Vec<TokenId> = vocab.tokens().filter(|&t| vocab.is_eog(t)).filter_map(id).collect();
    if !end_of_generation.contains(&eos) {
        end_of_generation.push(eos);
    }
    let name = model.meta_val_str("general.name").unwrap_or_else(|_| {
        options.path.file_stem().map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned())
    });
    Ok(EngineInfo {
        name,
        hidden_size: model.n_embd_out() as usize,
        vocab_size: vocab.n_tokens() as usize,
        context_length: options.context_length.min(model.n_ctx_train()) as usize,
        parallel: options.parallel.max(1) as usize,
        max_sessions: options.max_sessions as usize,
        bos: if vocab.should_add_bos() { id(vocab.bos()) } else { None },
        eos,
        end_of_generation,
    })
}

impl Engine for LlamaEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn tokenize(&self, text: &str) -> Vec<TokenId> {
        let tokens = self.model.vocab().tokenize(text.as_bytes(), false, true);
        tokens.into_iter().map(|LlamaToken(id)| TokenId(id as u32)).collect()
    }

    fn extract(&self, group: Group, prompt: Vec<TokenId>, rows: Rows) -> Pending<PromptRows> {
        ask(&self.commands, |reply| Command::Extract { group, prompt, rows, reply })
    }

    fn open(&self) -> Result<Box<dyn Session>, EngineError> {
        let sequence = self.places.free().pop().ok_or(EngineError::Busy(self.info.max_sessions))?;
        Ok(Box::new(LlamaSession { sequence, commands: self.commands.clone(), places: Arc::clone(&self.places) }))
    }
}

/// Sends a command that answers through `Pending`; a dead engine answers [`EngineError::Gone`].
fn ask<T>(commands: &mpsc::Sender<Command>, command: impl FnOnce(super::sequence::Reply<T>) -> Command) -> Pending<T> {
    let (reply, answer) = oneshot::channel();
    // If the worker is gone the command is dropped, its `reply` with it, and the receiver says so.
    let _ = commands.send(command(reply));
    answer
}

struct LlamaSession {
    sequence: usize,
    commands: mpsc::Sender<Command>,
    places: Arc<Places>,
}

impl Session for LlamaSession {
    fn start(&mut self, prompt: Vec<TokenId>, states: PromptStates) -> Pending<Step> {
        let sequence = self.sequence;
        ask(&self.commands, |reply| Command::Start { sequence, prompt, states, reply })
    }

    fn push(&mut self, token: TokenId) -> Pending<Step> {
        let sequence = self.sequence;
        ask(&self.commands, |reply| Command::Push { sequence, token, reply })
    }
}

impl Drop for LlamaSession {
    fn drop(&mut self) {
        // A worker that is gone has no place to empty. Commands keep their order, so the next
        // owner's `start` comes after this.
        let _ = self.commands.send(Command::Close { sequence: self.sequence });
        self.places.free().push(self.sequence);
    }
}
