//! The model owner's server.
//!
//! - [`engine`]: the seam to whatever runs the model, and llama.cpp behind it
//! - [`gguf`]: metadata and the LM head of a GGUF file
//! - [`tokenizer`]: a `tokenizer.json` from a GGUF's vocabulary
//! - [`proof`]: the start-up check that both agree with the engine
//! - `int8`: the head in half the bytes, and the check that it predicts as well
//! - [`model`]: from the `--model` argument to a proven model
//! - [`memory`]: extraction jobs and where their shards are kept
//! - [`config`], [`Server`]: what the operator decides, and running it
//!
//! The HTTP handlers are in `http`, one file per group of calls.

pub mod config;
pub mod engine;
pub mod gguf;
mod http;
mod int8;
pub mod memory;
pub mod model;
mod observe;
pub mod proof;
mod server;
pub mod tokenizer;

pub use server::{ServeError, Server};
pub use tokio_util::sync::CancellationToken;
