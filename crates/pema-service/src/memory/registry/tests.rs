use std::path::Path;
use std::sync::atomic::Ordering;

use pema_core::id::TokenId;
use pema_core::memory::Shard;
use pema_core::wire::{MemoryKind, PromptSpec};
use tokio::sync::Semaphore;

use super::*;
use crate::engine::fake::FakeEngine;
use crate::memory::DiskStore;

/// Large enough that 16 rows of two prompts fill a shard.
const HIDDEN: usize = 60_000;

fn engine(answers: usize) -> FakeEngine {
    FakeEngine { gate: Arc::new(Semaphore::new(answers)), ..FakeEngine::new(HIDDEN, 8) }
}

fn request(prompts: u32) -> (CreateMemory, u64) {
    let prompt = |i| PromptSpec { tokens: vec![TokenId(i % 8), TokenId(1)], steps: 16 };
    (CreateMemory { kind: MemoryKind::Steps, prompts: (0..prompts).map(prompt).collect() }, u64::from(prompts) * 16)
}

fn open(engine: &FakeEngine, dir: &Path, model: &[u8]) -> (Memories, CancellationToken) {
    let stop = CancellationToken::new();
    let store = Arc::new(DiskStore::open(dir).unwrap());
    let memories = Memories::open(Arc::new(engine.clone()), store, ContentHash::of(model), stop.clone()).unwrap();
    (memories, stop)
}

fn alice() -> Tenant {
    Tenant("alice".to_owned())
}

async fn until(memories: &Memories, id: &MemoryId, done: impl FnMut(&MemoryManifest) -> bool) -> MemoryManifest {
    let mut manifest = memories.watch(&alice(), id.as_str()).unwrap();
    manifest.wait_for(done).await.unwrap().clone()
}

#[tokio::test]
async fn an_unfinished_memory_goes_on_from_its_last_shard() {
    let dir = tempfile::tempdir().unwrap();
    let first = engine(3);
    let (memories, stop) = open(&first, dir.path(), b"model");
    let (request, rows) = request(6);
    let (manifest, _) = memories.create(alice(), Some("k".to_owned()), request.clone(), rows).await.unwrap();
    let id = manifest.id;
    until(&memories, &id, |m| m.shards.len() == 1 && m.rows_done == 48).await;
    // As a crash would: no grace, no last words.
    memories.inner.entries.read().unwrap()[&id].cancel.cancel();
    stop.cancel();
    memories.finished().await;
    drop(memories);

    let second = engine(Semaphore::MAX_PERMITS);
    let (memories, _stop) = open(&second, dir.path(), b"model");
    let manifest = until(&memories, &id, |m| m.state.is_final()).await;
    assert_eq!((manifest.state, manifest.rows_done, manifest.shards.len()), (MemoryState::Done, 96, 3));
    // The first shard's two prompts are not asked for again.
    assert_eq!(second.asked.load(Ordering::SeqCst), 4);
    let mut prompts = Vec::new();
    for entry in &manifest.shards {
        let (bytes, _) = memories.shard(&alice(), id.as_str(), entry.index).await.unwrap();
        prompts.extend(Shard::open(&bytes, entry, HIDDEN).unwrap().prompt);
    }
    prompts.dedup();
    assert_eq!(prompts, [0, 1, 2, 3, 4, 5]);
    let (again, new) = memories.create(alice(), Some("k".to_owned()), request, rows).await.unwrap();
    assert_eq!((again.id, new), (id, false));
}

#[tokio::test]
async fn an_unfinished_memory_of_another_model_fails_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (memories, stop) = open(&engine(0), dir.path(), b"model");
    let (request, rows) = request(1);
    let (manifest, _) = memories.create(alice(), None, request, rows).await.unwrap();
    memories.inner.entries.read().unwrap()[&manifest.id].cancel.cancel();
    stop.cancel();
    memories.finished().await;

    let (memories, _stop) = open(&engine(0), dir.path(), b"another model");
    let manifest = until(&memories, &manifest.id, |m| m.state.is_final()).await;
    assert!(matches!(manifest.state, MemoryState::Failed { detail } if detail.contains("another model")));
}

#[tokio::test]
async fn a_deleted_memory_stops_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (memories, stop) = open(&engine(1), dir.path(), b"model");
    let (request, rows) = request(4);
    let (manifest, _) = memories.create(alice(), None, request, rows).await.unwrap();
    until(&memories, &manifest.id, |m| m.rows_done == 16).await;
    let bob = Tenant("bob".to_owned());
    assert!(matches!(memories.delete(&bob, manifest.id.as_str()).await, Err(MemoryError::NotFound(_))));
    memories.delete(&alice(), manifest.id.as_str()).await.unwrap();
    assert!(memories.watch(&alice(), manifest.id.as_str()).is_err());
    stop.cancel();
    memories.finished().await;
    assert_eq!(std::fs::read_dir(dir.path().join("memories")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_one_request_of_one_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let (memories, _stop) = open(&engine(0), dir.path(), b"model");
    let key = || Some("key".to_owned());
    let ((one, rows), (two, more)) = (request(1), request(2));
    let (first, new) = memories.create(alice(), key(), one.clone(), rows).await.unwrap();
    assert!(new);
    let (same, new) = memories.create(alice(), key(), one.clone(), rows).await.unwrap();
    assert_eq!((same.id, new), (first.id.clone(), false));
    assert!(matches!(memories.create(alice(), key(), two, more).await, Err(MemoryError::KeyReused)));
    let (other, new) = memories.create(Tenant("bob".to_owned()), key(), one, rows).await.unwrap();
    assert!(new && other.id != first.id);
}

#[tokio::test]
async fn a_memory_that_failed_is_made_anew_under_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(0);
    let (memories, _stop) = open(&engine, dir.path(), b"model");
    let (request, rows) = request(1);
    let create = || memories.create(alice(), Some("key".to_owned()), request.clone(), rows);
    let (first, _) = create().await.unwrap();
    // Whoever waits for the engine hears that it is gone.
    engine.gate.close();
    until(&memories, &first.id, |m| matches!(m.state, MemoryState::Failed { .. })).await;
    let (second, new) = create().await.unwrap();
    assert!(new && second.id != first.id);
    assert!(memories.watch(&alice(), first.id.as_str()).is_err());
    assert_eq!(std::fs::read_dir(dir.path().join("memories")).unwrap().count(), 1);
}
