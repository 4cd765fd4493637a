//! The model owner's service, for native programs.

use std::{
    io::Read,
    net::{IpAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use pema_adapter::{ContextStream, NotMixed, NotPrivate, ReadError};
use pema_core::{
    id::{ContentHash, TokenId},
    wire::{
        ClientMessage, CreateMemory, GENERATE_SUBPROTOCOL, KEY_SUBPROTOCOL_PREFIX, LogitsMode, MemoryManifest, MemoryState,
        ModelCard, Problem, PromptStates, ShardEntry, WIRE_VERSION, frame::StepFrame,
    },
};
use tungstenite::{Message, WebSocket, client::IntoClientRequest, protocol::WebSocketConfig, stream::MaybeTlsStream};
use ureq::{
    Agent, Body,
    http::{Response, Uri},
    tls::{RootCerts, TlsConfig},
};

use crate::progress;

/// Which service.
#[derive(Args, Clone, Debug)]
pub struct ServiceArgs {
    /// URL of the model owner's service.
    #[arg(long, default_value = "http://127.0.0.1:8321")]
    service: String,
    /// API key.
    #[arg(long, env = "PEMA_KEY", hide_env_values = true)]
    key: Option<String>,
}

impl ServiceArgs {
    /// Whether the service is on this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.service.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Whether what is sent leaves this machine without TLS.
    fn is_overheard(&self) -> bool {
        self.service.starts_with("http://") && !self.is_loopback()
    }
}

/// A service and the key for it.
pub struct Client {
    agent: Agent,
    base: String,
    key: Option<String>,
    /// `d`.
    hidden_size: usize,
    /// Tokens of the longest prompt.
    max_prompt_tokens: usize,
}

impl Client {
    /// Reads the model card and checks the wire version.
    pub fn connect(args: &ServiceArgs) -> Result<(Self, ModelCard)> {
        if args.is_overheard() {
            eprintln!("warning: {} speaks plain HTTP, so that others on the way can read inputs and the key", args.service);
        }
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let agent = Agent::config_builder().http_status_as_error(false).tls_config(tls).build().into();
        let base = args.service.trim_end_matches('/').to_owned();
        let client = Self { agent, base, key: args.key.clone(), hidden_size: 0, max_prompt_tokens: 0 };
        let card: ModelCard = serde_json::from_slice(&client.get("/v1/model")?).context("this is not a Pema service")?;
        ensure!(
            card.wire_version == WIRE_VERSION,
            "the service speaks version {} and this program {WIRE_VERSION}",
            card.wire_version
        );
        let (hidden_size, max_prompt_tokens) = (card.hidden_size as usize, card.limits.max_prompt_tokens as usize);
        Ok((Self { hidden_size, max_prompt_tokens, ..client }, card))
    }

    /// A file that must have this hash.
    pub fn artifact(&self, path: &str, sha256: &ContentHash) -> Result<Vec<u8>> {
        let bytes = self.get(path)?;
        ensure!(ContentHash::of(&bytes) == *sha256, "{path} arrived altered or cut short: try again");
        Ok(bytes)
    }

    /// Asks for a memory, waits, and hands each shard to `keep` as it appears. The memory is
    /// deleted on the service once all of it is here. `model` is the model card's.
    pub fn memory(
        &self,
        request: &CreateMemory,
        model: &ContentHash,
        mut keep: impl FnMut(&ShardEntry, Vec<u8>) -> Result<()>,
    ) -> Result<MemoryManifest> {
        let body = serde_json::to_string(request)?;
        let key = ContentHash::of(format!("{model}\n{body}").as_bytes()).as_str()[..32].to_owned();
        let post = self.agent.post(format!("{}/v1/memories", self.base)).header("Content-Type", "application/json");
        let post = post.header("Idempotency-Key", &key).header("Authorization", self.authorization());
        let mut manifest: MemoryManifest = serde_json::from_slice(&answer(post.send(body))?)?;
        let mut kept = 0;
        loop {
            for entry in &manifest.shards[kept..] {
                let path = format!("/v1/memories/{}/shards/{}", manifest.id, entry.index);
                keep(entry, self.artifact(&path, &entry.sha256)?)?;
            }
            kept = manifest.shards.len();
            progress::show(format_args!("{} of {} rows extracted", manifest.rows_done, manifest.rows));
            match &manifest.state {
                MemoryState::Done => break,
                MemoryState::Failed { detail } => bail!("the service could not finish the memory: {detail}"),
                MemoryState::Queued | MemoryState::Running => std::thread::sleep(Duration::from_millis(300)),
            }
            manifest = serde_json::from_slice(&self.get(&format!("/v1/memories/{}", manifest.id))?)?;
        }
        progress::clear();
        let delete = self.agent.delete(format!("{}/v1/memories/{}", self.base, manifest.id));
        answer(delete.header("Authorization", self.authorization()).call())?;
        Ok(manifest)
    }

    /// Opens a generation stream.
    pub fn stream(&self) -> Result<Stream> {
        let mut request = format!("{}/v1/generate", self.base.replacen("http", "ws", 1)).into_client_request()?;
        let key = self.key.iter().map(|key| format!("{KEY_SUBPROTOCOL_PREFIX}{}", URL_SAFE_NO_PAD.encode(key)));
        let protocols: Vec<String> = std::iter::once(GENERATE_SUBPROTOCOL.to_owned()).chain(key).collect();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocols.join(", ").parse()?);
        // The library takes 16 MiB, which all states of a long prompt of a large model exceed.
        let largest = FRAME_BYTES.saturating_add(self.hidden_size.saturating_mul(self.max_prompt_tokens).saturating_mul(2));
        let config = WebSocketConfig::default().max_frame_size(Some(largest)).max_message_size(Some(largest));
        let connected = tungstenite::client::connect_with_config(request, Some(config), REDIRECTIONS);
        let (socket, _) = connected.context("the service opens no generation stream")?;
        Ok(Stream { socket, hidden_size: self.hidden_size })
    }

    fn get(&self, path: &str) -> Result<Vec<u8>> {
        let get = self.agent.get(format!("{}{path}", self.base));
        answer(get.header("Authorization", self.authorization()).call()).with_context(|| format!("GET {path}"))
    }

    fn authorization(&self) -> String {
        self.key.as_ref().map(|key| format!("Bearer {key}")).unwrap_or_default()
    }
}

fn answer(response: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>> {
    let response = response.context("the service does not answer: check its URL and that it runs")?;
    let status = response.status();
    let mut bytes = Vec::new();
    response.into_body().into_reader().read_to_end(&mut bytes)?;
    if status.is_success() {
        return Ok(bytes);
    }
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => Err(anyhow!("the service refused ({}): {}", problem.title, problem.detail)),
        Err(_) => Err(anyhow!("the service answered with status {status}")),
    }
}

/// A generation frame without the prompt's states, generously; also that of a problem.
const FRAME_BYTES: usize = 1 << 20;

/// How long a service may take to say that a stream is closed.
const CLOSING: Duration = Duration::from_secs(5);

/// How often the stream's address may change.
const REDIRECTIONS: u8 = 3;

/// An open generation stream.
pub struct Stream {
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    hidden_size: usize,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The connection broke.
    #[error("the generation stream broke: {0}")]
    Socket(#[from] tungstenite::Error),
    /// A frame that is none.
    #[error(transparent)]
    Frame(#[from] pema_core::wire::frame::FrameError),
    /// The service said why.
    #[error("the service refused: {0}")]
    Refused(String),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] ReadError),
    /// The adapter cannot write without the model.
    #[error(transparent)]
    NotPrivate(#[from] NotPrivate),
    /// The adapter cannot be mixed so.
    #[error(transparent)]
    NotMixed(#[from] NotMixed),
}

impl Stream {
    /// Ends the stream, and waits until its place on the service is free, or [`CLOSING`] has passed.
    pub fn close(mut self) {
        let socket = match self.socket.get_ref() {
            MaybeTlsStream::Plain(socket) => Some(socket),
            MaybeTlsStream::Rustls(tls) => Some(tls.get_ref()),
            _ => None,
        };
        let is_limited = socket.is_some_and(|socket| socket.set_read_timeout(Some(CLOSING)).is_ok());
        if is_limited && self.socket.close(None).is_ok() {
            while self.socket.read().is_ok() {}
        }
    }

    /// The answer to a message, which must have so many states of the prompt before its last.
    fn exchange(&mut self, message: &ClientMessage, earlier: usize) -> Result<StepFrame, StreamError> {
        let text = serde_json::to_string(message).map_err(|error| StreamError::Refused(error.to_string()))?;
        self.socket.send(Message::text(text))?;
        loop {
            match self.socket.read()? {
                Message::Binary(bytes) => {
                    let frame = StepFrame::decode(&bytes)?;
                    frame.check(self.hidden_size, earlier)?;
                    return Ok(frame);
                }
                Message::Text(text) => {
                    let problem = serde_json::from_str::<Problem>(&text).map(|problem| problem.detail);
                    return Err(StreamError::Refused(problem.unwrap_or_else(|_| text.to_string())));
                }
                Message::Close(_) => return Err(StreamError::Refused("it closed the stream".into())),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}

impl ContextStream for Stream {
    type Error = StreamError;

    async fn start(&mut self, prompt: &[TokenId], states: PromptStates) -> Result<StepFrame, StreamError> {
        let start = ClientMessage::Start { prompt: prompt.to_vec(), logits: LogitsMode::None, states };
        self.exchange(&start, states.earlier(prompt.len()))
    }

    async fn push(&mut self, token: TokenId) -> Result<StepFrame, StreamError> {
        self.exchange(&ClientMessage::Token { token }, 0)
    }
}
