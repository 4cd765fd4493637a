//! One sequence inside the engine: what is still to be decoded, and who waits for what.

use half::f16;
use pema_core::id::TokenId;
use pema_core::wire::PromptStates;
use tokio::sync::oneshot;

use super::{EngineError, Group, PromptRows, Rows, Step};

pub(super) type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

/// A place in the context; its index is llama.cpp's sequence id.
#[derive(Default)]
pub(super) struct Sequence {
    /// Tokens not yet decoded, next first.
    pub pending: Vec<TokenId>,
    /// Tokens decoded so far. They stay after an extraction has ended, for what comes next.
    pub decoded: Vec<TokenId>,
    /// Of the last extraction.
    pub group: Option<Group>,
    /// Whose sequence it is.
    pub owner: Owner,
}

/// Who uses a place.
#[derive(Default)]
pub(super) enum Owner {
    /// Nobody.
    #[default]
    Free,
    /// An extraction.
    Prompt(PromptWork),
    /// A generation session.
    Session(SessionWork),
}

/// An extraction under way.
pub(super) struct PromptWork {
    pub rows: Rows,
    pub done: PromptRows,
    pub reply: Reply<PromptRows>,
}

/// A generation session, waiting for a step or for its owner.
#[derive(Default)]
pub(super) struct SessionWork {
    pub index: u32,
    /// Of the prompt, as long as it is being read.
    pub states: PromptStates,
    /// Hidden states of the prompt's tokens so far, if all are asked for.
    pub earlier: Vec<f16>,
    pub reply: Option<Reply<Step>>,
}

/// What the worker does with a sequence after one of its rows.
pub(super) enum Next {
    /// Nothing: more tokens are pending, or the owner decides.
    Wait,
    /// Decode this token.
    Push(TokenId),
    /// The place is free.
    Finished,
}

impl PromptWork {
    /// Takes a row; `greedy` picks the next token, with or without those that end generation.
    pub(super) fn take(&mut self, h: &[f32], last: bool, greedy: impl FnOnce(bool) -> TokenId) -> Next {
        if !last && self.rows != Rows::All {
            return Next::Wait;
        }
        let free_run = matches!(self.rows, Rows::Steps(_));
        let token = greedy(!free_run);
        self.done.h.extend(h.iter().map(|&x| f16::from_f32(x)));
        self.done.tokens.push(token);
        match self.rows {
            Rows::Steps(steps) if self.done.tokens.len() < steps => Next::Push(token),
            Rows::All if !last => Next::Wait,
            _ => Next::Finished,
        }
    }
}

impl SessionWork {
    /// A prompt to be read.
    pub(super) fn reading(states: PromptStates, reply: Reply<Step>) -> Self {
        Self { index: 0, states, earlier: Vec::new(), reply: Some(reply) }
    }
}

impl Sequence {
    /// How many of a prompt's first tokens it has decoded already. The last must be decoded again: its row is asked for.
    pub(super) fn has_begun(&self, prompt: &[TokenId]) -> usize {
        let same = self.decoded.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        same.min(prompt.len().saturating_sub(1))
    }

    /// Whether its owner wants every row, and not only those after which nothing is pending.
    pub(super) fn wants_all(&self) -> bool {
        match &self.owner {
            Owner::Prompt(work) => work.rows == Rows::All,
            Owner::Session(work) => work.states == PromptStates::All,
            Owner::Free => false,
        }
    }

    /// Whether the one who asked has gone away.
    pub(super) fn abandoned(&self) -> bool {
        matches!(&self.owner, Owner::Prompt(work) if work.reply.is_closed())
    }

    /// Tells the owner that the batch failed.
    pub(super) fn fail(&mut self, error: &EngineError) {
        self.pending.clear();
        match std::mem::take(&mut self.owner) {
            Owner::Prompt(work) => drop(work.reply.send(Err(error.clone()))),
            Owner::Session(mut work) => {
                if let Some(reply) = work.reply.take() {
                    let _ = reply.send(Err(error.clone()));
                }
                self.owner = Owner::Session(SessionWork::default());
            }
            Owner::Free => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_goes_on_where_it_parts_from_what_was_decoded_and_its_last_token_is_decoded_anew() {
        let tokens = |ids: &[u32]| ids.iter().copied().map(TokenId).collect::<Vec<_>>();
        let place = Sequence { decoded: tokens(&[1, 2, 3, 4]), ..Sequence::default() };
        let begun = [&[1, 2, 9][..], &[1, 2, 3, 4], &[1, 2, 3, 4, 5, 6], &[1, 2], &[9, 2], &[1], &[]];
        assert_eq!(begun.map(|prompt| place.has_begun(&tokens(prompt))), [2, 3, 4, 1, 0, 0, 0]);
    }
}
