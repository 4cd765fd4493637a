//! Which pages may call: one list for CORS and for WebSockets, which CORS does not cover.

use std::time::Duration;

use axum::http::header::{
    ACCEPT, ACCEPT_RANGES, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, LOCATION,
    ORIGIN, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::error::ApiError;

/// Header that makes a repeated `POST` harmless.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How long a browser may remember what it may do.
const PREFLIGHT_AGE: Duration = Duration::from_secs(600);

/// The allow-list.
pub(crate) struct Origins(Vec<HeaderValue>);

/// An origin that is none.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no origin: give scheme, host and port, such as http://localhost:5173, without a path")]
pub struct BadOrigin(String);

impl Origins {
    pub(crate) fn new(origins: &[String]) -> Result<Self, BadOrigin> {
        let parse = |origin: &String| {
            let text = origin.trim_end_matches('/');
            let host = text.split_once("://").map(|(_, host)| host);
            let value = HeaderValue::from_str(text).ok();
            match (host, value) {
                (Some(host), Some(value)) if !host.is_empty() && !host.contains('/') => Ok(value),
                _ => Err(BadOrigin(origin.clone())),
            }
        };
        Ok(Self(origins.iter().map(parse).collect::<Result<_, _>>()?))
    }

    /// The CORS layer; also answers Chrome's private network preflight, without which a public
    /// page may not reach a service on localhost.
    pub(crate) fn cors(&self) -> CorsLayer {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.0.clone()))
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers([ACCEPT, AUTHORIZATION, CONTENT_TYPE, IDEMPOTENCY_KEY, IF_NONE_MATCH, IF_RANGE, RANGE])
            .expose_headers([ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LOCATION])
            .allow_private_network(true)
            .max_age(PREFLIGHT_AGE)
    }

    /// Refuses a browser's request from a page that is not on the list. Programs send no origin.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        match headers.get(ORIGIN) {
            Some(origin) if !self.0.contains(origin) => {
                Err(ApiError::Origin(String::from_utf8_lossy(origin.as_bytes()).into_owned()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_scheme_host_and_port() {
        let list = |origin: &str| Origins::new(&[origin.to_owned()]);
        let allowed = list("http://localhost:5173/").unwrap();
        let from = |origin: &str| HeaderMap::from_iter([(ORIGIN, HeaderValue::from_str(origin).unwrap())]);
        assert!(allowed.check(&from("http://localhost:5173")).is_ok());
        assert!(allowed.check(&from("http://localhost:5174")).is_err());
        assert!(allowed.check(&HeaderMap::new()).is_ok());
        for bad in ["*", "localhost:5173", "https://", "https://a.example/page", ""] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }
}
