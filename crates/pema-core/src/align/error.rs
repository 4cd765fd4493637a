//! Why a memory and targets do not fit together.

use thiserror::Error;

/// Why a memory and targets do not fit together.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AlignError {
    /// A target without its end.
    #[error("the target of prompt {prompt} does not end in the end-of-sequence token: encode it with `encode_target`")]
    NoEos {
        /// Which prompt, from 0.
        prompt: u32,
    },
    /// The memory is of other prompts.
    #[error("the memory has a row of prompt {prompt} and there are {targets} targets: the memory was extracted for other data")]
    UnknownPrompt {
        /// Prompt of the row.
        prompt: u32,
        /// Number of targets.
        targets: usize,
    },
    /// A row comes twice or out of order.
    #[error(
        "the memory has step {found} of prompt {prompt} where step {expected} should come: a shard is missing, repeated or damaged; download the memory again"
    )]
    Step {
        /// Which prompt.
        prompt: u32,
        /// The next step by the rows so far.
        expected: u32,
        /// The row's step.
        found: u32,
    },
    /// Rows of other prompts between those of one.
    #[error(
        "the memory has rows of other prompts between those of prompt {prompt}: a shard is out of place, or the service mixes prompts; download the memory again, or extract it again"
    )]
    Scattered {
        /// Which prompt.
        prompt: u32,
    },
    /// The columns differ in length.
    #[error("shard {shard} has {prompts} prompt entries and {steps} step entries: download it again")]
    Columns {
        /// The shard's place in the manifest.
        shard: u32,
        /// Length of `prompt`.
        prompts: usize,
        /// Length of `step`.
        steps: usize,
    },
    /// No row at all for a prompt.
    #[error("the memory has no row of prompt {prompt}: download the missing shards, or extract the memory again")]
    MissingPrompt {
        /// Which prompt, from 0.
        prompt: u32,
    },
    /// More than one row of a prompt that should have one.
    #[error(
        "the memory has more than one row of prompt {prompt}, and contexts of the prompt alone have one: it was extracted with other contexts; extract it again"
    )]
    SecondRow {
        /// Which prompt, from 0.
        prompt: u32,
    },
    /// Rows of all of a prompt's tokens that are not as many as these.
    #[error(
        "prompt {prompt} has {tokens} tokens and the memory has {rows} of their rows where there is one for each: it was extracted for other prompts or with other contexts; extract it again"
    )]
    PromptRows {
        /// Which prompt, from 0.
        prompt: u32,
        /// Its tokens.
        tokens: usize,
        /// Rows of it: all, or those up to the first that is too many.
        rows: u32,
    },
    /// Fewer rows than target tokens.
    #[error(
        "the target of prompt {prompt} has {tokens} tokens with its end and the memory has {rows} steps of it: shorten the target or extract the memory with a larger step budget"
    )]
    TooLong {
        /// Which prompt, from 0.
        prompt: u32,
        /// Target length with EOS.
        tokens: usize,
        /// Rows of the prompt.
        rows: u32,
    },
}
