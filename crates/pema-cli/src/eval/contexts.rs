//! Contexts along targets: `f(prompt, y_1 .. y_i)` for every `i`, by teacher forcing.

use anyhow::{Context, Result};
use futures::executor::block_on;
use half::f16;
use pema_adapter::ContextStream;
use pema_core::{
    id::{ContentHash, ContentHasher, TokenId},
    memory::Shard,
    prepare::Prepared,
};

use crate::{
    client::Client,
    folder::{Folder, read, write},
};

/// A reference and the PLM's contexts along it.
pub struct Reference {
    /// The prompt.
    pub prompt: Vec<TokenId>,
    /// The target with its EOS.
    pub target: Vec<TokenId>,
    /// `f` before each token of the target, `[target, d]`.
    pub h: Vec<Vec<f16>>,
    /// Tokens of the input alone, `SL` of Gradual Unrolling.
    pub source_len: u32,
}

impl Reference {
    /// `f(prompt)`.
    pub fn h_prompt(&self) -> &[f16] {
        self.h.first().map_or(&[], Vec::as_slice)
    }
}

/// References, and a name for their tokens.
pub struct References {
    /// One for each pair.
    pub all: Vec<Reference>,
    /// Their name.
    pub name: ContentHash,
}

/// The contexts of every pair, one row for each token of its target; kept in the folder.
pub fn along_targets(folder: &Folder, client: &Client, pairs: &Prepared) -> Result<Shard> {
    let path = folder.file(&format!("along-{}", name(pairs)));
    if path.exists() {
        return Ok(Shard::decode(&read(&path)?)?);
    }
    // A stream of its own: the service closes one that training has left idle.
    let mut stream = client.stream()?;
    let d = folder.card.hidden_size as usize;
    let mut shard = Shard { h: Vec::new(), hidden_size: d, prompt: Vec::new(), step: Vec::new(), token: Vec::new() };
    for (number, prompt) in (0..).zip(&pairs.prompts) {
        let target = pairs.targets.of(number).context("a prompt without a target")?;
        for step in 0..target.len() {
            let frame = match step {
                0 => block_on(stream.start(&prompt.tokens))?,
                _ => block_on(stream.push(target[step - 1]))?,
            };
            shard.h.extend(frame.h);
            shard.prompt.push(number);
            shard.step.push(step as u32);
            // The model's own token is not asked for here.
            shard.token.push(TokenId::default());
        }
        eprint!("\r{} of {} references", number + 1, pairs.prompts.len());
    }
    eprintln!();
    write(&path, &shard.encode())?;
    Ok(shard)
}

/// Names pairs by their tokens.
fn name(pairs: &Prepared) -> ContentHash {
    let mut hasher = ContentHasher::default();
    for (number, prompt) in (0..).zip(&pairs.prompts) {
        for part in [prompt.tokens.as_slice(), pairs.targets.of(number).unwrap_or_default()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            part.iter().for_each(|token| hasher.update(&token.0.to_le_bytes()));
        }
    }
    hasher.finish()
}

/// The pairs with their contexts.
pub fn references(prepared: &Prepared, shard: &Shard) -> Result<References> {
    let mut row = 0;
    let mut all = Vec::with_capacity(prepared.prompts.len());
    for ((number, prompt), &source_len) in (0..).zip(&prepared.prompts).zip(&prepared.source_lens) {
        let target = prepared.targets.of(number).context("a prompt without a target")?.to_vec();
        let h = (row..row + target.len()).map(|row| shard.row(row).to_vec()).collect();
        row += target.len();
        all.push(Reference { prompt: prompt.tokens.clone(), target, h, source_len });
    }
    Ok(References { all, name: name(prepared) })
}
