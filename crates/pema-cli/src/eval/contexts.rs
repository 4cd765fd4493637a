//! Contexts along targets: `f(prompt, y_1 .. y_i)` for every `i`, by teacher forcing.

use anyhow::{Context, Result};
use futures::executor::block_on;
use half::f16;
use pema_adapter::ContextStream;
use pema_core::{
    id::{ContentHash, ContentHasher, TokenId},
    memory::Shard,
    prepare::Prepared,
    wire::PromptStates,
};

use crate::{
    client::Client,
    folder::{Folder, read, write},
    progress,
};

/// A reference and the PLM's contexts along it.
pub struct Reference {
    /// The prompt.
    pub prompt: Vec<TokenId>,
    /// The target with its EOS.
    pub target: Vec<TokenId>,
    /// The prompt's hidden states: `f(prompt)` `[d]`, or those of all its tokens, `[p, d]`, of which it is
    /// the last.
    pub states: Vec<f16>,
    /// `f` before each token of the target, `[target, d]`.
    pub h: Vec<f16>,
    /// Tokens of the input alone, `SL` of Gradual Unrolling.
    pub source_len: u32,
}

/// References, and a name for their tokens.
pub struct References {
    /// One for each pair.
    pub all: Vec<Reference>,
    /// Their name.
    pub name: ContentHash,
}

/// The contexts of every pair, one row for each token of its target, after those of its prompt's earlier
/// tokens if `states` asks for all; kept in the folder.
pub fn along_targets(folder: &Folder, client: &Client, pairs: &Prepared, states: PromptStates) -> Result<Shard> {
    let path = folder.file(&match states {
        PromptStates::Last => format!("along-{}", name(pairs)),
        PromptStates::All => format!("along-all-{}", name(pairs)),
    });
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
                0 => block_on(stream.start(&prompt.tokens, states))?,
                _ => block_on(stream.push(target[step - 1]))?,
            };
            shard.h.extend(frame.prompt_states());
        }
        let rows = states.earlier(prompt.tokens.len()) + target.len();
        shard.prompt.extend(std::iter::repeat_n(number, rows));
        shard.step.extend(0..rows as u32);
        // The model's own tokens are not asked for here.
        shard.token.extend(std::iter::repeat_n(TokenId::default(), rows));
        progress::show(format_args!("{} of {} references", number + 1, pairs.prompts.len()));
    }
    progress::clear();
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

/// The pairs with their contexts, which [`along_targets`] gave with the same `states`.
pub fn references(prepared: &Prepared, shard: &Shard, states: PromptStates) -> Result<References> {
    let mut first = 0;
    let mut all = Vec::with_capacity(prepared.prompts.len());
    for ((number, prompt), &source_len) in (0..).zip(&prepared.prompts).zip(&prepared.source_lens) {
        let target = prepared.targets.of(number).context("a prompt without a target")?.to_vec();
        // The first row after the earlier ones is the prompt's last token's.
        let start = first + states.earlier(prompt.tokens.len());
        let end = start + target.len();
        let of_prompt = (first..=start).flat_map(|row| shard.row(row)).copied().collect();
        let h = (start..end).flat_map(|row| shard.row(row)).copied().collect();
        first = end;
        all.push(Reference { prompt: prompt.tokens.clone(), target, states: of_prompt, h, source_len });
    }
    Ok(References { all, name: name(prepared) })
}
