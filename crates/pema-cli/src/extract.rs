//! `pema extract`: an external memory of the pairs' prompts, into a folder.

use std::path::PathBuf;

use anyhow::Result;
use pema_core::wire::MemoryKind;

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
    /// The folder to write: model card, head, tokenizer, shards.
    #[arg(long)]
    out: PathBuf,
}

/// Extracts.
pub fn run(args: &Args) -> Result<()> {
    let (client, card) = Client::connect(&args.service)?;
    let head = client.artifact("/v1/head", &card.head.sha256)?;
    let tokenizer = client.artifact("/v1/tokenizer.json", &card.tokenizer.sha256)?;
    let folder = Folder::create(&args.out, card, &head, &tokenizer)?;
    let (prepared, _) = args.pairs.prepare(&folder)?;
    let manifest = client.memory(&prepared.request(MemoryKind::Steps), |entry, bytes| folder.put_shard(entry, &bytes))?;
    folder.put_manifest(&manifest)?;
    println!("{} pairs of rows and target tokens from {} prompts", prepared.targets.pairs(), prepared.prompts.len());
    Ok(())
}
