//! Extracting one memory, shard by shard.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use pema_core::id::ContentHash;
use pema_core::memory::Shard;
use pema_core::wire::{CreateMemory, MemoryKind, MemoryManifest, MemoryState, PromptSpec, ShardEntry};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::MemoryStore;
use super::plan::plan;
use crate::engine::{Engine, EngineError, Group, Pending, PromptRows, Rows};
use crate::observe;

/// How long a service that is told to stop works on the current shard before it leaves it to the
/// next start.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// What all jobs of a service share.
pub(super) struct JobContext {
    pub engine: Arc<dyn Engine>,
    pub store: Arc<dyn MemoryStore>,
    pub stop: CancellationToken,
    pub slots: Semaphore,
}

/// One memory's extraction.
pub(super) struct Job {
    pub context: Arc<JobContext>,
    pub manifest: watch::Sender<MemoryManifest>,
    pub cancel: CancellationToken,
    pub request: CreateMemory,
}

/// How a job ends early.
enum Interrupted {
    /// The memory was deleted, or the service stops: nothing to say.
    Silently,
    /// It cannot go on.
    Failed(String),
}

impl From<EngineError> for Interrupted {
    fn from(error: EngineError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Job {
    pub(super) async fn run(mut self) {
        let context = Arc::clone(&self.context);
        let permit = tokio::select! {
            permit = context.slots.acquire() => permit,
            () = self.cancel.cancelled() => return,
            () = context.stop.cancelled() => return,
        };
        let _running = observe::JobGuard::start();
        self.manifest.send_modify(|manifest| manifest.state = MemoryState::Running);
        let outcome = self.extract().await;
        drop(permit);
        match outcome {
            // Deleted meanwhile: whatever else happened is nobody's concern.
            _ if self.cancel.is_cancelled() => {}
            Ok(()) => self.finish(MemoryState::Done).await,
            Err(Interrupted::Silently) => {}
            Err(Interrupted::Failed(detail)) => {
                tracing::error!(detail, "a memory failed");
                self.finish(MemoryState::Failed { detail }).await;
            }
        }
    }

    async fn finish(&mut self, state: MemoryState) {
        let manifest = MemoryManifest { state: state.clone(), ..self.manifest.borrow().clone() };
        if let Err(Interrupted::Failed(error)) = self.save(manifest).await {
            tracing::error!(error, "a memory's end could not be stored");
        }
        // Last, because whoever sees the end may delete the memory.
        self.manifest.send_modify(|manifest| manifest.state = state);
    }

    async fn extract(&mut self) -> Result<(), Interrupted> {
        let hidden = self.context.engine.info().hidden_size;
        let shards = plan(&self.request, hidden);
        let finished = self.manifest.borrow().shards.len();
        let first = shards.get(finished).map_or(self.request.prompts.len(), |shard| shard.start);
        // Twice as many prompts are asked for as run at once, so that no place in the engine
        // waits for us; across shards, so that their ends do not drain it.
        let ahead = 2 * self.context.engine.info().parallel;
        let (engine, group, kind) = (Arc::clone(&self.context.engine), Group::new(), self.request.kind);
        let prompts = std::mem::take(&mut self.request.prompts).into_iter().skip(first);
        let answers = futures::stream::iter(prompts).map(move |prompt| ask(&*engine, group, kind, prompt));
        let mut answers = std::pin::pin!(answers.buffered(ahead));
        let stop = self.context.stop.clone();
        let mut deadline = std::pin::pin!(async {
            stop.cancelled().await;
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        });
        for (index, prompts) in shards.into_iter().enumerate().skip(finished) {
            let mut shard = empty_shard(hidden);
            for prompt in prompts {
                let answer = tokio::select! {
                    answer = answers.next() => answer,
                    () = self.cancel.cancelled() => return Err(Interrupted::Silently),
                    () = &mut deadline => return Err(Interrupted::Silently),
                };
                let rows = answer.and_then(Result::ok).unwrap_or(Err(EngineError::Gone))?;
                self.manifest.send_modify(|manifest| manifest.rows_done += rows.tokens.len() as u64);
                observe::rows(rows.tokens.len());
                append(&mut shard, prompt as u32, rows);
            }
            self.keep(index as u32, shard).await?;
            if self.context.stop.is_cancelled() {
                return Err(Interrupted::Silently);
            }
        }
        Ok(())
    }

    /// Stores a shard, then says so in the manifest.
    async fn keep(&mut self, index: u32, shard: Shard) -> Result<(), Interrupted> {
        shard.check().map_err(|e| Interrupted::Failed(e.to_string()))?;
        let (store, id) = (Arc::clone(&self.context.store), self.manifest.borrow().id.clone());
        let entry = blocking(move || {
            let bytes = shard.encode();
            store.put_shard(&id, index, &bytes)?;
            let (rows, sha256) = (shard.rows() as u64, ContentHash::of(&bytes));
            Ok(ShardEntry { index, rows, bytes: bytes.len() as u64, sha256 })
        })
        .await?;
        if self.cancel.is_cancelled() {
            return Err(Interrupted::Silently);
        }
        self.manifest.send_modify(|manifest| manifest.shards.push(entry));
        let manifest = self.manifest.borrow().clone();
        self.save(manifest).await
    }

    async fn save(&self, manifest: MemoryManifest) -> Result<(), Interrupted> {
        let store = Arc::clone(&self.context.store);
        blocking(move || store.save_manifest(&manifest)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Interrupted> {
    let done = tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other).and_then(|done| done);
    done.map_err(|error| Interrupted::Failed(format!("the service's storage failed: {error}")))
}

fn ask(engine: &dyn Engine, group: Group, kind: MemoryKind, prompt: PromptSpec) -> Pending<PromptRows> {
    let rows = match kind {
        MemoryKind::Steps => Rows::Steps(prompt.steps as usize),
        MemoryKind::Prompt => Rows::Last,
        MemoryKind::PromptAll => Rows::All,
    };
    engine.extract(group, prompt.tokens, rows)
}

fn empty_shard(hidden_size: usize) -> Shard {
    Shard { h: Vec::new(), hidden_size, prompt: Vec::new(), step: Vec::new(), token: Vec::new() }
}

fn append(shard: &mut Shard, prompt: u32, rows: PromptRows) {
    let n = rows.tokens.len();
    shard.h.extend(rows.h);
    shard.prompt.extend(std::iter::repeat_n(prompt, n));
    shard.step.extend(0..n as u32);
    shard.token.extend(rows.tokens);
}
