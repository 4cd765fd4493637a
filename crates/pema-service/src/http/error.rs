//! Every failure as a problem (RFC 9457).

use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::http::header::{CONTENT_RANGE, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use pema_core::wire::{PROBLEM_CONTENT_TYPE, Problem};

use crate::engine::EngineError;
use crate::memory::{MemoryError, Rejection};
use crate::observe;

/// What a handler may fail with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("this service needs an API key, as `Authorization: Bearer KEY`: ask the model's owner for one")]
    MissingKey,
    #[error("the API key is not known here: check it, or ask the model's owner for another")]
    UnknownKey,
    #[error("pages from {0} may not open streams here: the model's owner can start the service with `--allow-origin {0}`")]
    Origin(String),
    #[error("this service has no key and answers this machine alone, not as {0:?}: use localhost, or start it with `--key`")]
    Host(String),
    #[error("there is nothing at {0}: check the service's address")]
    NoRoute(String),
    #[error("this service has no int8 head: download the f16 head instead")]
    NoInt8Head,
    #[error("{0} is not possible at {1}")]
    NoMethod(Method, String),
    #[error("the request is not what this call takes: {0}")]
    Malformed(String),
    #[error("the request is larger than the {0} bytes that this service takes: split it")]
    TooLarge(u64),
    #[error("the body must be JSON: send `Content-Type: application/json`")]
    NotJson,
    #[error("the range is outside the file's {0} bytes")]
    Range(u64),
    #[error("this call is a WebSocket of subprotocol `pema.v1`: {0}")]
    NoWebSocket(String),
    #[error(transparent)]
    Rejection(#[from] Rejection),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the service cannot read its own files: {0}")]
    Io(#[from] std::io::Error),
}

impl ApiError {
    fn describe(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MissingKey => (S::UNAUTHORIZED, "key-missing", "No API key"),
            Self::UnknownKey => (S::UNAUTHORIZED, "key-unknown", "Unknown API key"),
            Self::Origin(_) => (S::FORBIDDEN, "origin-not-allowed", "Origin not allowed"),
            Self::Host(_) => (S::MISDIRECTED_REQUEST, "host-not-local", "Not this machine's name"),
            Self::NoRoute(_) => (S::NOT_FOUND, "no-such-call", "No such call"),
            Self::NoInt8Head => (S::NOT_FOUND, "no-int8-head", "No int8 head"),
            Self::NoMethod(..) => (S::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::Malformed(_) => (S::BAD_REQUEST, "malformed", "Malformed request"),
            Self::TooLarge(_) => (S::PAYLOAD_TOO_LARGE, "body-too-large", "Request too large"),
            Self::NotJson => (S::UNSUPPORTED_MEDIA_TYPE, "not-json", "Not JSON"),
            Self::Range(_) => (S::RANGE_NOT_SATISFIABLE, "range-not-satisfiable", "Range not satisfiable"),
            Self::NoWebSocket(_) => (S::UPGRADE_REQUIRED, "websocket-required", "WebSocket required"),
            Self::Rejection(rejection) => (S::UNPROCESSABLE_ENTITY, rejection.kind(), "Request refused"),
            Self::Memory(MemoryError::NotFound(_)) => (S::NOT_FOUND, "memory-not-found", "No such memory"),
            Self::Memory(MemoryError::NoShard { .. }) => (S::NOT_FOUND, "shard-not-found", "No such shard"),
            Self::Memory(MemoryError::KeyReused) => (S::CONFLICT, "idempotency-key-reused", "Idempotency key reused"),
            Self::Engine(EngineError::Busy(_)) => (S::TOO_MANY_REQUESTS, "streams-busy", "Too many streams"),
            Self::Engine(EngineError::ContextFull(_)) => (S::UNPROCESSABLE_ENTITY, "context-full", "Context full"),
            Self::Engine(EngineError::NotStarted) => (S::CONFLICT, "not-started", "No prompt yet"),
            Self::Engine(EngineError::Gone) => (S::SERVICE_UNAVAILABLE, "engine-stopped", "Engine stopped"),
            Self::Engine(_) => (S::INTERNAL_SERVER_ERROR, "engine-failed", "Engine failed"),
            Self::Memory(MemoryError::Store(_)) | Self::Io(_) => (S::INTERNAL_SERVER_ERROR, "storage-failed", "Storage failed"),
        }
    }

    /// The failure as it goes over the wire.
    pub(crate) fn to_problem(&self) -> Problem {
        let (status, kind, title) = self.describe();
        observe::error(kind);
        let (kind, title) = (kind.to_owned(), title.to_owned());
        Problem { kind, title, status: status.as_u16(), detail: self.to_string() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.to_problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::error!(kind = problem.kind, detail = problem.detail, "a request failed");
        }
        let mut response = (status, axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_CONTENT_TYPE));
        match self {
            Self::MissingKey | Self::UnknownKey => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Range(length) => {
                if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
                    headers.insert(CONTENT_RANGE, value);
                }
            }
            _ => {}
        }
        response
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::MissingJsonContentType(_) => Self::NotJson,
            other => Self::Malformed(other.body_text()),
        }
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::Malformed(rejection.body_text())
    }
}

/// For paths that no route has.
pub(super) async fn no_such_route(uri: Uri) -> ApiError {
    ApiError::NoRoute(uri.path().to_owned())
}

/// For routes that have other methods.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    ApiError::NoMethod(method, uri.path().to_owned())
}
