//! `/healthz`, `/readyz`, `/metrics`.

use axum::extract::State;
use axum::http::StatusCode;

use super::state::AppState;
use crate::memory::Tenant;
use crate::observe;

/// The process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The service takes work: true from start-up, whose proof comes before the port is open, to
/// shut-down.
pub(super) async fn readyz(State(state): State<AppState>) -> (StatusCode, &'static str) {
    if state.stop.is_cancelled() { (StatusCode::SERVICE_UNAVAILABLE, "stopping\n") } else { (StatusCode::OK, "ready\n") }
}

/// Prometheus' text format, for holders of a key.
pub(super) async fn metrics(_: Tenant) -> String {
    observe::recorder().map(metrics_exporter_prometheus::PrometheusHandle::render).unwrap_or_default()
}
