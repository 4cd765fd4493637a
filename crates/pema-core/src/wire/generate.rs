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

/// Of which of the prompt's tokens the first frame carries hidden states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptStates {
    /// Of the last one: `f(prompt)`.
    #[default]
    Last,
    /// Of all.
    All,
}

impl PromptStates {
    /// Hidden states in the first frame beside `f(prompt)`, of a prompt of so many tokens.
    pub fn earlier(self, tokens: usize) -> usize {
        match self {
            Self::Last => 0,
            Self::All => tokens.saturating_sub(1),
        }
    }

    fn is_last(&self) -> bool {
        *self == Self::Last
    }
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
        /// What the first frame carries beside; left out of the message unless it is more than
        /// `f(prompt)`.
        #[serde(default, skip_serializing_if = "PromptStates::is_last")]
        states: PromptStates,
    },
    /// Append this token to the sequence.
    Token {
        /// The token that the tab chose.
        token: TokenId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_without_the_prompts_states_is_written_as_ever() {
        let start = |states| ClientMessage::Start { prompt: vec![TokenId(7)], logits: LogitsMode::None, states };
        let json = |states| serde_json::to_string(&start(states)).unwrap();
        assert_eq!(json(PromptStates::Last), r#"{"type":"start","prompt":[7],"logits":{"mode":"none"}}"#);
        assert_eq!(json(PromptStates::All), r#"{"type":"start","prompt":[7],"logits":{"mode":"none"},"states":"all"}"#);
        for states in [PromptStates::Last, PromptStates::All] {
            assert_eq!(serde_json::from_str::<ClientMessage>(&json(states)).unwrap(), start(states));
        }
        assert_eq!([0, 1, 5].map(|tokens| PromptStates::All.earlier(tokens)), [0, 0, 4]);
    }
}
