//! `pema regenerate`: a memory of contexts along the adapted mixture's own words, for a second round
//! of training. It tells generated text to the model's owner, so it says first how much of the targets
//! that would be, and keeps within what the user allows.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use futures::executor::block_on;
use pema_adapter::{Adapter, Mixer, Regeneration, Who};
use pema_core::{
    align::Contexts,
    memory::{FinishedShard, ShardBuilder, StoredManifest},
    overlap::{SEQUENCE, Told},
    prepare::Prepared,
    schedule::GradualUnrolling,
};

use crate::{
    client::{Client, ServiceArgs},
    device::DeviceArgs,
    folder::{Folder, read},
    generate::MixArgs,
    pairs::PairArgs,
    progress,
    writer::Mixture,
};

const WARNING: &str = "\
Regenerating sends text that the adapted mixture writes to the model's owner, token by token, for every
pair that the adapter has learned from. Such text can resemble the targets.";

/// What to write and how much of the targets it may tell.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    pairs: PairArgs,
    /// The folder of the memory that the adapter was trained on, with the same pairs.
    #[arg(long)]
    from: PathBuf,
    /// The adapter.
    #[arg(long)]
    adapter: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    mix: MixArgs,
    /// No sequence of so many tokens is written twice; 0 allows it.
    #[arg(long, default_value_t = 4)]
    no_repeat: usize,
    /// The largest share, in [0, 1], of the targets' sequences of 4 tokens that may be told to the
    /// model's owner: with a larger estimate nothing is sent, and sending ends before it is passed.
    #[arg(long)]
    max_overlap: f64,
    /// Send. Without this the estimate is printed and nothing leaves this machine.
    #[arg(long)]
    send: bool,
    /// The folder to write, as `pema extract` does.
    #[arg(long)]
    out: PathBuf,
}

/// Regenerates.
pub fn run(args: &Args) -> Result<()> {
    let most = args.max_overlap;
    ensure!((0.0..=1.0).contains(&most), "--max-overlap is a share, from 0 to 1");
    let device = args.device.place.start()?;
    let folder = Folder::open(&args.from)?;
    let head = folder.head(&device)?;
    let (_, adapter) = Adapter::import(&read(&args.adapter)?, head.hash(), &device)?;
    let contexts = folder.contexts()?;
    ensure!(contexts == adapter.origin().config.contexts, "the adapter was not trained on contexts of {contexts:?}");
    let mixer = Mixer::new(head, Some(adapter), device);
    let (prepared, _) = args.pairs.prepare(&folder)?;
    let unrollings = args.unrollings(&folder)?;
    let regeneration = Regeneration {
        mixer: &mixer,
        pairs: &prepared,
        unrollings: &unrollings,
        no_repeat: args.no_repeat,
        endings: &folder.card.end_of_generation,
    };

    println!("{WARNING}\n\nEstimate from stored contexts; nothing is sent:");
    let estimate = estimate(&regeneration, &folder, contexts)?;
    ensure!(estimate <= most, "the estimate, {estimate:.3}, is above --max-overlap {most}: nothing was sent");
    if !args.send {
        println!("Nothing was sent. Add --send to go on.");
        return Ok(());
    }
    let manifest = send(&regeneration, &folder, args)?;
    println!("{} rows of {} prompts, round {}", manifest.memory.rows, manifest.memory.prompts, manifest.round);
    Ok(())
}

impl Args {
    /// The adapter's weights after each prompt.
    fn unrollings(&self, folder: &Folder) -> Result<Vec<GradualUnrolling>> {
        let mixture = Mixture::from(self.mix);
        let unrolling = |input: &str| Ok(mixture.unrolling(folder.tokenizer.encode(input)?.len() as u32)?);
        self.pairs.read()?.all().iter().map(|pair| unrolling(&pair.input)).collect()
    }
}

/// The larger share of the targets' sequences in what the adapter would write alone and, where there are
/// contexts of every step, in what the mixture would.
fn estimate(regeneration: &Regeneration<'_>, folder: &Folder, contexts: Contexts) -> Result<f64> {
    let writers: &[(Who, &str)] = match contexts {
        Contexts::Steps => &[(Who::Adapter, "the adapter alone"), (Who::Mixture, "the mixture")],
        Contexts::Prompt | Contexts::PromptAll => &[(Who::Adapter, "the adapter alone")],
    };
    let mut largest = 0.0_f64;
    for (who, name) in writers {
        let mut told = Told::nothing(&regeneration.pairs.targets);
        for shard in folder.shards()? {
            let shard = shard?;
            for (prompt, rows) in shard.prompt_rows() {
                block_on(regeneration.rehearse(*who, prompt, &shard, rows, &mut told))?;
            }
        }
        report(name, &told);
        largest = largest.max(told.sequences());
    }
    Ok(largest)
}

fn send(regeneration: &Regeneration<'_>, folder: &Folder, args: &Args) -> Result<StoredManifest> {
    let Prepared { prompts, targets, .. } = regeneration.pairs;
    let (client, card) = Client::connect(&args.service)?;
    ensure!(card.model == folder.card.model, "the service has another model than {}", args.from.display());
    let out = folder.copy_model(&args.out)?;
    let keep = |shard: Option<FinishedShard>| shard.map_or(Ok(()), |(entry, bytes)| out.put_shard(&entry, &bytes));
    let mut stream = client.stream()?;
    let mut told = Told::nothing(targets);
    let mut builder = ShardBuilder::new(card.hidden_size as usize);
    for prompt in 0..prompts.len() as u32 {
        let rewritten = block_on(regeneration.rewrite(&mut stream, prompt, &mut told, args.max_overlap))?;
        let Some(rewritten) = rewritten else {
            bail!("ended at pair {}: its next token would pass --max-overlap {}", prompt + 1, args.max_overlap);
        };
        keep(builder.push(rewritten.h, rewritten.tokens)?)?;
        progress::show(format_args!("{} of {} prompts", prompt + 1, prompts.len()));
    }
    progress::clear();
    report("the mixture, as it was sent,", &told);
    let (last, manifest) = builder.finish(card.model, folder.round()?.saturating_add(1))?;
    keep(last)?;
    out.put_manifest(&manifest)?;
    Ok(manifest)
}

fn report(who: &str, told: &Told<'_>) {
    let [sequences, tokens] = [told.sequences(), told.tokens()].map(|share| 100.0 * share);
    println!("{who} says {sequences:.1}% of the targets' sequences of {SEQUENCE} tokens and {tokens:.1}% of their tokens");
}
