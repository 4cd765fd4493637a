//! Text to token ids and back: one tokenizer, the same in the tab and at the service.
//!
//! Special tokens are never added by the tokenizer's own template: BOS and EOS are the model
//! card's, and these functions put them where the method wants them.

mod draft;
mod stream;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashSet;

use serde::Deserialize;
use thiserror::Error;

pub use draft::{Draft, is_one_line};

use crate::id::TokenId;

/// Stands before a target where the prompt itself cannot, see [`Tokenizer::encode_target`]. No
/// vocabulary merges text across a line end and the word after it.
const NEUTRAL_ANCHOR: &str = "\n";

/// A model's tokenizer.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// `v` of the head.
    vocab_size: u32,
    unknown: Option<TokenId>,
    /// Added tokens that control the model, such as EOS.
    control: HashSet<TokenId>,
}

/// Why text and tokens do not convert.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TextError {
    /// Not a `tokenizer.json`.
    #[error("the tokenizer cannot be read ({0}): download it again, or ask the model's owner for a tokenizer.json of this model")]
    NotATokenizer(String),
    /// The library failed.
    #[error("the text cannot be tokenized: {0}")]
    Encode(String),
    /// The library failed.
    #[error("the tokens cannot be turned into text: {0}")]
    Decode(String),
    /// The tokenizer is of another model.
    #[error("the tokenizer gave token {token} and the model has {vocab_size}: the tokenizer is not this model's")]
    OutOfVocabulary {
        /// The token.
        token: u32,
        /// `v`.
        vocab_size: u32,
    },
    /// Nothing to send.
    #[error("the prompt is empty: give it some text")]
    EmptyPrompt,
    /// Nothing to learn.
    #[error("the target cannot be encoded: {target:?} gives no tokens; write something or remove the pair")]
    EmptyTarget {
        /// The target.
        target: String,
    },
    /// Text that the vocabulary lacks.
    #[error(
        "the target cannot be encoded: this model's tokenizer does not know all of {target:?}; replace unusual characters or remove the pair"
    )]
    UnknownToken {
        /// The target.
        target: String,
    },
    /// EOS or the like written out.
    #[error("the target holds the control token {token:?}, which would end or steer generation: remove it from {target:?}")]
    ControlToken {
        /// The token's text.
        token: String,
        /// The target.
        target: String,
    },
}

/// The part of a `tokenizer.json` that the library does not show.
#[derive(Deserialize)]
struct Json {
    model: Model,
}

/// Unigram models name the unknown token by id, the others by text.
#[derive(Deserialize)]
struct Model {
    unk_token: Option<String>,
    unk_id: Option<u32>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json` for a model of `vocab_size` tokens (rows of its head, which may be
    /// more than the tokenizer has). Its truncation and padding are dropped.
    ///
    /// # Errors
    /// [`TextError::NotATokenizer`].
    pub fn from_json(bytes: &[u8], vocab_size: u32) -> Result<Self, TextError> {
        let refuse = |error: String| TextError::NotATokenizer(error);
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| refuse(e.to_string()))?;
        let Json { model } = serde_json::from_slice(bytes).map_err(|e| refuse(e.to_string()))?;
        inner.with_truncation(None).map_err(|e| refuse(e.to_string()))?;
        inner.with_padding(None);
        let unknown = model.unk_id.or_else(|| inner.token_to_id(&model.unk_token?)).map(TokenId);
        let control = inner.get_added_tokens_decoder().into_iter().filter(|(_, token)| token.special);
        let control = control.map(|(id, _)| TokenId(id)).collect();
        Ok(Self { inner, vocab_size, unknown, control })
    }

    /// Number of tokens of the model.
    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// The tokens of a text, none added. Control tokens written out in the text are recognised.
    ///
    /// # Errors
    /// [`TextError::OutOfVocabulary`] when the tokenizer is not the model's.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, TextError> {
        let encoding = self.inner.encode_fast(text, false).map_err(|e| TextError::Encode(e.to_string()))?;
        let ids = encoding.get_ids();
        match ids.iter().find(|&&id| id >= self.vocab_size) {
            None => Ok(ids.iter().copied().map(TokenId).collect()),
            Some(&token) => Err(TextError::OutOfVocabulary { token, vocab_size: self.vocab_size }),
        }
    }

    /// The tokens of a prompt, after BOS if the model wants one and the text does not begin with
    /// it already (as chat templates do).
    ///
    /// # Errors
    /// [`TextError::EmptyPrompt`] when the text has no tokens; else as [`Self::encode`].
    pub fn encode_prompt(&self, prompt: &str, bos: Option<TokenId>) -> Result<Vec<TokenId>, TextError> {
        let mut ids = self.encode(prompt)?;
        if ids.is_empty() {
            return Err(TextError::EmptyPrompt);
        }
        if let Some(bos) = bos.filter(|bos| ids[0] != *bos) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// The tokens of a target as the continuation of `prompt`, ending in `eos`.
    ///
    /// A model that has read `Formal:` goes on with ` Hello`, so the target is separated from the
    /// prompt by one space, unless the prompt is empty or ends in a control token, or one of the
    /// two brings white space of its own. How vocabularies write that space differs: byte-level BPE has a token `Ġ` + word,
    /// SentencePiece puts `▁` before the first word of any text, so encoding `" Hello"` alone
    /// would give it two. Therefore prompt and target are encoded together and the prompt's tokens
    /// are taken off. Where the two merge at the border (a prompt that ends in a space, say), the
    /// target is encoded after a line end instead, and the line end is taken off.
    ///
    /// # Errors
    /// [`TextError::EmptyTarget`], [`TextError::UnknownToken`] or [`TextError::ControlToken`] when
    /// the target cannot be learnt; else as [`Self::encode`].
    pub fn encode_target(&self, prompt: &str, target: &str, eos: TokenId) -> Result<Vec<TokenId>, TextError> {
        let mut ids = self.encode_continuation(prompt, target)?;
        let target = || target.to_owned();
        if ids.is_empty() {
            return Err(TextError::EmptyTarget { target: target() });
        }
        if ids.iter().any(|id| Some(*id) == self.unknown) {
            return Err(TextError::UnknownToken { target: target() });
        }
        if let Some(id) = ids.iter().find(|id| **id == eos || self.control.contains(id)) {
            let token = self.inner.id_to_token(id.0).unwrap_or_default();
            return Err(TextError::ControlToken { token, target: target() });
        }
        ids.push(eos);
        Ok(ids)
    }

    fn encode_continuation(&self, prompt: &str, target: &str) -> Result<Vec<TokenId>, TextError> {
        if target.trim().is_empty() {
            return Ok(Vec::new());
        }
        let after_control = self.encode(prompt)?.last().is_none_or(|last| self.control.contains(last));
        let spaced = prompt.ends_with(char::is_whitespace) || target.starts_with(char::is_whitespace);
        let separator = if after_control || spaced { "" } else { " " };
        for anchor in [prompt, NEUTRAL_ANCHOR] {
            let before = self.encode(anchor)?;
            let whole = self.encode(&format!("{anchor}{separator}{target}"))?;
            if let Some(continuation) = whole.strip_prefix(before.as_slice()) {
                return Ok(continuation.to_vec());
            }
        }
        self.encode(target)
    }

    /// The text of tokens, without control tokens. Bytes that are not UTF-8 become `U+FFFD`.
    /// Where a continuation begins with a space depends on the vocabulary: trim it to compare.
    ///
    /// # Errors
    /// [`TextError::Decode`].
    pub fn decode(&self, ids: &[TokenId]) -> Result<String, TextError> {
        let ids = ids.iter().map(|id| id.0).collect::<Vec<_>>();
        self.inner.decode(&ids, true).map_err(|e| TextError::Decode(e.to_string()))
    }
}
