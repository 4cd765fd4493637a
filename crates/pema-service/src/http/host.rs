//! Under which names a service without keys answers.
//!
//! It is for this machine alone. A browser here may be led to it under another name, one that a page
//! elsewhere has pointed at loopback (DNS rebinding): to the browser the service is then that page's
//! own, and neither CORS nor the allow-list is asked.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::state::AppState;

/// Refuses requests under a name that is not this machine's, unless keys are asked for.
pub(super) async fn check(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    // HTTP/2 names the host in the request's target.
    let named = named.or(request.uri().authority().map(Authority::as_str)).unwrap_or_default();
    if state.keys.are_asked_for() || is_loopback(named) {
        return next.run(request).await;
    }
    ApiError::Host(named.to_owned()).into_response()
}

fn is_loopback(named: &str) -> bool {
    let Ok(authority) = named.parse::<Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_told_from_others() {
        for own in ["localhost", "LOCALHOST:8321", "127.0.0.1:8321", "127.1.2.3", "[::1]:8321", "[::1]"] {
            assert!(is_loopback(own), "{own}");
        }
        for other in ["", "evil.example", "localhost.evil.example:8321", "127.0.0.1.evil.example", "192.168.1.2", "a b"] {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
