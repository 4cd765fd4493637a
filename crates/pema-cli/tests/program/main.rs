//! `pema` with the real default model, on a handful of pairs.

mod contexts;
mod head;
mod methods;
mod running;
mod second_round;
// Elsewhere the system's authorities are not a file that a test could name.
#[cfg(target_os = "linux")]
mod tls;
