//! The data owner's pairs, read the same way by every command.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use pema_core::{
    data::{Columns, Format, Pair, Split, Template, column_names, import},
    prepare::Prepared,
};

use crate::folder::{Folder, read};

/// Which pairs.
#[derive(Args, Clone, Debug)]
pub struct PairArgs {
    /// Pairs to train on: JSONL, CSV or TSV.
    #[arg(long)]
    data: PathBuf,
    /// Pairs for early stopping; without it a part of `--data` is set aside.
    #[arg(long)]
    validation: Option<PathBuf>,
    /// The part set aside.
    #[arg(long, default_value_t = 0.1)]
    validation_fraction: f64,
    /// Decides which part.
    #[arg(long, default_value_t = 0)]
    split_seed: u64,
    /// Use only the first so many pairs of each file.
    #[arg(long)]
    limit: Option<usize>,
    #[command(flatten)]
    format: FormatArgs,
}

/// How pairs become prompts and targets.
#[derive(Args, Clone, Debug)]
pub struct FormatArgs {
    /// Column of the inputs; guessed if absent.
    #[arg(long, requires = "target_column")]
    input_column: Option<String>,
    /// Column of the targets; guessed if absent.
    #[arg(long, requires = "input_column")]
    target_column: Option<String>,
    /// The prompt, with `{input}` where the input goes; `\n` is a line end.
    #[arg(long)]
    template: String,
    /// Leave out pairs whose input or target has fewer characters.
    #[arg(long, default_value_t = 0)]
    min_chars: usize,
    /// Leave out pairs whose input or target has more characters.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    max_chars: usize,
}

impl FormatArgs {
    /// The template.
    pub fn template(&self) -> Result<Template> {
        Ok(Template::parse(&self.template.replace("\\n", "\n"))?)
    }

    /// The pairs of a file.
    pub fn read(&self, path: &Path) -> Result<Vec<Pair>> {
        let bytes = read(path)?;
        let format = Format::detect(&path.to_string_lossy(), &bytes);
        let columns = match (&self.input_column, &self.target_column) {
            (Some(input), Some(target)) => Columns { input: input.clone(), target: target.clone() },
            _ => Columns::guess(&column_names(&bytes, format)?)
                .context("the columns cannot be guessed: name them with --input-column and --target-column")?,
        };
        let mut pairs = import(&bytes, format, &columns)?.complete().with_context(|| format!("in {}", path.display()))?;
        let fits = |text: &str| (self.min_chars..=self.max_chars).contains(&text.chars().count());
        pairs.retain(|pair| fits(&pair.input) && fits(&pair.target));
        Ok(pairs)
    }
}

/// Pairs by what they are for.
pub struct SplitPairs {
    /// To learn from.
    pub train: Vec<Pair>,
    /// For early stopping.
    pub valid: Vec<Pair>,
}

impl SplitPairs {
    /// All of them, validation last, as a memory has them.
    pub fn all(&self) -> Vec<Pair> {
        self.train.iter().chain(&self.valid).cloned().collect()
    }
}

impl PairArgs {
    /// How pairs become prompts and targets.
    pub fn format(&self) -> &FormatArgs {
        &self.format
    }

    /// The pairs.
    pub fn read(&self) -> Result<SplitPairs> {
        let first = |mut pairs: Vec<Pair>| {
            pairs.truncate(self.limit.unwrap_or(usize::MAX));
            pairs
        };
        let pairs = first(self.format.read(&self.data)?);
        let (train, valid) = match &self.validation {
            Some(path) => (pairs, first(self.format.read(path)?)),
            None => {
                let split = Split::new(pairs.len(), self.validation_fraction, self.split_seed)?;
                let take = |indices: &[usize]| indices.iter().map(|&i| pairs[i].clone()).collect::<Vec<_>>();
                (take(&split.train), take(&split.validation))
            }
        };
        Ok(SplitPairs { train, valid })
    }

    /// Prompts and targets, validation last, and where validation begins.
    pub fn prepare(&self, folder: &Folder) -> Result<(Prepared, u32)> {
        let pairs = self.read()?;
        let validation_from = pairs.train.len() as u32;
        let prepared = Prepared::new(&pairs.all(), &self.format.template()?, &folder.tokenizer, &folder.card)?;
        Ok((prepared, validation_from))
    }
}
