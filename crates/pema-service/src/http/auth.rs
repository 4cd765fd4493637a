//! API keys: each is a tenant.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pema_core::id::ContentHash;
use pema_core::wire::KEY_SUBPROTOCOL_PREFIX;
use subtle::ConstantTimeEq;

use super::error::ApiError;
use super::state::AppState;
use crate::memory::Tenant;

/// The keys that a service knows, as hashes. None: everyone is the same tenant, which
/// [`crate::Server`] allows on loopback alone.
pub(crate) struct Keys(Vec<Tenant>);

impl Keys {
    pub(crate) fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| tenant(key)).collect())
    }

    /// Whether requests need a key.
    pub(super) fn are_asked_for(&self) -> bool {
        !self.0.is_empty()
    }

    fn authenticate(&self, headers: &HeaderMap) -> Result<Tenant, ApiError> {
        if !self.are_asked_for() {
            return Ok(Tenant("loopback".to_owned()));
        }
        let given = tenant(&presented(headers).ok_or(ApiError::MissingKey)?);
        // Hashes are compared, all of them, each in constant time.
        let same = |known: &&Tenant| bool::from(known.0.as_bytes().ct_eq(given.0.as_bytes()));
        #[expect(clippy::double_ended_iterator_last, reason = "from the back it would stop at the first match")]
        let found = self.0.iter().filter(same).last();
        found.cloned().ok_or(ApiError::UnknownKey)
    }
}

fn tenant(key: &str) -> Tenant {
    Tenant(ContentHash::of(key.as_bytes()).as_str().to_owned())
}

/// The key in `Authorization`, or in the WebSocket's subprotocols.
fn presented(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| key.trim().to_owned());
    }
    let protocols = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let key = protocols.flat_map(|list| list.split(',')).find_map(|p| p.trim().strip_prefix(KEY_SUBPROTOCOL_PREFIX))?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(key).ok()?).ok()
}

impl FromRequestParts<AppState> for Tenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        state.keys.authenticate(&parts.headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn a_key_is_a_tenant_by_header_or_by_subprotocol() {
        let keys = Keys::new(&["one".to_owned(), "two".to_owned()]);
        let one = keys.authenticate(&headers("authorization", "Bearer one")).unwrap();
        let two = keys.authenticate(&headers("authorization", "bearer two")).unwrap();
        assert_ne!(one, two);
        let protocols = format!("pema.v1, pema.key.{}", URL_SAFE_NO_PAD.encode("two"));
        assert_eq!(keys.authenticate(&headers("sec-websocket-protocol", &protocols)).unwrap(), two);
        let refused = |headers: HeaderMap| keys.authenticate(&headers).unwrap_err().to_problem().kind;
        assert_eq!(refused(headers("authorization", "Bearer on")), "key-unknown");
        assert_eq!(refused(headers("authorization", "Basic one")), "key-missing");
        assert_eq!(refused(HeaderMap::new()), "key-missing");
    }
}
