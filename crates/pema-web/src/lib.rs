//! Pema in a browser tab. A dedicated worker makes one [`session::Session`], hands it
//! [`protocol::Command`]s and posts the [`protocol::Event`]s that come back.
//!
//! - [`session`]: what is connected, loaded and trained; one task at a time
//! - `connect`, `data`, `memory`, `train`, `generate`, `tune`, `evaluate`, `regenerate`, `adapters`: the tasks
//! - `service`, `stream`: the wire, each request in the ledger
//! - `storage`: the origin's private file system
//! - `device`: WebGPU or the CPU
//! - `constructors`: what runs once before all else
#![cfg(target_family = "wasm")]

mod adapters;
#[cfg(feature = "bench")]
pub mod bench;
mod connect;
mod constructors;
mod data;
mod device;
pub mod error;
mod evaluate;
mod generate;
#[cfg(feature = "planted-leaks")]
mod leak;
mod memory;
mod page;
pub mod pool;
pub mod protocol;
mod regenerate;
mod service;
pub mod session;
mod storage;
mod stream;

#[cfg(test)]
mod tests;
mod train;
mod tune;
