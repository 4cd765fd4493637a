//! `pema train`: an adapter from a memory and the local targets.

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use futures::executor::block_on;
use pema_adapter::{Activity, AdapterConfig, GateFit, Progress, Trainer};
use pema_core::align::Pairing;

use crate::{
    device::DeviceArgs,
    folder::{Folder, write},
    pairs::PairArgs,
    progress,
};

/// What to train on and how; settings not given are the reference's.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The folder that `pema extract` wrote for the same pairs.
    #[arg(long)]
    from: PathBuf,
    #[command(flatten)]
    pairs: PairArgs,
    /// Settings as JSON, such as '{"rank": 128, "alpha": 128}'; the contexts are the memory's.
    #[arg(long, default_value = "{}")]
    settings: String,
    /// Which of the memory's contexts each target token is learned from [default: the settings', or position].
    #[arg(long, value_enum)]
    pairing: Option<PairingArg>,
    /// The adapter's name, for people.
    #[arg(long, default_value = "adapter")]
    name: String,
    #[command(flatten)]
    device: DeviceArgs,
    /// The adapter's file.
    #[arg(long)]
    out: PathBuf,
}

/// See [`Pairing`].
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PairingArg {
    /// The i-th token from the i-th context, as the paper.
    Position,
    /// From the context after words that say what the target says so far. Needs contexts of steps.
    Alignment,
    /// Every token from that of the prompt.
    Prompt,
}

impl From<PairingArg> for Pairing {
    fn from(pairing: PairingArg) -> Self {
        match pairing {
            PairingArg::Position => Self::Position,
            PairingArg::Alignment => Self::Alignment,
            PairingArg::Prompt => Self::Prompt,
        }
    }
}

/// Trains.
pub fn run(args: &Args) -> Result<()> {
    let config: AdapterConfig = serde_json::from_str(&args.settings).context("--settings")?;
    let device = args.device.place.start()?;
    let folder = Folder::open(&args.from)?;
    let (prepared, validation_from) = args.pairs.prepare(&folder)?;
    let pairing = args.pairing.map_or(config.pairing, Pairing::from);
    let config = AdapterConfig { contexts: folder.contexts()?, pairing, ..config };
    config.validate()?;
    let head = folder.head(&device)?;
    let memory = folder.memory(&prepared, validation_from, &config, &head)?;
    println!("{} pairs of a row and a target token to learn from, {} to validate on", memory.train().len(), memory.valid().len());
    let mut trainer = block_on(Trainer::new(config, memory, head, folder.card.model.clone(), device))?;
    let began = Instant::now();
    while !trainer.is_done() {
        report(&block_on(trainer.step())?, began);
    }
    let adapter = trainer.adapter().context("training ended without an adapter")?;
    write(&args.out, &block_on(adapter.export(&args.name))?)?;
    println!("{} written after {:.1} s", args.out.display(), began.elapsed().as_secs_f64());
    Ok(())
}

fn report(progress: &Progress, began: Instant) {
    let Progress { phase, epoch, steps_in_phase, loss, .. } = progress;
    let seconds = began.elapsed().as_secs_f64();
    if progress.activity == Activity::Training {
        progress::show(format_args!("{seconds:.1} s {phase:?} epoch {epoch} step {steps_in_phase} loss {loss:.4}"));
    }
    if let Some(GateFit { pairs, loss, constant_loss, lambda }) = progress.gate {
        progress::clear();
        println!(
            "{seconds:.1} s gate learned from {pairs} pairs: loss {loss:.4}, with the best constant weight, {lambda:.2}, \
             {constant_loss:.4}"
        );
    }
    if let Some(validation) = progress.validation {
        let best = if validation.best { " best" } else { "" };
        progress::clear();
        println!("{seconds:.1} s {phase:?} epoch {epoch} step {steps_in_phase} validation {:.4}{best}", validation.loss);
    }
}
