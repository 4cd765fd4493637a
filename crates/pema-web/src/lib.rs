//! Pema in a browser tab. A dedicated worker makes one [`session::Session`], hands it
//! [`protocol::Command`]s and posts the [`protocol::Event`]s that come back.
#![cfg(target_family = "wasm")]

pub mod protocol;
