//! `pema bench`: how long one training step takes on this machine's CPU.

use std::{num::NonZeroUsize, time::Instant};

use anyhow::Result;
use burn::tensor::Device;
use futures::executor::block_on;
use pema_adapter::bench::{SmallStep, Step, StepShape};

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
    /// Only what a step does beside the head: the products with A and B, their gradients, and Adam.
    #[arg(long)]
    without_head: bool,
}

/// Prints one JSON object: the shape and the seconds of every step.
pub fn run(args: &Args) -> Result<()> {
    let shape = StepShape { n: args.n.get(), d: args.d.get(), v: args.v.get(), r: args.r.get() };
    let seconds = if args.without_head {
        let mut step = SmallStep::new(shape, &Device::flex());
        time(args, || Ok(block_on(step.take())?))?
    } else {
        let step = Step::new(shape, &Device::flex())?;
        time(args, || Ok(block_on(step.take())?))?
    };
    println!("{}", serde_json::json!({ "shape": shape, "seconds": seconds }));
    Ok(())
}

/// Seconds of every step but the first.
fn time(args: &Args, mut step: impl FnMut() -> Result<f32>) -> Result<Vec<f64>> {
    step()?;
    let mut timed = || {
        let start = Instant::now();
        step()?;
        Ok(start.elapsed().as_secs_f64())
    };
    (0..args.steps.get()).map(|_| timed()).collect()
}
