//! `pema bench`: how long one training step takes on this machine's CPU.

use std::{num::NonZeroUsize, time::Instant};

use anyhow::Result;
use burn::tensor::Device;
use futures::executor::block_on;
use pema_adapter::bench::{Step, StepShape};

/// The step's sizes; by default those of the default model.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Rows of a batch.
    #[arg(short, default_value = "64")]
    n: NonZeroUsize,
    /// Entries of a hidden state.
    #[arg(short, default_value = "576")]
    d: NonZeroUsize,
    /// The vocabulary's size.
    #[arg(short, default_value = "49152")]
    v: NonZeroUsize,
    /// The adapter's rank.
    #[arg(short, default_value = "128")]
    r: NonZeroUsize,
    /// Steps to time, after one that is not.
    #[arg(long, default_value = "5")]
    steps: NonZeroUsize,
}

/// Prints one JSON object: the shape and the seconds of every step.
pub fn run(args: &Args) -> Result<()> {
    let shape = StepShape { n: args.n.get(), d: args.d.get(), v: args.v.get(), r: args.r.get() };
    let step = Step::new(shape, &Device::flex())?;
    block_on(step.take())?;
    let mut seconds = Vec::new();
    for _ in 0..args.steps.get() {
        let start = Instant::now();
        block_on(step.take())?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    println!("{}", serde_json::json!({ "shape": shape, "seconds": seconds }));
    Ok(())
}
