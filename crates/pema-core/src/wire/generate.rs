//! Text messages of the generation stream, `GET /v1/generate` (WebSocket).
//!
//! The tab sends [`ClientMessage`]s as JSON text; the service answers each `start` and each
//! `token` with one binary [`super::frame::StepFrame`], or with a [`super::Problem`] as JSON text.
//! A problem with status 4xx leaves the stream open for another `start`.

use serde::{Deserialize, Serialize};

use crate::id::TokenId;

/// How much of the model's logits a frame carries. A tab that holds the head can compute them
/// from `h`, so `None` loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "mode")]
pub enum LogitsMode {
    /// No logits.
    None,
    /// The `k` largest.
    TopK {
        /// How many; in a model card, the most that may be asked for.
        k: u32,
    },
    /// All `v`.
    Full,
}

/// From the tab to the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type", deny_unknown_fields)]
pub enum ClientMessage {
    /// Forget the sequence so far and read this prompt.
    Start {
        /// Token ids, with BOS where the model wants one.
        prompt: Vec<TokenId>,
        /// What each frame carries.
        logits: LogitsMode,
    },
    /// Append this token to the sequence.
    Token {
        /// The token that the tab chose.
        token: TokenId,
    },
}
