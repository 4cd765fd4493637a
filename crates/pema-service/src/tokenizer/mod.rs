//! A `tokenizer.json` from the vocabulary inside a GGUF.
//!
//! The tab and the model must agree on every id, so what is built here follows llama.cpp's
//! tokenisation, not the original model's where the two differ; [`crate::proof`] compares them.

mod bpe;
mod pretokenizer;
mod spm;

use tokenizers::{AddedToken, Tokenizer};

use crate::gguf::Gguf;

/// Why there is no tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The pre-tokenizer's name means nothing to us.
    #[error(
        "the GGUF names the pre-tokenizer `{0}`, which Pema does not know: give the model's own tokenizer with \
         `--tokenizer FILE` (tokenizer.json)"
    )]
    UnknownPretokenizer(String),
    /// Neither BPE nor SentencePiece.
    #[error(
        "the GGUF's vocabulary is of kind `{0}`, which Pema cannot export: give the model's own tokenizer with \
         `--tokenizer FILE` (tokenizer.json)"
    )]
    UnknownModel(String),
    /// A key is missing.
    #[error("the GGUF's vocabulary lacks `{0}`")]
    Missing(&'static str),
    /// The tokenizers library refused.
    #[error("the vocabulary makes no tokenizer: {0}")]
    Build(#[from] tokenizers::Error),
}

/// A vocabulary as GGUF stores it.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// `tokenizer.ggml.model`: `gpt2` (BPE) or `llama` (SentencePiece).
    pub model: String,
    /// `tokenizer.ggml.pre`.
    pub pre: Option<String>,
    /// Token texts by id.
    pub tokens: Vec<String>,
    /// Scores by id, SentencePiece alone.
    pub scores: Vec<f32>,
    /// Kinds by id; empty means all normal.
    pub kinds: Vec<i32>,
    /// `left right`, in falling priority, BPE alone.
    pub merges: Vec<String>,
    /// Whether SentencePiece puts a space before a text.
    pub add_space_prefix: bool,
    /// The token for what has none.
    pub unknown: Option<u32>,
}

/// Token kinds, as numbered in GGUF.
mod kind {
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
}

impl Vocabulary {
    /// Reads a GGUF's vocabulary.
    ///
    /// # Errors
    /// [`TokenizerError::Missing`] when it has none.
    pub fn read(gguf: &Gguf) -> Result<Self, TokenizerError> {
        let missing = TokenizerError::Missing;
        Ok(Self {
            model: gguf.text("tokenizer.ggml.model").ok_or(missing("tokenizer.ggml.model"))?,
            pre: gguf.text("tokenizer.ggml.pre"),
            tokens: gguf.texts("tokenizer.ggml.tokens").ok_or(missing("tokenizer.ggml.tokens"))?,
            scores: gguf.floats("tokenizer.ggml.scores").unwrap_or_default(),
            kinds: gguf.integers("tokenizer.ggml.token_type").unwrap_or_default(),
            merges: gguf.texts("tokenizer.ggml.merges").unwrap_or_default(),
            add_space_prefix: gguf.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true),
            unknown: gguf.number("tokenizer.ggml.unknown_token_id"),
        })
    }

    /// Builds the tokenizer. It adds no BOS: the model card says whether prompts want one.
    ///
    /// # Errors
    /// [`TokenizerError`]; the two `Unknown…` ask for `--tokenizer FILE`.
    pub fn to_tokenizer(&self) -> Result<Tokenizer, TokenizerError> {
        let mut tokenizer = match self.model.as_str() {
            "gpt2" => bpe::build(self)?,
            "llama" => spm::build(self)?,
            other => return Err(TokenizerError::UnknownModel(other.to_owned())),
        };
        // llama.cpp cuts these out of a text before anything else looks at it.
        tokenizer.add_special_tokens(self.whole_tokens(&[kind::CONTROL, kind::UNKNOWN], true))?;
        tokenizer.add_tokens(self.whole_tokens(&[kind::USER_DEFINED], false))?;
        Ok(tokenizer)
    }

    fn whole_tokens(&self, kinds: &[i32], special: bool) -> Vec<AddedToken> {
        let of_kind = |(id, text): (usize, &String)| {
            let matches = self.kinds.get(id).is_some_and(|k| kinds.contains(k)) && !text.is_empty();
            matches.then(|| AddedToken::from(text.clone(), special).normalized(false))
        };
        self.tokens.iter().enumerate().filter_map(of_kind).collect()
    }

    /// Texts to ids; of equal texts the first id wins.
    fn ids(&self) -> std::collections::HashMap<String, u32> {
        self.tokens.iter().enumerate().rev().map(|(id, text)| (text.clone(), id as u32)).collect()
    }
}

#[cfg(test)]
mod tests;
