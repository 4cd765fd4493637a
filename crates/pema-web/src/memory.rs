//! The external memory: extracted by the service, downloaded shard by shard, joined here.
//!
//! A memory is stored under the hash of what was asked for, so the same data finds its shards
//! again, after a reload too.

use std::sync::Arc;

use pema_adapter::{AdapterConfig, Head, HostRows, MemoryBuilder};
use pema_core::{
    align::Contexts,
    id::{ContentHash, MemoryId},
    memory::{FinishedShard, Shard, row_bytes},
    wire::{CreateMemory, MemoryManifest, MemoryState, ModelCard, ShardEntry},
};
use serde::Serialize;

use crate::{
    connect::Connection,
    data::Data,
    error::TabError,
    page::Page,
    protocol::{Event, MemorySummary, Stage},
    service::Service,
    session::State,
    storage::Store,
};

/// Pause between two looks at a running extraction.
const POLL_MILLISECONDS: u32 = 400;
/// Tries, each after a pause twice as long, before a silent service is given up: 15 s in all.
const RETRIES: u32 = 4;
/// The first of those pauses.
const RETRY_MILLISECONDS: u32 = 1000;

/// Rows joined with their targets, in host memory.
pub(crate) type Rows = pema_adapter::Memory<Arc<HostRows>>;

/// A memory and what it was asked for by.
pub(crate) struct Memory {
    /// Names the request.
    pub key: String,
    pub rows: Rows,
    /// 1 for the model's own contexts.
    pub round: u32,
}

/// Has the memory of the loaded data extracted, downloaded and joined.
pub(crate) async fn download(state: &mut State, page: &Page, contexts: Contexts) -> Result<(), TabError> {
    let store = state.store()?;
    let (connection, data) = (state.connection()?, state.data()?);
    let card = &connection.card;
    let request = data.prepared.request(contexts, card)?;
    let body = serde_json::to_string(&request).map_err(|error| TabError::Setting(error.to_string()))?;
    let (bytes, most) = (body.len(), card.limits.max_body_bytes);
    if bytes as u64 > most {
        return Err(TabError::TooManyBytes { bytes, most });
    }
    let key = ContentHash::of(format!("{}\n{body}", card.model).as_bytes()).as_str()[..32].to_owned();
    let job = Job::new(state, page, &store, contexts, &key)?;
    let (manifest, cached) = match job.stored().await? {
        Some(manifest) => (manifest, true),
        None => (job.fetch(&body, &request, &key).await?, false),
    };
    let rows = job.join(&manifest, data, false).await?;
    page.post(&Event::MemoryReady { memory: summary(&rows, &manifest, 1, cached) });
    #[cfg(feature = "planted-leaks")]
    crate::leak::after_memory(&connection.service, data).await;
    state.memory = Some(Memory { key, rows, round: 1 });
    Ok(())
}

/// The memory's rows with their pairs, for an adapter of these settings. If it needs the model's free runs, which
/// are left out at first, they are joined anew from storage.
pub(crate) async fn paired(state: &mut State, page: &Page, config: &AdapterConfig, head: &Head) -> Result<Rows, TabError> {
    let store = state.store()?;
    let Memory { key, rows, round } = state.memory.as_ref().ok_or(NO_MEMORY)?;
    if config.needs_runs() && !rows.has_runs() {
        let job = Job::new(state, page, &store, rows.contexts(), key)?;
        let manifest = job.stored().await?.ok_or(NOT_STORED)?;
        let rows = job.join(&manifest, state.data()?, true).await?;
        state.memory = Some(Memory { key: key.clone(), rows, round: *round });
    }
    let Memory { rows, .. } = state.memory.as_ref().ok_or(NO_MEMORY)?;
    Ok(rows.clone().pair(config.pairing, head).await?)
}

/// A memory, for the page.
pub(crate) fn summary(rows: &Rows, manifest: &MemoryManifest, round: u32, cached: bool) -> MemorySummary {
    MemorySummary {
        contexts: rows.contexts().into(),
        rows: rows.rows() as f64,
        train_rows: rows.train().len() as u32,
        validation_rows: rows.valid().len() as u32,
        bytes: manifest.shards.iter().map(|shard| shard.bytes).sum::<u64>() as f64,
        shards: manifest.shards.len() as u32,
        round,
        cached,
    }
}

pub(crate) const NOT_STORED: TabError = TabError::NotYet("the memory is not in storage any more: download it again");
pub(crate) const NO_MEMORY: TabError = TabError::NotYet("there is no memory yet: download it first");

/// One memory on its way.
pub(crate) struct Job<'a> {
    page: &'a Page,
    service: &'a Service,
    store: &'a Store,
    card: &'a ModelCard,
    contexts: Contexts,
    folder: String,
}

impl<'a> Job<'a> {
    /// A memory of the loaded data under this key.
    pub fn new(state: &'a State, page: &'a Page, store: &'a Store, contexts: Contexts, key: &str) -> Result<Self, TabError> {
        let Connection { service, card, .. } = state.connection()?;
        Ok(Self { page, service, store, card, contexts, folder: format!("memories/{key}") })
    }

    fn shard_path(&self, entry: &ShardEntry) -> String {
        format!("{}/{}", self.folder, entry.sha256)
    }

    fn manifest_path(&self) -> String {
        format!("{}/manifest.json", self.folder)
    }

    /// The manifest of a memory that is in storage as a whole.
    pub async fn stored(&self) -> Result<Option<MemoryManifest>, TabError> {
        let Some(bytes) = self.store.read(&self.manifest_path()).await? else { return Ok(None) };
        let Ok(manifest) = serde_json::from_slice::<MemoryManifest>(&bytes) else { return Ok(None) };
        for entry in &manifest.shards {
            if !self.has(entry).await? {
                return Ok(None);
            }
        }
        Ok(Some(manifest))
    }

    async fn has(&self, entry: &ShardEntry) -> Result<bool, TabError> {
        Ok(self.store.size(&self.shard_path(entry)).await? == Some(entry.bytes))
    }

    /// Waits for the service's shards and downloads each as it appears.
    async fn fetch(&self, body: &str, request: &CreateMemory, key: &str) -> Result<MemoryManifest, TabError> {
        let mut manifest = self.patiently(async || self.service.create_memory(body, request, key).await).await?;
        loop {
            self.check(&manifest)?;
            self.fetch_shards(&manifest).await?;
            match &manifest.state {
                MemoryState::Done => break,
                MemoryState::Failed { detail } => return Err(TabError::ExtractionFailed(detail.clone())),
                MemoryState::Queued | MemoryState::Running => {}
            }
            self.page.sleep(POLL_MILLISECONDS).await;
            self.page.check_stop()?;
            manifest = self.patiently(async || self.service.memory(&manifest.id).await).await?;
        }
        self.keep_manifest(&manifest).await?;
        // Everything is here, so the service need not keep the prompts.
        self.patiently(async || self.service.forget_memory(&manifest.id).await).await?;
        Ok(manifest)
    }

    fn check(&self, manifest: &MemoryManifest) -> Result<(), TabError> {
        let of_model = manifest.model == self.card.model && manifest.hidden_size == self.card.hidden_size;
        let detail = match of_model && manifest.kind == self.contexts.kind() {
            true => return Ok(()),
            false if of_model => "its memory is of another kind than the one asked for".to_owned(),
            false => "its memory is of another model than its model card: connect again".to_owned(),
        };
        Err(TabError::NotPema { origin: self.service.origin().to_owned(), detail })
    }

    async fn fetch_shards(&self, manifest: &MemoryManifest) -> Result<(), TabError> {
        self.page.progress(Stage::Extraction, manifest.rows_done, manifest.rows, "rows");
        let total = manifest.rows * row_bytes(self.card.hidden_size as usize) as u64;
        let mut done = 0;
        for entry in &manifest.shards {
            if !self.has(entry).await? {
                self.patiently(async || self.fetch_shard(&manifest.id, entry).await).await?;
            }
            done += entry.bytes;
            self.page.progress(Stage::Shards, done, total.max(done), "bytes");
        }
        Ok(())
    }

    async fn fetch_shard(&self, id: &MemoryId, entry: &ShardEntry) -> Result<(), TabError> {
        let mut bytes = Vec::with_capacity(entry.bytes as usize);
        let path = format!("/v1/memories/{id}/shards/{}", entry.index);
        self.service
            .download(&path, &[], &entry.sha256, |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })
            .await?;
        self.store.write(&self.shard_path(entry), &bytes).await
    }

    /// Tries again while the service is silent.
    async fn patiently<T>(&self, call: impl AsyncFn() -> Result<T, TabError>) -> Result<T, TabError> {
        for attempt in 0..RETRIES {
            match call().await {
                Err(TabError::Unreachable { .. }) => self.page.sleep(RETRY_MILLISECONDS << attempt).await,
                result => return result,
            }
            self.page.check_stop()?;
        }
        call().await
    }

    /// Stores a shard that was made here, if there is one.
    pub async fn keep(&self, shard: Option<FinishedShard>) -> Result<(), TabError> {
        let Some((entry, bytes)) = shard else { return Ok(()) };
        self.store.write(&self.shard_path(&entry), &bytes).await
    }

    /// Says that all shards are there.
    pub async fn keep_manifest(&self, manifest: &impl Serialize) -> Result<(), TabError> {
        let bytes = serde_json::to_vec(manifest).map_err(|error| TabError::Setting(error.to_string()))?;
        self.store.write(&self.manifest_path(), &bytes).await
    }

    /// Reads and checks a shard; an altered one is removed.
    pub async fn shard(&self, entry: &ShardEntry) -> Result<Shard, TabError> {
        let path = self.shard_path(entry);
        let bytes = self.store.read(&path).await?.unwrap_or_default();
        match Shard::open(&bytes, entry, self.card.hidden_size as usize) {
            Ok(shard) => Ok(shard),
            Err(error) => {
                self.store.remove(&path).await?;
                Err(error.into())
            }
        }
    }

    /// Reads every shard and joins it, the model's free runs too if they are wanted.
    pub async fn join(&self, manifest: &MemoryManifest, data: &Data, with_runs: bool) -> Result<Rows, TabError> {
        let d = self.card.hidden_size as usize;
        let mut builder = MemoryBuilder::new(&data.prepared, self.contexts, d, data.validation_from);
        if with_runs {
            builder = builder.keep_runs();
        }
        for entry in &manifest.shards {
            builder.add(entry.index, &self.shard(entry).await?)?;
            self.page.progress(Stage::Join, builder.pairs() as u64, data.prepared.targets.pairs() as u64, "pairs");
        }
        Ok(builder.finish()?)
    }
}
