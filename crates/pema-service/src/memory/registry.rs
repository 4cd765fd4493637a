//! All memories of a service: who owns them, how far they are, and the jobs that make them.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use pema_core::id::{ContentHash, MemoryId};
use pema_core::wire::{CreateMemory, MemoryManifest, MemoryState};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::job::{Job, JobContext};
use super::{MemoryStore, Owner};
use crate::engine::Engine;

/// Memories extracted side by side; the engine takes their prompts in turn.
const JOBS_AT_ONCE: usize = 4;

/// Whose requests see which memories: one per API key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenant(pub String);

/// Why a memory is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Not there, or another tenant's: the two must look alike.
    #[error("there is no memory {0} for this key: it was deleted, or it belongs to another key or service")]
    NotFound(String),
    /// The shard is not made yet, or will never be.
    #[error("memory {id} has no shard {index} yet: its manifest lists the shards that are there")]
    NoShard {
        /// The memory.
        id: MemoryId,
        /// The shard.
        index: u32,
    },
    /// The same idempotency key with another request.
    #[error("this Idempotency-Key was used for another request or model: use a new key")]
    KeyReused,
    /// The store failed.
    #[error("the service's storage failed: {0}")]
    Store(#[from] io::Error),
}

/// The registry; cheap to clone.
#[derive(Clone)]
pub struct Memories {
    inner: Arc<Inner>,
}

struct Inner {
    context: Arc<JobContext>,
    model: ContentHash,
    entries: RwLock<HashMap<MemoryId, Entry>>,
    tasks: TaskTracker,
}

struct Entry {
    owner: Owner,
    manifest: watch::Sender<MemoryManifest>,
    cancel: CancellationToken,
}

impl Memories {
    /// Takes up what the store holds: unfinished memories go on from their last shard. Must be
    /// called inside a Tokio runtime. `stop` ends the jobs after their current shard.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(
        engine: Arc<dyn Engine>,
        store: Arc<dyn MemoryStore>,
        model: ContentHash,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let stored = store.list()?;
        let context = Arc::new(JobContext { engine, store, stop, slots: Semaphore::new(JOBS_AT_ONCE) });
        let (entries, tasks) = (RwLock::default(), TaskTracker::new());
        let memories = Self { inner: Arc::new(Inner { context, model, entries, tasks }) };
        for (owner, manifest) in stored {
            memories.take_up(owner, manifest)?;
        }
        Ok(memories)
    }

    fn take_up(&self, owner: Owner, mut manifest: MemoryManifest) -> io::Result<()> {
        let store = &self.inner.context.store;
        if manifest.state.is_final() {
            self.insert(owner, manifest);
            return Ok(());
        }
        if manifest.model != self.inner.model {
            let detail = "the service was restarted with another model: ask for the memory again".to_owned();
            manifest.state = MemoryState::Failed { detail };
            store.save_manifest(&manifest)?;
            self.insert(owner, manifest);
            return Ok(());
        }
        manifest.state = MemoryState::Queued;
        manifest.rows_done = manifest.shards.iter().map(|shard| shard.rows).sum();
        let request = store.request(&manifest.id)?;
        tracing::info!(id = %manifest.id, rows_done = manifest.rows_done, rows = manifest.rows, "resuming a memory");
        let (manifest, cancel) = self.insert(owner, manifest);
        self.spawn(manifest, cancel, request);
        Ok(())
    }

    /// Starts a memory of `rows` rows, or finds the one that the same key and request made; then
    /// the flag is false. One that failed is forgotten and made anew. The request has been checked.
    ///
    /// # Errors
    /// [`MemoryError::KeyReused`] or [`MemoryError::Store`].
    pub async fn create(
        &self,
        tenant: Tenant,
        idempotency_key: Option<String>,
        request: CreateMemory,
        rows: u64,
    ) -> Result<(MemoryManifest, bool), MemoryError> {
        let owner = Owner { tenant, idempotency_key, request: fingerprint(&request, &self.inner.model) };
        let (sender, cancel, failed) = {
            let mut entries = self.write();
            let failed = match same_request(&entries, &owner)? {
                Some(manifest) if matches!(manifest.state, MemoryState::Failed { .. }) => Some(manifest.id),
                Some(manifest) => return Ok((manifest, false)),
                None => None,
            };
            let manifest = self.new_manifest(&request, rows)?;
            if let Some(id) = &failed {
                entries.remove(id);
            }
            let entry = Entry { owner: owner.clone(), manifest: watch::Sender::new(manifest), cancel: CancellationToken::new() };
            let (sender, cancel) = (entry.manifest.clone(), entry.cancel.clone());
            let id = entry.manifest.borrow().id.clone();
            entries.insert(id, entry);
            (sender, cancel, failed)
        };
        let manifest = sender.borrow().clone();
        let (store, stored) = (Arc::clone(&self.inner.context.store), manifest.clone());
        let keep = move || {
            if let Some(id) = failed {
                store.delete(&id)?;
            }
            store.create(&owner, &request, &stored).map(|()| request)
        };
        let kept = tokio::task::spawn_blocking(keep).await;
        match kept.map_err(io::Error::other).and_then(|kept| kept) {
            Ok(request) => self.spawn(sender, cancel, request),
            Err(error) => {
                self.write().remove(&manifest.id);
                return Err(error.into());
            }
        }
        Ok((manifest, true))
    }

    /// A memory's manifest, now and as it changes.
    ///
    /// # Errors
    /// [`MemoryError::NotFound`].
    pub fn watch(&self, tenant: &Tenant, id: &str) -> Result<watch::Receiver<MemoryManifest>, MemoryError> {
        let entries = self.read();
        let entry = MemoryId::parse(id).and_then(|id| entries.get(&id)).filter(|entry| entry.owner.tenant == *tenant);
        entry.map(|entry| entry.manifest.subscribe()).ok_or_else(|| MemoryError::NotFound(id.to_owned()))
    }

    /// A shard's bytes and hash.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub async fn shard(&self, tenant: &Tenant, id: &str, index: u32) -> Result<(Vec<u8>, ContentHash), MemoryError> {
        let manifest = self.watch(tenant, id)?.borrow().clone();
        let id = manifest.id;
        let Some(shard) = manifest.shards.into_iter().find(|shard| shard.index == index) else {
            return Err(MemoryError::NoShard { id, index });
        };
        let store = Arc::clone(&self.inner.context.store);
        let bytes = tokio::task::spawn_blocking(move || store.shard(&id, index)).await.map_err(io::Error::other)??;
        Ok((bytes, shard.sha256))
    }

    /// Stops and forgets a memory.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub async fn delete(&self, tenant: &Tenant, id: &str) -> Result<(), MemoryError> {
        let id = self.watch(tenant, id)?.borrow().id.clone();
        if let Some(entry) = self.write().remove(&id) {
            entry.cancel.cancel();
        }
        let store = Arc::clone(&self.inner.context.store);
        Ok(tokio::task::spawn_blocking(move || store.delete(&id)).await.map_err(io::Error::other)??)
    }

    /// Waits for the jobs to end; `stop` must have been cancelled.
    pub async fn finished(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn new_manifest(&self, request: &CreateMemory, rows: u64) -> io::Result<MemoryManifest> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        Ok(MemoryManifest {
            id: MemoryId::from_bytes(id),
            kind: request.kind,
            model: self.inner.model.clone(),
            hidden_size: self.inner.context.engine.info().hidden_size as u32,
            state: MemoryState::Queued,
            prompts: request.prompts.len() as u32,
            rows,
            rows_done: 0,
            shards: Vec::new(),
        })
    }

    fn insert(&self, owner: Owner, manifest: MemoryManifest) -> (watch::Sender<MemoryManifest>, CancellationToken) {
        let id = manifest.id.clone();
        let entry = Entry { owner, manifest: watch::Sender::new(manifest), cancel: CancellationToken::new() };
        let handles = (entry.manifest.clone(), entry.cancel.clone());
        self.write().insert(id, entry);
        handles
    }

    fn spawn(&self, manifest: watch::Sender<MemoryManifest>, cancel: CancellationToken, request: CreateMemory) {
        let job = Job { context: Arc::clone(&self.inner.context), manifest, cancel, request };
        self.inner.tasks.spawn(job.run());
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<MemoryId, Entry>> {
        // Every change to the map is one call, so it is whole even if a holder panicked.
        self.inner.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<MemoryId, Entry>> {
        self.inner.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes two requests the same.
fn fingerprint(request: &CreateMemory, model: &ContentHash) -> ContentHash {
    let json = serde_json::json!({ "model": model, "request": request });
    ContentHash::of(json.to_string().as_bytes())
}

fn same_request(entries: &HashMap<MemoryId, Entry>, owner: &Owner) -> Result<Option<MemoryManifest>, MemoryError> {
    if owner.idempotency_key.is_none() {
        return Ok(None);
    }
    let same_key = |e: &&Entry| e.owner.tenant == owner.tenant && e.owner.idempotency_key == owner.idempotency_key;
    match entries.values().find(same_key) {
        None => Ok(None),
        Some(entry) if entry.owner.request == owner.request => Ok(Some(entry.manifest.borrow().clone())),
        Some(_) => Err(MemoryError::KeyReused),
    }
}

#[cfg(test)]
mod tests;
