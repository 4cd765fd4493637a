//! Text that appears token by token.

use super::{TextError, Tokenizer};
use crate::id::TokenId;

/// Decodes tokens as they come. Text is held back while its last character is incomplete: a token
/// of byte-level vocabularies may be a part of one. All text together is [`Tokenizer::decode`] of
/// all tokens.
///
/// Only the tokens since the last word shown are decoded again, so a long output costs no more a
/// token than a short one.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamDecoder {
    /// The tokens shown last, as context (SentencePiece drops the space of what comes first), and
    /// those held back.
    window: Vec<TokenId>,
    /// How many of the window are shown.
    shown: usize,
}

impl StreamDecoder {
    /// Takes the next token and gives the text that is now complete, if any.
    ///
    /// # Errors
    /// [`TextError::Decode`]; the token is kept and the next call may succeed.
    pub(super) fn push(&mut self, tokenizer: &Tokenizer, token: TokenId) -> Result<Option<String>, TextError> {
        self.window.push(token);
        let new = self.held_back(tokenizer)?;
        if new.is_empty() || new.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(None);
        }
        self.window.drain(..self.shown);
        self.shown = self.window.len();
        Ok(Some(new))
    }

    /// The text held back, complete or not, when no more tokens come.
    ///
    /// # Errors
    /// [`TextError::Decode`].
    pub(super) fn finish(self, tokenizer: &Tokenizer) -> Result<String, TextError> {
        self.held_back(tokenizer)
    }

    fn held_back(&self, tokenizer: &Tokenizer) -> Result<String, TextError> {
        let before = tokenizer.decode(&self.window[..self.shown])?;
        let whole = tokenizer.decode(&self.window)?;
        // The window starts at a complete character, so what was shown stays as it is, except that
        // some decoders (WordPiece) tidy the space before an apostrophe or a full stop.
        let same = before.chars().zip(whole.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        Ok(whole.get(same..).unwrap_or_default().to_owned())
    }
}
