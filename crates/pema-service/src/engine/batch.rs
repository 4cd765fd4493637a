//! Which tokens go into the next decode.

use super::sequence::{Owner, Sequence};

/// Tokens in one decode. A generation step waits for at most one decode, so this bounds how long
/// a prompt that is being read can hold it up.
pub(super) const BATCH_TOKENS: usize = 256;

/// A run of one sequence's pending tokens in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The sequence.
    pub sequence: usize,
    /// Tokens taken from the front of its pending ones.
    pub tokens: usize,
}

/// Generation sessions first, then sequences with one token to go (free runs), then prompts to
/// be read, whose tokens fill what is left.
pub(super) fn plan(sequences: &[Sequence]) -> Vec<Run> {
    let class = |s: &Sequence| match (&s.owner, s.pending.len()) {
        (Owner::Free, _) | (_, 0) => None,
        (Owner::Session(_), _) => Some(0),
        (Owner::Prompt(_), 1) => Some(1),
        (Owner::Prompt(_), _) => Some(2),
    };
    let mut order: Vec<(u8, usize)> = sequences.iter().enumerate().filter_map(|(i, s)| class(s).map(|c| (c, i))).collect();
    order.sort_unstable();
    let mut room = BATCH_TOKENS;
    let mut runs = Vec::with_capacity(order.len());
    for (_, sequence) in order {
        let tokens = sequences[sequence].pending.len().min(room);
        if tokens == 0 {
            break;
        }
        room -= tokens;
        runs.push(Run { sequence, tokens });
    }
    runs.sort_unstable_by_key(|run| run.sequence);
    runs
}

#[cfg(test)]
mod tests {
    use super::super::sequence::{PromptWork, SessionWork};
    use super::super::{PromptRows, Rows};
    use super::*;
    use pema_core::id::TokenId;
    use tokio::sync::oneshot;

    fn sequence(pending: usize, session: bool) -> Sequence {
        let owner = if session {
            Owner::Session(SessionWork::default())
        } else {
            Owner::Prompt(PromptWork { rows: Rows::Last, done: PromptRows::default(), reply: oneshot::channel().0 })
        };
        Sequence { pending: vec![TokenId(1); pending], owner, ..Sequence::default() }
    }

    #[test]
    fn a_generation_step_is_in_the_next_batch_however_long_the_prompts_are() {
        let runs = plan(&[sequence(1000, false), sequence(1, false), Sequence::default(), sequence(1, true)]);
        assert_eq!(
            runs,
            [Run { sequence: 0, tokens: BATCH_TOKENS - 2 }, Run { sequence: 1, tokens: 1 }, Run { sequence: 3, tokens: 1 }]
        );
    }

    #[test]
    fn an_idle_engine_plans_nothing() {
        assert!(plan(&[Sequence::default(), sequence(0, true)]).is_empty());
    }
}
