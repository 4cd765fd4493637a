//! The model owner's service, over HTTP. Every request goes through [`Service::send`], which puts
//! it into the ledger.

use gloo_net::http::{Method, RequestBuilder, Response};
use js_sys::{Reflect, Uint8Array};
use pema_core::{
    id::{ContentHash, ContentHasher, MemoryId},
    wire::{CreateMemory, MemoryManifest, ModelCard, Problem, WIRE_VERSION},
};
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStreamDefaultReader, Url};

use crate::{
    error::TabError,
    page::{Page, Recorded},
    protocol::LedgerKind,
};

/// What a request without a body carries, in the ledger.
const NOTHING: &str = "nothing but the request";

/// A service and the key for it.
#[derive(Clone)]
pub struct Service {
    page: Page,
    base: String,
    origin: String,
    key: Option<String>,
}

impl Service {
    /// The service at `url`.
    ///
    /// # Errors
    /// [`TabError::Url`].
    pub fn new(page: Page, url: &str, key: Option<String>) -> Result<Self, TabError> {
        let bad = |reason: &str| TabError::Url { url: url.to_owned(), reason: reason.to_owned() };
        let parsed = Url::new(url.trim()).map_err(|_| bad("it cannot be parsed"))?;
        if !matches!(parsed.protocol().as_str(), "http:" | "https:") {
            return Err(bad("it must begin with http:// or https://"));
        }
        if !parsed.username().is_empty() || !parsed.search().is_empty() {
            return Err(bad("put the key into its own field"));
        }
        let base = format!("{}{}", parsed.origin(), parsed.pathname().trim_end_matches('/'));
        let key = key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        Ok(Self { page, base, origin: parsed.origin(), key })
    }

    /// The service's origin, for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// URL of the generation stream.
    pub fn stream_url(&self) -> String {
        format!("{}/v1/generate", self.base.replacen("http", "ws", 1))
    }

    /// The key, for the generation stream's subprotocol.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// `GET /v1/model`.
    ///
    /// # Errors
    /// [`TabError::NotPema`] when something else answers.
    pub async fn model(&self) -> Result<ModelCard, TabError> {
        let (response, recorded) = self.get("/v1/model", 0).await?;
        let card: ModelCard = self.json(response, recorded).await?;
        if card.wire_version == WIRE_VERSION {
            Ok(card)
        } else {
            Err(self.not_pema(&format!("it speaks version {}", card.wire_version)))
        }
    }

    /// `POST /v1/memories`; the key makes a repeated call harmless.
    ///
    /// # Errors
    /// What the service refuses.
    pub async fn create_memory(&self, body: &str, request: &CreateMemory, key: &str) -> Result<MemoryManifest, TabError> {
        let tokens: usize = request.prompts.iter().map(|prompt| prompt.tokens.len()).sum();
        let carried = format!("{} prompts, {tokens} prompt tokens, step budgets", request.prompts.len());
        let builder =
            self.request(Method::POST, "/v1/memories").header("Content-Type", "application/json").header("Idempotency-Key", key);
        let recorded = self.page.record("POST /v1/memories".into(), LedgerKind::Prompts, carried, body.len() as u64);
        let (response, recorded) = self.send(builder, Some(body), recorded).await?;
        self.json(response, recorded).await
    }

    /// `GET /v1/memories/{id}`.
    ///
    /// # Errors
    /// What the service refuses.
    pub async fn memory(&self, id: &MemoryId) -> Result<MemoryManifest, TabError> {
        let (response, recorded) = self.get(&format!("/v1/memories/{id}"), 0).await?;
        self.json(response, recorded).await
    }

    /// `DELETE /v1/memories/{id}`.
    ///
    /// # Errors
    /// What the service refuses.
    pub async fn forget_memory(&self, id: &MemoryId) -> Result<(), TabError> {
        let path = format!("/v1/memories/{id}");
        let recorded = self.page.record(format!("DELETE {path}"), LedgerKind::Request, NOTHING.into(), 0);
        self.send(self.request(Method::DELETE, &path), None, recorded).await.map(drop)
    }

    /// Downloads what follows `have` of the file at `path`, piece by piece; all of it together
    /// must hash to `sha256`.
    ///
    /// # Errors
    /// [`TabError::Altered`] when it does not, [`TabError::Stopped`] when the user wants so.
    pub async fn download(
        &self,
        path: &str,
        have: &[u8],
        sha256: &ContentHash,
        mut piece: impl FnMut(&[u8]) -> Result<(), TabError>,
    ) -> Result<(), TabError> {
        let altered = || TabError::Altered { what: path.to_owned() };
        let (response, mut recorded) = self.get(path, have.len()).await?;
        if !have.is_empty() && response.status() != 206 {
            return Err(altered());
        }
        let reader: ReadableStreamDefaultReader = response.body().ok_or_else(altered)?.get_reader().unchecked_into();
        let mut hasher = ContentHasher::default();
        hasher.update(have);
        let result = loop {
            if self.page.stop_requested() {
                break Err(TabError::Stopped);
            }
            match self.next_piece(&reader).await {
                Ok(Some(bytes)) => {
                    recorded.received(bytes.len());
                    hasher.update(&bytes);
                    if let Err(error) = piece(&bytes) {
                        break Err(error);
                    }
                }
                Ok(None) if hasher.finish() == *sha256 => break Ok(()),
                Ok(None) => break Err(altered()),
                Err(error) => break Err(error),
            }
        };
        recorded.show();
        if result.is_err() {
            // The rest is not wanted; a stream that is broken already has nothing to cancel.
            let _ = JsFuture::from(reader.cancel()).await;
        }
        result
    }

    async fn next_piece(&self, reader: &ReadableStreamDefaultReader) -> Result<Option<Vec<u8>>, TabError> {
        let read = JsFuture::from(reader.read()).await.map_err(|_| self.unreachable())?;
        let field = |name: &str| Reflect::get(&read, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED);
        Ok(match field("value").dyn_into::<Uint8Array>() {
            Ok(bytes) => Some(bytes.to_vec()),
            Err(_) => None,
        })
    }

    /// `GET path`, without its first `skip` bytes.
    async fn get(&self, path: &str, skip: usize) -> Result<(Response, Recorded), TabError> {
        let recorded = self.page.record(format!("GET {path}"), LedgerKind::Request, NOTHING.into(), 0);
        let mut builder = self.request(Method::GET, path);
        if skip > 0 {
            builder = builder.header("Range", &format!("bytes={skip}-"));
        }
        self.send(builder, None, recorded).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let builder = RequestBuilder::new(&format!("{}{path}", self.base))
            .method(method)
            // What is kept is kept in the origin's storage, where its hash is checked.
            .cache(web_sys::RequestCache::NoStore)
            .credentials(web_sys::RequestCredentials::Omit)
            .referrer_policy(web_sys::ReferrerPolicy::NoReferrer)
            .redirect(web_sys::RequestRedirect::Error);
        match &self.key {
            Some(key) => builder.header("Authorization", &format!("Bearer {key}")),
            None => builder,
        }
    }

    async fn send(
        &self,
        builder: RequestBuilder,
        body: Option<&str>,
        mut recorded: Recorded,
    ) -> Result<(Response, Recorded), TabError> {
        let request = match body {
            Some(body) => builder.body(body),
            None => builder.build(),
        };
        let request = request.map_err(|error| TabError::Setting(error.to_string()))?;
        let response = request.send().await.map_err(|_| self.unreachable())?;
        recorded.status(response.status());
        if response.ok() {
            return Ok((response, recorded));
        }
        let text = response.text().await.map_err(|_| self.unreachable())?;
        recorded.received(text.len());
        recorded.show();
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => Err(TabError::Refused(problem)),
            Err(_) => Err(self.not_pema(&format!("it answered with status {}", response.status()))),
        }
    }

    async fn json<T: DeserializeOwned>(&self, response: Response, mut recorded: Recorded) -> Result<T, TabError> {
        let text = response.text().await.map_err(|_| self.unreachable())?;
        recorded.received(text.len());
        recorded.show();
        serde_json::from_str(&text).map_err(|error| self.not_pema(&error.to_string()))
    }

    fn unreachable(&self) -> TabError {
        TabError::Unreachable { origin: self.origin.clone() }
    }

    fn not_pema(&self, detail: &str) -> TabError {
        TabError::NotPema { origin: self.origin.clone(), detail: detail.to_owned() }
    }
}
