//! Refusing what the service cannot or will not do, before anything is stored.

use pema_core::id::TokenId;
use pema_core::wire::{CreateMemory, MemoryKind, ModelCard, PromptSpec, STEP_BUCKET, bucket_steps};

use super::plan::rows_of;

/// Why a request is refused. Prompts are named by their place, never quoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Nothing to do.
    #[error("the request has no prompts: send at least one")]
    NoPrompts,
    /// Too many prompts.
    #[error("{found} prompts, this service takes {limit} in one memory: split the request")]
    TooManyPrompts {
        /// In the request.
        found: usize,
        /// Allowed.
        limit: u32,
    },
    /// An empty prompt has no hidden state.
    #[error("prompt {0} is empty: every prompt needs at least one token")]
    EmptyPrompt(usize),
    /// A prompt is too long.
    #[error("prompt {index} has {found} tokens, this service takes {limit}: shorten it")]
    PromptTooLong {
        /// Place in the request.
        index: usize,
        /// Its tokens.
        found: usize,
        /// Allowed.
        limit: u32,
    },
    /// An id that is not in the vocabulary.
    #[error("prompt {index} has token id {token} and the model's vocabulary has {vocab}: use this service's tokenizer.json")]
    UnknownToken {
        /// Place in the request.
        index: usize,
        /// The id.
        token: u32,
        /// `v`.
        vocab: u32,
    },
    /// A step budget that tells a length.
    #[error("prompt {index} asks for {found} steps: round up to a multiple of {STEP_BUCKET}, here {expected}")]
    UnbucketedSteps {
        /// Place in the request.
        index: usize,
        /// Asked for.
        found: u32,
        /// What would be accepted.
        expected: u32,
    },
    /// Steps where nothing is decoded.
    #[error("prompt {index} asks for {found} steps, and this kind of memory decodes nothing: ask for 0")]
    NeedlessSteps {
        /// Place in the request.
        index: usize,
        /// Asked for.
        found: u32,
    },
    /// Too many steps.
    #[error("prompt {index} asks for {found} steps, this service runs {limit}: shorten the targets")]
    TooManySteps {
        /// Place in the request.
        index: usize,
        /// Asked for.
        found: u32,
        /// Allowed.
        limit: u32,
    },
    /// Prompt and steps together.
    #[error("prompt {index} with its steps needs {found} tokens, the model's context has {limit}: shorten the prompt")]
    ContextTooLong {
        /// Place in the request.
        index: usize,
        /// Tokens needed.
        found: usize,
        /// Context length.
        limit: u32,
    },
    /// Too many rows in all.
    #[error("the memory would have {found} rows, this service makes {limit}: split the request")]
    TooManyRows {
        /// Asked for.
        found: u64,
        /// Allowed.
        limit: u64,
    },
}

impl Rejection {
    /// The stable short name of this kind of refusal.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoPrompts => "no-prompts",
            Self::TooManyPrompts { .. } => "too-many-prompts",
            Self::EmptyPrompt(_) => "prompt-empty",
            Self::PromptTooLong { .. } => "prompt-too-long",
            Self::UnknownToken { .. } => "token-out-of-range",
            Self::UnbucketedSteps { .. } => "steps-not-bucketed",
            Self::NeedlessSteps { .. } => "steps-not-zero",
            Self::TooManySteps { .. } => "too-many-steps",
            Self::ContextTooLong { .. } => "context-too-long",
            Self::TooManyRows { .. } => "too-many-rows",
        }
    }
}

/// Checks a whole request and counts its rows.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_request(request: &CreateMemory, card: &ModelCard) -> Result<u64, Rejection> {
    let limits = &card.limits;
    match request.prompts.len() {
        0 => return Err(Rejection::NoPrompts),
        found if found > limits.max_prompts as usize => {
            return Err(Rejection::TooManyPrompts { found, limit: limits.max_prompts });
        }
        _ => {}
    }
    for (index, prompt) in request.prompts.iter().enumerate() {
        check_prompt(index, &prompt.tokens, card)?;
        check_steps(index, request.kind, prompt, card)?;
    }
    let found = request.prompts.iter().map(|prompt| rows_of(request.kind, prompt) as u64).sum();
    if found > limits.max_rows {
        return Err(Rejection::TooManyRows { found, limit: limits.max_rows });
    }
    Ok(found)
}

/// Checks one prompt's tokens; `index` is its place in the request.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_prompt(index: usize, tokens: &[TokenId], card: &ModelCard) -> Result<(), Rejection> {
    if tokens.is_empty() {
        return Err(Rejection::EmptyPrompt(index));
    }
    let limit = card.limits.max_prompt_tokens;
    if tokens.len() > limit as usize {
        return Err(Rejection::PromptTooLong { index, found: tokens.len(), limit });
    }
    tokens.iter().try_for_each(|&token| check_token(index, token, card))
}

/// Checks that a token is in the vocabulary.
///
/// # Errors
/// [`Rejection::UnknownToken`].
pub fn check_token(index: usize, TokenId(token): TokenId, card: &ModelCard) -> Result<(), Rejection> {
    let vocab = card.vocab_size;
    if token < vocab { Ok(()) } else { Err(Rejection::UnknownToken { index, token, vocab }) }
}

fn check_steps(index: usize, kind: MemoryKind, prompt: &PromptSpec, card: &ModelCard) -> Result<(), Rejection> {
    let found = prompt.steps;
    if kind != MemoryKind::Steps {
        return if found == 0 { Ok(()) } else { Err(Rejection::NeedlessSteps { index, found }) };
    }
    let expected = bucket_steps(found);
    if found != expected {
        return Err(Rejection::UnbucketedSteps { index, found, expected });
    }
    let limit = card.limits.max_steps;
    if found > limit {
        return Err(Rejection::TooManySteps { index, found, limit });
    }
    // The last step's token is never decoded.
    let needed = prompt.tokens.len() + found as usize - 1;
    if needed > card.context_length as usize {
        return Err(Rejection::ContextTooLong { index, found: needed, limit: card.context_length });
    }
    Ok(())
}
