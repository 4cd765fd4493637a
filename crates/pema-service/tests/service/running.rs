//! A real service with the real default model, and a client that sees raw answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use pema_core::id::TokenId;
use pema_core::wire::frame::StepFrame;
use pema_core::wire::{ClientMessage, CreateMemory, MemoryKind, MemoryManifest, Problem, PromptSpec};
use pema_service::config::{LimitsConfig, ModelConfig, ServeConfig};
use pema_service::model::{DEFAULT_MODEL_FILE, ModelSource, default_cache_dir};
use pema_service::{CancellationToken, Server};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use ureq::http::Response;

pub const ORIGIN: &str = "http://localhost:5173";
pub const ALICE: &str = "alice's key";
pub const BOB: &str = "bob's key";

/// The default model's file: `PEMA_MODEL`, else where `cargo xtask setup` puts it.
pub fn model_file() -> PathBuf {
    let path =
        std::env::var_os("PEMA_MODEL").map_or_else(|| default_cache_dir().join("models").join(DEFAULT_MODEL_FILE), PathBuf::from);
    assert!(path.is_file(), "no model at {}: run `cargo xtask setup`, or set PEMA_MODEL", path.display());
    path
}

/// A running service.
pub struct Service {
    pub runtime: Runtime,
    pub base: String,
    pub stop: CancellationToken,
    pub running: Option<JoinHandle<()>>,
}

pub fn config(data_dir: &Path) -> ServeConfig {
    ServeConfig {
        model: ModelConfig { context_length: 512, parallel: 4, ..ModelConfig::new(ModelSource::File(model_file())) },
        host: [127, 0, 0, 1].into(),
        port: 0,
        allow_origins: vec![ORIGIN.to_owned()],
        keys: vec![ALICE.to_owned(), BOB.to_owned()],
        data_dir: data_dir.to_owned(),
        limits: LimitsConfig {
            max_streams: 2,
            max_prompts: 100,
            max_rows: 10_000,
            max_body_bytes: 100_000,
            ..LimitsConfig::default()
        },
    }
}

impl Service {
    pub fn start(config: &ServeConfig) -> Self {
        let runtime = Runtime::new().unwrap();
        let stop = CancellationToken::new();
        let server = runtime.block_on(Server::start(config, stop.clone())).unwrap();
        let base = format!("http://{}", server.local_addr().unwrap());
        let running = Some(runtime.spawn(async { server.run().await.unwrap() }));
        Self { runtime, base, stop, running }
    }

    /// Stops it and waits until it has stopped.
    pub fn stop(&mut self) {
        self.stop.cancel();
        let running = self.running.take().unwrap();
        self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), running).await }).unwrap().unwrap();
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, None)
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send("POST", path, headers, Some(body))
    }

    /// A request with Alice's key, unless the headers say otherwise.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {ALICE}"));
        }
        if body.is_some() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = match body {
            Some(body) => agent.run(request.body(body.to_owned()).unwrap()),
            None => agent.run(request.body(()).unwrap()),
        };
        let (parts, mut body) = response.unwrap().into_parts();
        let body = body.with_config().limit(u64::MAX).read_to_vec().unwrap();
        Answer(Response::from_parts(parts, body))
    }

    /// Asks for a memory and waits, by events, until it is there.
    pub fn memory(&self, kind: MemoryKind, prompts: Vec<PromptSpec>) -> MemoryManifest {
        let body = serde_json::to_string(&CreateMemory { kind, prompts }).unwrap();
        let answer = self.post("/v1/memories", &[], &body);
        assert_eq!(answer.status(), 201, "{}", answer.text());
        let id = answer.json::<MemoryManifest>().id;
        let events = self.get(&format!("/v1/memories/{id}/events"), &[]).text();
        let last = events.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
        let manifest: MemoryManifest = serde_json::from_str(last).unwrap();
        assert!(manifest.state.is_final(), "{manifest:?}");
        manifest
    }

    /// A WebSocket with these subprotocols and this origin.
    pub fn socket(&self, protocols: &str, origin: Option<&str>) -> Result<Socket<'_>, u16> {
        use tokio_tungstenite::tungstenite::Error;
        let mut request = format!("{}/v1/generate", self.base.replace("http", "ws")).into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", HeaderValue::from_str(protocols).unwrap());
        if let Some(origin) = origin {
            headers.insert("origin", HeaderValue::from_str(origin).unwrap());
        }
        match self.runtime.block_on(tokio_tungstenite::connect_async(request)) {
            Ok((stream, answer)) => {
                assert_eq!(answer.headers()["sec-websocket-protocol"], "pema.v1");
                Ok(Socket { service: self, stream })
            }
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A whole answer.
pub struct Answer(pub Response<Vec<u8>>);

impl Answer {
    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    pub fn header(&self, name: &str) -> &str {
        self.0.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.body().clone()).unwrap()
    }

    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(self.0.body()).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The problem's type, having checked that it is one.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let problem: Problem = self.json();
        assert_eq!(problem.status, self.status());
        assert!(!problem.detail.is_empty());
        problem.kind
    }
}

type Stream = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// A generation stream.
pub struct Socket<'s> {
    service: &'s Service,
    stream: Stream,
}

impl Socket<'_> {
    pub fn say(&mut self, message: &ClientMessage) -> Result<StepFrame, Problem> {
        self.say_text(&serde_json::to_string(message).unwrap())
    }

    pub fn say_text(&mut self, text: &str) -> Result<StepFrame, Problem> {
        self.service.runtime.block_on(self.stream.send(Message::text(text))).unwrap();
        match self.hear() {
            Some(Message::Binary(bytes)) => Ok(StepFrame::decode(&bytes).unwrap()),
            Some(Message::Text(text)) => Err(serde_json::from_str(&text).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    pub fn hear(&mut self) -> Option<Message> {
        self.service.runtime.block_on(self.stream.next()).and_then(Result::ok)
    }
}

pub fn tokens(ids: &[u32]) -> Vec<TokenId> {
    ids.iter().map(|&id| TokenId(id)).collect()
}

pub fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}
