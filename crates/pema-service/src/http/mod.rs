//! The wire of `docs/wire.md` over HTTP: routes, and the layers around them.

mod auth;
mod error;
mod files;
mod generate;
mod health;
mod host;
mod json;
mod memories;
mod model;
mod origin;
mod state;

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use tower::ServiceBuilder;
use tower_http::timeout::RequestBodyTimeoutLayer;
use tower_http::trace::TraceLayer;

pub(crate) use auth::Keys;
pub(crate) use origin::{BadOrigin, Origins};
pub(crate) use state::AppState;

/// Longest pause while a request's body arrives.
const BODY_PAUSE: Duration = Duration::from_secs(30);

/// All routes.
pub(crate) fn router(state: AppState) -> Router {
    let body_limit = usize::try_from(state.model.card.limits.max_body_bytes).unwrap_or(usize::MAX);
    let v1 = Router::new()
        .route("/model", get(model::card))
        .route("/tokenizer.json", get(model::tokenizer))
        .route("/head", get(model::head))
        .route("/head/int8", get(model::head_int8))
        .route("/memories", axum::routing::post(memories::create))
        .route("/memories/{id}", get(memories::manifest).delete(memories::delete))
        .route("/memories/{id}/events", get(memories::events))
        .route("/memories/{id}/shards/{index}", get(memories::shard))
        .route("/generate", get(generate::upgrade));
    // In the order in which a request meets them. TraceLayer logs method, path and status; no
    // body is ever logged, because prompts are in them.
    let layers = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(axum::middleware::from_fn_with_state(state.clone(), host::check))
        .layer(state.origins.cors())
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(DefaultBodyLimit::max(body_limit));
    Router::new()
        .nest("/v1", v1)
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(layers)
        .with_state(state)
}
