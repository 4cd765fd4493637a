//! `GET /v1/generate`: a WebSocket on which a tab grows one sequence, token by token.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::HeaderMap;
use axum::response::Response;
use half::f16;
use pema_core::id::TokenId;
use pema_core::wire::frame::{FrameLogits, StepFrame};
use pema_core::wire::{ClientMessage, GENERATE_SUBPROTOCOL, LogitsMode, PromptStates};

use super::error::ApiError;
use super::state::AppState;
use crate::engine::{EngineError, Pending, Session, Step};
use crate::memory::{Tenant, check_prompt, check_token};
use crate::observe;

/// Longest text message: a prompt of the longest context, generously.
const MAX_MESSAGE: usize = 4 << 20;
/// A stream on which nothing is said for so long gives its place to another.
const IDLE: Duration = Duration::from_secs(300);

/// Opens the stream.
pub(super) async fn upgrade(
    State(state): State<AppState>,
    _: Tenant,
    headers: HeaderMap,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    state.origins.check(&headers)?;
    let socket = socket.map_err(|rejection| ApiError::NoWebSocket(rejection.body_text()))?;
    let socket = socket.protocols([GENERATE_SUBPROTOCOL]).max_message_size(MAX_MESSAGE);
    Ok(socket.on_upgrade(|socket| Stream { state, session: None, logits: LogitsMode::None }.run(socket)))
}

/// One open stream.
struct Stream {
    state: AppState,
    /// Taken at the first `start`.
    session: Option<Box<dyn Session>>,
    logits: LogitsMode,
}

impl Stream {
    async fn run(mut self, mut socket: WebSocket) {
        let _open = observe::StreamGuard::start();
        let reason = loop {
            let message = tokio::select! {
                message = socket.recv() => message,
                () = tokio::time::sleep(IDLE) => break (close_code::POLICY, "nothing was said for five minutes"),
                () = self.state.stop.cancelled() => break (close_code::AWAY, "the service is stopping"),
            };
            let text = match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Binary(_))) => {
                    break (close_code::UNSUPPORTED, "this stream takes text messages");
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    // Before the connection ends: who waits for that may open another stream at once.
                    self.session = None;
                    return;
                }
            };
            let answer = match self.answer(text.as_str()).await {
                Ok(frame) => Message::binary(frame),
                Err(error) => problem(&error),
            };
            if socket.send(answer).await.is_err() {
                return;
            }
        };
        let (code, reason) = reason;
        let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
    }

    async fn answer(&mut self, text: &str) -> Result<Vec<u8>, ApiError> {
        let message = serde_json::from_str(text).map_err(|e| ApiError::Malformed(e.to_string()))?;
        let step = match message {
            ClientMessage::Start { prompt, logits, states } => self.start(prompt, logits, states)?,
            ClientMessage::Token { token } => self.push(token)?,
        };
        let step = step.await.map_err(|_| EngineError::Gone)??;
        let frame = frame(step, self.logits).encode();
        observe::token();
        observe::sent(frame.len() as u64);
        Ok(frame)
    }

    fn start(&mut self, prompt: Vec<TokenId>, logits: LogitsMode, states: PromptStates) -> Result<Pending<Step>, ApiError> {
        let card = &self.state.model.card;
        check_prompt(0, &prompt, card)?;
        let most = card.logits_modes.iter().find_map(|mode| match mode {
            LogitsMode::TopK { k } => Some(*k),
            _ => None,
        });
        if let LogitsMode::TopK { k } = logits
            && (k == 0 || k > most.unwrap_or(0))
        {
            let most = most.unwrap_or(0);
            return Err(ApiError::Malformed(format!("top-k logits have k from 1 to {most}, not {k}")));
        }
        self.logits = logits;
        let session = match self.session.take() {
            Some(session) => session,
            None => self.state.model.engine.open()?,
        };
        Ok(self.session.insert(session).start(prompt, states))
    }

    fn push(&mut self, token: TokenId) -> Result<Pending<Step>, ApiError> {
        check_token(0, token, &self.state.model.card)?;
        let session = self.session.as_mut().ok_or(EngineError::NotStarted)?;
        Ok(session.push(token))
    }
}

fn problem(error: &ApiError) -> Message {
    // A problem is four plain fields: it always becomes JSON.
    Message::text(serde_json::to_string(&error.to_problem()).unwrap_or_default())
}

fn frame(step: Step, logits: LogitsMode) -> StepFrame {
    let h = step.h.iter().map(|&x| f16::from_f32(x)).collect();
    let logits = match logits {
        LogitsMode::None => FrameLogits::None,
        LogitsMode::TopK { k } => FrameLogits::TopK(largest(&step.logits, k as usize)),
        LogitsMode::Full => FrameLogits::Full(step.logits),
    };
    StepFrame { step: step.index, greedy: step.greedy, h, earlier: step.earlier, logits }
}

/// The `k` largest logits, in falling order.
fn largest(logits: &[f32], k: usize) -> Vec<(TokenId, f32)> {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let falling = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if k < order.len() {
        order.select_nth_unstable_by(k, falling);
        order.truncate(k);
    }
    order.sort_unstable_by(falling);
    order.into_iter().map(|id| (TokenId(id), logits[id as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_logits_come_in_falling_order() {
        let top = largest(&[0.5, 3.0, -1.0, 3.0, 2.0], 3);
        assert_eq!(top, [(TokenId(1), 3.0), (TokenId(3), 3.0), (TokenId(4), 2.0)]);
        assert_eq!(largest(&[1.0], 5).len(), 1);
    }
}
