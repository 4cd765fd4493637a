//! Why bytes are not the shard that was asked for.

use thiserror::Error;

use crate::id::ContentHash;

/// Why bytes are not the shard that was asked for. Every message says what to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ShardError {
    /// The length is not the manifest's.
    #[error("shard {index} is torn: it has {found} bytes, the manifest says {expected}; download it again")]
    Torn {
        /// The shard's place in the manifest.
        index: u32,
        /// From the manifest.
        expected: u64,
        /// Received.
        found: u64,
    },
    /// The length fits and the hash does not.
    #[error(
        "shard {index} was altered: its SHA-256 is {found}, the manifest says {expected}; download it again, and if \
         that does not help, check what stands between you and the service"
    )]
    Altered {
        /// The shard's place in the manifest.
        index: u32,
        /// From the manifest.
        expected: ContentHash,
        /// Of the bytes received.
        found: ContentHash,
    },
    /// The rows are not as many as the manifest says.
    #[error("shard {index} has {found} rows, the manifest says {expected}: extract the memory again")]
    Rows {
        /// The shard's place in the manifest.
        index: u32,
        /// From the manifest.
        expected: u64,
        /// In the shard.
        found: u64,
    },
    /// The rows are of another model.
    #[error("the shard's hidden states have {found} numbers, the model's have {expected}: extract the memory with this model")]
    HiddenSize {
        /// `d` of the memory.
        expected: usize,
        /// `d` of the shard.
        found: usize,
    },
    /// The bytes are not safetensors.
    #[error("the shard is not a safetensors file ({0}); download it again")]
    NotSafetensors(String),
    /// Safetensors of something else, such as an adapter.
    #[error("the file is not a memory shard: its format is {0:?} and should be \"pema-shard\"")]
    Format(String),
    /// A later version of the format.
    #[error("the shard has format version {0:?} and this program reads \"1\": update this program")]
    Version(String),
    /// A tensor is not there.
    #[error("the shard has no tensor `{0}`: extract the memory again")]
    Missing(&'static str),
    /// A tensor has the wrong type.
    #[error("the shard's tensor `{tensor}` is {found} and should be {expected}: extract the memory again")]
    Dtype {
        /// Which tensor.
        tensor: &'static str,
        /// Type by the format.
        expected: &'static str,
        /// Type in the file.
        found: String,
    },
    /// A tensor has the wrong shape, or disagrees with the others about the number of rows.
    #[error("the shard's tensor `{tensor}` has shape {found:?} and should have {expected}: extract the memory again")]
    Shape {
        /// Which tensor.
        tensor: &'static str,
        /// Shape by the format and the other tensors.
        expected: String,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// Prompts do not ascend one by one.
    #[error("row {row} of the shard belongs to prompt {found}, after a row of prompt {previous}: extract the memory again")]
    PromptOrder {
        /// First row that is wrong, from 0.
        row: usize,
        /// Prompt of the row before.
        previous: u32,
        /// Prompt of this row.
        found: u32,
    },
    /// Steps of a prompt do not count from 0.
    #[error("row {row} of the shard is step {found} of prompt {prompt} and should be step {expected}: extract the memory again")]
    StepOrder {
        /// First row that is wrong, from 0.
        row: usize,
        /// Its prompt.
        prompt: u32,
        /// What its step should be.
        expected: u32,
        /// What it is.
        found: u32,
    },
    /// A hidden state has an infinity or is not a number.
    #[error(
        "row {row} of the shard has a number that is not finite in column {column}: the model overflows f16, or the file is damaged"
    )]
    NotFinite {
        /// Row, from 0.
        row: usize,
        /// Entry of the hidden state, from 0.
        column: usize,
    },
}
