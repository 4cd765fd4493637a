//! `GET /v1/model`, `/v1/tokenizer.json`, `/v1/head`, `/v1/head/int8`.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use pema_core::wire::{Artifact, ModelCard};

use super::error::ApiError;
use super::files::{Content, Immutable};
use super::state::AppState;
use crate::memory::Tenant;

/// The model card.
pub(super) async fn card(State(state): State<AppState>, _: Tenant) -> Json<ModelCard> {
    Json(state.model.card.clone())
}

/// The tokenizer.
pub(super) async fn tokenizer(State(state): State<AppState>, _: Tenant, headers: HeaderMap) -> Result<Response, ApiError> {
    let Artifact { sha256, bytes } = &state.model.card.tokenizer;
    let content = Content::File(&state.model.tokenizer);
    Immutable { content, content_type: "application/json", sha256, length: *bytes }.respond(&headers).await
}

/// The LM head.
pub(super) async fn head(State(state): State<AppState>, _: Tenant, headers: HeaderMap) -> Result<Response, ApiError> {
    let Artifact { sha256, bytes } = &state.model.card.head;
    let content = Content::File(&state.model.head);
    Immutable { content, content_type: "application/octet-stream", sha256, length: *bytes }.respond(&headers).await
}

/// The LM head in int8.
pub(super) async fn head_int8(State(state): State<AppState>, _: Tenant, headers: HeaderMap) -> Result<Response, ApiError> {
    let model = &state.model;
    let (Some(Artifact { sha256, bytes }), Some(path)) = (&model.card.head_int8, &model.head_int8) else {
        return Err(ApiError::NoInt8Head);
    };
    let content = Content::File(path);
    Immutable { content, content_type: "application/octet-stream", sha256, length: *bytes }.respond(&headers).await
}
