//! The different tokens of a batch, so that each is embedded once.

use std::collections::HashMap;

use pema_core::id::TokenId;

/// The different tokens of a batch, each with its place.
pub(crate) struct Places {
    /// The token of each place.
    pub(crate) tokens: Vec<Option<TokenId>>,
    known: HashMap<TokenId, i32>,
}

impl Places {
    /// The place of no token.
    pub(crate) const NONE: i32 = 0;

    /// The token's place, a new one if it is new.
    pub(crate) fn of(&mut self, token: Option<&TokenId>) -> i32 {
        let Some(&token) = token else { return Self::NONE };
        *self.known.entry(token).or_insert_with(|| {
            self.tokens.push(Some(token));
            (self.tokens.len() - 1) as i32
        })
    }
}

impl Default for Places {
    fn default() -> Self {
        Self { tokens: vec![None], known: HashMap::new() }
    }
}
