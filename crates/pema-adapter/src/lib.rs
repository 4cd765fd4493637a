//! The PEMA adapter in [Burn](burn): trains and applies `h_pd = s h A B_pd` on any Burn device.
//!
//! Row vectors throughout: `h [n, d]`, `A [d, r]`, `B [r, d]`, `W_hd [v, d]`, `s = alpha / r`.
//! Phase 1 learns `A, B_rct` that reconstruct `h`; phase 2 learns a new `A` and `B_pd` that,
//! through the frozen head, predict the data owner's targets. [`Trainer`] is both, a step a call.
//!
//! # Public surface
//!
//! - [`AdapterConfig`]: the settings, their defaults (the reference's) and their bounds.
//! - [`Head`]: the frozen LM head on a device; [`Head::logits`].
//! - [`HeadPool`], [`HeadSlice`]: the head spread over workers.
//! - [`frozen_head_cross_entropy`]: `L_pd` and its gradient without an `[n, v]` tensor.
//! - [`product`]: of two matrices, by Pema's own kernel where it runs; [`Tile`]: how that sums.
//! - [`Rows`], [`HostRows`], [`Memory`]: the external memory that training reads.
//! - [`Trainer`], [`Progress`]: training, one step a call; [`Objective`]: a step's losses and gradients.
//! - [`Checkpoint`]: everything that resuming needs, as safetensors bytes.
//! - [`Adapter`]: what training yields; [`Adapter::h_pd`], [`Adapter::export`], [`Adapter::import`].
//! - [`MemoryBuilder`]: shards and local targets become a [`Memory`]; [`Memory::pair`] pairs them anew.
//! - [`Vocabulary`]: the rows of the head that phase 2 learns over.
//! - [`Gate`]: what may say the adapter's weight at each token.
//! - [`Mixer`], [`generate`]: the mixture with the PLM, and text from it; [`Consult`]: or without it; [`NotMixed`]: a mixture
//!   that an adapter lacks.
//! - [`Regeneration`]: contexts along the mixture's own words, for a second round.
//!
//! # Devices
//!
//! Every function takes a plain [`Device`](burn::tensor::Device) *without* autodiff, which is
//! added where a step needs it: `Device::flex()` on any CPU and in wasm;
//! `Device::wgpu_options().init_async().await?` (feature `webgpu` or `wgpu`) in a tab, awaited
//! once before the first tensor. Nothing here blocks on a device: reads are `async`, and a native
//! caller may `block_on` them. Nothing reads a clock: callers time [`Progress::rows`].

mod adapted;
mod adapter;
mod attend;
mod attention;
pub mod bench;
mod checkpoint;
mod config;
mod contrast;
mod copying;
mod device;
mod distribution;
mod encoder;
mod export;
mod gate;
mod generation;
mod head;
mod head_loss;
mod join;
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
mod kernel;
mod local_context;
mod memory;
mod mixture;
mod pairing;
mod places;
mod product;
mod random;
mod recall;
mod regeneration;
#[cfg(test)]
mod shader_check;
mod steps;
mod tensor_file;
mod tile;
mod train;
mod vocabulary;
mod weighing;

pub use adapter::{Adapter, AdapterOrigin};
pub use attend::AttendContext;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use config::{AdapterConfig, ConfigError};
pub use copying::{CopyBatch, CopyContext};
pub use encoder::{Activation, Encoder};
pub use export::{AdapterSummary, ExportError, ImportError};
pub use gate::{Gate, GateFit};
pub use generation::{Chosen, Consult, ContextStream, Generation, generate};
pub use head::{
    Head, HeadError, HeadPool, HeadSlice, PoolError, PoolFuture, PooledId, SliceRequest, SliceRows, SliceWant, SliceWeights,
};
pub use head_loss::{LossError, frozen_head_cross_entropy};
pub use join::MemoryBuilder;
pub use memory::{HostRows, Memory, MemoryError, Rows, RowsError};
pub use mixture::{Distributions, Hidden, Mixer, NotPrivate, Picked, PrivateMixer};
pub use product::{product, product_with_tile};
pub use recall::RecallContext;
pub use regeneration::{Regeneration, RehearsalError, Rewritten, Who};
pub use tensor_file::{FileError, ReadError};
pub use tile::Tile;
pub use train::{
    Activity, Batch, Extra, Gradients, InitialWeights, LossRecord, Losses, Objective, ObjectiveError, Phase, Progress,
    TrainError, Trainer, Validation, Weights,
};
pub use vocabulary::Vocabulary;
pub use weighing::{NotMixed, Weighing};
