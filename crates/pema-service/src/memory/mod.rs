//! External memories: what may be asked for, how they are extracted, where they are kept.

mod job;
mod plan;
mod registry;
mod store;
mod validate;

pub use registry::{Memories, MemoryError, Tenant};
pub use store::{DiskStore, MemoryStore, Owner};
pub use validate::{Rejection, check_prompt, check_request, check_token};
