//! `/v1/memories`.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use pema_core::wire::{CreateMemory, MemoryManifest};

use super::error::ApiError;
use super::files::{Content, Immutable};
use super::json::JsonBody;
use super::origin::IDEMPOTENCY_KEY;
use super::state::AppState;
use crate::memory::{Tenant, check_request};

/// Shortest time between two progress events.
const EVENT_PAUSE: Duration = Duration::from_millis(100);
/// Longest idempotency key.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// Starts a memory: 201, or 200 for one that the same `Idempotency-Key` has started before.
pub(super) async fn create(
    State(state): State<AppState>,
    tenant: Tenant,
    headers: HeaderMap,
    JsonBody(request): JsonBody<CreateMemory>,
) -> Result<Response, ApiError> {
    let rows = check_request(&request, &state.model.card)?;
    let key = idempotency_key(&headers)?;
    let (manifest, new) = state.memories.create(tenant, key, request, rows).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/v1/memories/{}", manifest.id);
    Ok((status, [(LOCATION, location)], Json(manifest)).into_response())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_IDEMPOTENCY_KEY => Ok(Some(key.to_owned())),
        _ => Err(ApiError::Malformed(format!("Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} ASCII characters"))),
    }
}

/// How far a memory is.
pub(super) async fn manifest(
    State(state): State<AppState>,
    tenant: Tenant,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<MemoryManifest>, ApiError> {
    let Path(id) = id?;
    Ok(Json(state.memories.watch(&tenant, &id)?.borrow().clone()))
}

/// The manifest now and at every change, until it is final.
pub(super) async fn events(
    State(state): State<AppState>,
    tenant: Tenant,
    id: Result<Path<String>, PathRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let Path(id) = id?;
    let mut manifest = state.memories.watch(&tenant, &id)?;
    manifest.mark_changed();
    let changes = futures::stream::unfold(Some((manifest, false)), |state| async {
        let (mut manifest, later) = state?;
        if later && !manifest.borrow().state.is_final() {
            tokio::time::sleep(EVENT_PAUSE).await;
        }
        // The sender is dropped when the memory is deleted.
        manifest.changed().await.ok()?;
        let now = manifest.borrow_and_update().clone();
        let next = (!now.state.is_final()).then_some((manifest, true));
        Some((now, next))
    });
    let stop = state.stop.clone().cancelled_owned();
    let events = changes.filter_map(|manifest| async move { Event::default().json_data(&manifest).ok().map(Ok) });
    Ok(Sse::new(events.take_until(stop)).keep_alive(KeepAlive::default()))
}

/// One shard.
pub(super) async fn shard(
    State(state): State<AppState>,
    tenant: Tenant,
    path: Result<Path<(String, u32)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path((id, index)) = path?;
    let (bytes, sha256) = state.memories.shard(&tenant, &id, index).await?;
    let length = bytes.len() as u64;
    let content = Content::Bytes(bytes);
    Immutable { content, content_type: "application/octet-stream", sha256: &sha256, length }.respond(&headers).await
}

/// Forgets a memory.
pub(super) async fn delete(
    State(state): State<AppState>,
    tenant: Tenant,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path(id) = id?;
    state.memories.delete(&tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
