//! `pema extract`: an external memory of the pairs' prompts, into a folder.

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use pema_core::{align::Contexts, head::HeadForm};

use crate::{
    client::{Client, ServiceArgs},
    folder::Folder,
    pairs::PairArgs,
};

/// What to extract and where to.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    pairs: PairArgs,
    /// Which contexts of the model the adapter will learn from.
    #[arg(long, value_enum, default_value_t = ContextsArg::Steps)]
    contexts: ContextsArg,
    /// In which form to download the LM head.
    #[arg(long, value_enum, default_value_t = HeadArg::F16)]
    head: HeadArg,
    /// The folder to write: model card, head, tokenizer, shards.
    #[arg(long)]
    out: PathBuf,
}

/// See [`Contexts`].
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ContextsArg {
    /// After each of the model's own words: one row a token, as the paper.
    Steps,
    /// Of the prompt alone: one row a pair, much faster, and no target's length is told.
    Prompt,
    /// Of all the prompt's tokens: one row each, which an adapter may attend over. As fast, and tells the
    /// same.
    PromptAll,
}

impl From<ContextsArg> for Contexts {
    fn from(contexts: ContextsArg) -> Self {
        match contexts {
            ContextsArg::Steps => Self::Steps,
            ContextsArg::Prompt => Self::Prompt,
            ContextsArg::PromptAll => Self::PromptAll,
        }
    }
}

/// See [`HeadForm`].
#[derive(Clone, Copy, Debug, ValueEnum)]
enum HeadArg {
    /// As the service exports it.
    F16,
    /// Half the download; losses are within half a percent. Adapters fit either.
    Int8,
}

/// Extracts.
pub fn run(args: &Args) -> Result<()> {
    let (client, card) = Client::connect(&args.service)?;
    let form = match args.head {
        HeadArg::F16 => HeadForm::F16,
        HeadArg::Int8 => HeadForm::Int8,
    };
    let head = card.head_in(form).context("the service offers no int8 head: leave out `--head`")?;
    let head = client.artifact(form.path(), &head.sha256)?;
    let tokenizer = client.artifact("/v1/tokenizer.json", &card.tokenizer.sha256)?;
    let folder = Folder::create(&args.out, card, &head, &tokenizer)?;
    let (prepared, _) = args.pairs.prepare(&folder)?;
    let contexts = args.contexts.into();
    let request = prepared.request(contexts, &folder.card)?;
    eprintln!("{} rows to be asked for, about {} bytes", prepared.rows(contexts), prepared.bytes(contexts, &folder.card));
    let began = Instant::now();
    let manifest = client.memory(&request, &folder.card.model, |entry, bytes| folder.put_shard(entry, &bytes))?;
    folder.put_manifest(&manifest)?;
    let (prompts, pairs) = (prepared.prompts.len(), prepared.targets.pairs());
    let bytes: u64 = manifest.shards.iter().map(|shard| shard.bytes).sum();
    println!(
        "{} rows of {prompts} prompts, {bytes} bytes, in {:.1} s; {pairs} pairs of a row and a target token",
        manifest.rows,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}
