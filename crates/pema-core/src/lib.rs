//! The vocabulary of Pema: what the tab, the service and the command line say to each other.
//!
//! - [`id`]: token ids, memory ids, content hashes
//! - [`head`]: the forms in which the LM head travels
//! - [`wire`]: the `/v1` messages and generation frames
//! - [`memory`]: shards of an external memory, checked as they are read
//! - [`schedule`]: Gradual Unrolling and log-space mixing
//! - [`sampling`]: greedy and sampled choice of the next token
//! - [`data`]: pairs from JSONL, CSV and TSV, templates and splits
//! - [`align`]: joining a memory's rows with the local targets
//! - [`text`]: the tokenizer both sides share
//! - [`prepare`]: pairs made into prompts and targets within a model's limits
//! - [`metrics`]: BLEU, chrF and exact match
//! - [`tuning`]: mixtures to try on validation pairs
//! - [`overlap`]: how much of the targets texts say
//!
//! No GPU, no I/O, no Burn.

pub mod align;
pub mod data;
pub mod head;
pub mod id;
pub mod memory;
pub mod metrics;
pub mod overlap;
pub mod prepare;
pub mod sampling;
pub mod schedule;
pub mod text;
pub mod tuning;
pub mod wire;
