//! A text while it is written.

use super::stream::StreamDecoder;
use super::{TextError, Tokenizer};
use crate::id::TokenId;

/// What ends a line.
const LINE_ENDS: [char; 2] = ['\n', '\r'];

/// Whether a text has one line, but for white space around it.
pub fn is_one_line(text: &str) -> bool {
    !text.trim().contains(LINE_ENDS)
}

/// A text that is written token by token, and may be bounded by its line: nothing of a prompt like
/// `German:` says what ends an answer, and a model goes on with what would stand below it.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    decoder: StreamDecoder,
    text: String,
    one_line: bool,
    is_over: bool,
}

impl Draft {
    /// An empty one. With `one_line` the text ends where its first line that is not blank does.
    pub fn new(one_line: bool) -> Self {
        Self { one_line, ..Self::default() }
    }

    /// Takes the next token and gives the text that is now complete: nothing while the last character is
    /// not, nor once the line has ended.
    ///
    /// # Errors
    /// [`TextError::Decode`]; the token is kept and the next call may succeed.
    pub fn push(&mut self, tokenizer: &Tokenizer, token: TokenId) -> Result<String, TextError> {
        let new = self.decoder.push(tokenizer, token)?.unwrap_or_default();
        Ok(self.append(new))
    }

    /// Whether the line has ended, so that no further token is wanted.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The text without white space around it, when no more tokens come.
    ///
    /// # Errors
    /// [`TextError::Decode`].
    pub fn finish(mut self, tokenizer: &Tokenizer) -> Result<String, TextError> {
        let rest = std::mem::take(&mut self.decoder).finish(tokenizer)?;
        self.append(rest);
        Ok(self.text.trim().to_owned())
    }

    /// Adds what belongs to the text, and gives it.
    fn append(&mut self, mut new: String) -> String {
        if self.is_over {
            return String::new();
        }
        if self.one_line {
            let blank = if self.text.trim().is_empty() { new.len() - new.trim_start().len() } else { 0 };
            if let Some(end) = new[blank..].find(LINE_ENDS) {
                new.truncate(blank + end);
                self.is_over = true;
            }
        }
        self.text.push_str(&new);
        new
    }
}
