//! `pema bench`: how long one training step takes on this machine.

use std::{num::NonZeroUsize, time::Instant};

use anyhow::Result;
use futures::executor::block_on;
use pema_adapter::bench::{PlainStep, SmallStep, SquareProduct, Step, StepShape};

use crate::device::DeviceArgs;

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
    /// The step as plain Burn operations, with logits `[n, v]`.
    #[arg(long, conflicts_with = "without_head")]
    plain: bool,
    /// Only a product of two square f32 matrices with so many rows: the machine's peak.
    #[arg(long, value_name = "ROWS", conflicts_with_all = ["without_head", "plain"])]
    matmul: Option<NonZeroUsize>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Prints one JSON object: the shape, the seconds of every step, and the bytes that the device then holds, if it says.
pub fn run(args: &Args) -> Result<()> {
    let shape = StepShape { n: args.n.get(), d: args.d.get(), v: args.v.get(), r: args.r.get() };
    let device = args.device.place.start()?;
    let seconds = if let Some(rows) = args.matmul {
        let product = SquareProduct::new(rows.get(), &device);
        time(args, || Ok(block_on(product.take())?))?
    } else if args.without_head {
        let mut step = SmallStep::new(shape, &device);
        time(args, || Ok(block_on(step.take())?))?
    } else if args.plain {
        let step = PlainStep::new(shape, &device);
        time(args, || Ok(block_on(step.take())?))?
    } else {
        let step = Step::new(shape, &device)?;
        time(args, || Ok(block_on(step.take())?))?
    };
    let held = device.memory_pool_usage().map(|usage| usage.bytes_reserved);
    println!("{}", serde_json::json!({ "shape": shape, "seconds": seconds, "device_bytes": held }));
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
