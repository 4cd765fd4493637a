//! The generation stream: a token out, a frame in. One socket serves many sequences.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::{SinkExt, StreamExt};
use gloo_net::websocket::{Message, futures::WebSocket};
use pema_adapter::{Consult, ContextStream};
use pema_core::{
    id::TokenId,
    wire::{ClientMessage, GENERATE_SUBPROTOCOL, KEY_SUBPROTOCOL_PREFIX, LogitsMode, Problem, PromptStates, frame::StepFrame},
};

use crate::{
    error::TabError,
    page::{Page, Recorded},
    protocol::LedgerKind,
    service::Service,
};

/// An open stream.
pub struct GenerationStream {
    socket: WebSocket,
    origin: String,
    hidden_size: usize,
    page: Page,
    recorded: Recorded,
    /// Sent so far: prompts, their tokens, and generated tokens.
    prompts: usize,
    prompt_tokens: usize,
    generated: usize,
}

impl GenerationStream {
    /// Opens a stream to a model whose hidden states have `hidden_size` entries. The ledger counts it
    /// with prompts if no generated token will be sent.
    ///
    /// # Errors
    /// [`TabError::Unreachable`] when no socket can be made.
    pub fn open(page: &Page, service: &Service, hidden_size: usize, consult: Consult) -> Result<Self, TabError> {
        let mut protocols = vec![GENERATE_SUBPROTOCOL.to_owned()];
        protocols.extend(service.key().map(|key| format!("{KEY_SUBPROTOCOL_PREFIX}{}", URL_SAFE_NO_PAD.encode(key))));
        let origin = service.origin().to_owned();
        let socket = WebSocket::open_with_protocols(&service.stream_url(), &protocols)
            .map_err(|error| TabError::NotPema { origin: origin.clone(), detail: error.to_string() })?;
        let kind = if consult.tells() { LedgerKind::Generation } else { LedgerKind::Prompts };
        let mut recorded = page.record("GET /v1/generate (WebSocket)".into(), kind, String::new(), 0);
        recorded.status(101);
        let page = page.clone();
        Ok(Self { socket, origin, hidden_size, page, recorded, prompts: 0, prompt_tokens: 0, generated: 0 })
    }

    /// Tells the ledger what has been sent so far.
    pub fn show(&self) {
        self.recorded.show();
    }

    /// The answer to a message, which must have so many states of the prompt before its last.
    async fn exchange(&mut self, message: &ClientMessage, earlier: usize) -> Result<StepFrame, TabError> {
        let text = serde_json::to_string(message).map_err(|error| TabError::Setting(error.to_string()))?;
        let Self { prompts, prompt_tokens, generated, .. } = self;
        let carried = format!("prompts: {prompts}, of {prompt_tokens} tokens; generated tokens: {generated}");
        self.recorded.sent(text.len(), carried);
        let gone = || TabError::Unreachable { origin: self.origin.clone() };
        self.socket.send(Message::Text(text)).await.map_err(|_| gone())?;
        let answer = self.socket.next().await.ok_or_else(gone)?.map_err(|_| gone())?;
        match answer {
            Message::Bytes(bytes) => {
                self.recorded.received(bytes.len());
                let frame = StepFrame::decode(&bytes)?;
                frame.check(self.hidden_size, earlier)?;
                Ok(frame)
            }
            Message::Text(text) => {
                self.recorded.received(text.len());
                Err(match serde_json::from_str::<Problem>(&text) {
                    Ok(problem) => TabError::Refused(problem),
                    Err(error) => TabError::NotPema { origin: self.origin.clone(), detail: error.to_string() },
                })
            }
        }
    }
}

impl ContextStream for GenerationStream {
    type Error = TabError;

    async fn start(&mut self, prompt: &[TokenId], states: PromptStates) -> Result<StepFrame, TabError> {
        self.prompts += 1;
        self.prompt_tokens += prompt.len();
        // The tab holds the head, so `h` gives it the model's logits too.
        let start = ClientMessage::Start { prompt: prompt.to_vec(), logits: LogitsMode::None, states };
        self.exchange(&start, states.earlier(prompt.len())).await
    }

    async fn push(&mut self, token: TokenId) -> Result<StepFrame, TabError> {
        self.generated += 1;
        self.exchange(&ClientMessage::Token { token }, 0).await
    }

    /// Lets the worker hear the stop button, and the page show the token.
    async fn pause(&mut self) {
        self.page.breathe().await;
    }
}

impl Drop for GenerationStream {
    fn drop(&mut self) {
        self.show();
    }
}
