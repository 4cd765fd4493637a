//! What crosses the wire between a tab and a service, version 1; `docs/wire.md` is its reference.
//!
//! JSON bodies here; binary frames of the generation stream in [`frame`]; shards in
//! [`crate::memory`]. The table of what may cross is in `docs/privacy.md`: nothing in this
//! module can carry a target, its length, an adapter or a loss.

mod card;
pub mod frame;
mod generate;
mod memory;
mod problem;

pub use card::{Artifact, Limits, ModelCard};
pub use generate::{ClientMessage, LogitsMode, PromptStates};
pub use memory::{CreateMemory, MemoryKind, MemoryManifest, MemoryState, PromptSpec, STEP_BUCKET, ShardEntry, bucket_steps};
pub use problem::{PROBLEM_CONTENT_TYPE, Problem};

/// The version of this protocol; a card with another one is refused.
pub const WIRE_VERSION: u32 = 1;
/// The WebSocket subprotocol of `GET /v1/generate`.
pub const GENERATE_SUBPROTOCOL: &str = "pema.v1";
/// Prefix of the second subprotocol that carries the API key in base64url without padding: a
/// browser can set no header on a WebSocket.
pub const KEY_SUBPROTOCOL_PREFIX: &str = "pema.key.";
