//! `pema` with the real default model, on a handful of pairs.

mod contexts;
mod head;
mod methods;
mod running;
mod second_round;
