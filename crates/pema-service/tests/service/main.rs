//! The service with the real default model, over real sockets.

mod int8;
mod requests;
mod rows;
mod running;
mod starting;
