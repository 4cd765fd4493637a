//! The data owner's pairs, read the same way by every command.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use pema_core::{
    data::{Columns, Format, Pair, Split, Template, column_names, import},
    prepare::Prepared,
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{
    folder::{Folder, read},
    tasks::{Task, TaskPairs},
};

/// Which pairs.
#[derive(Args, Clone, Debug)]
pub struct PairArgs {
    /// Pairs to train on: JSONL, CSV or TSV.
    #[arg(long, required_unless_present = "task", conflicts_with = "task")]
    data: Option<PathBuf>,
    /// Pairs for early stopping; without it a part of `--data` is set aside.
    #[arg(long, conflicts_with_all = ["task", "draw"])]
    validation: Option<PathBuf>,
    /// The part set aside.
    #[arg(long, default_value_t = 0.1)]
    validation_fraction: f64,
    /// Decides which part, and what is drawn.
    #[arg(long, default_value_t = 0)]
    split_seed: u64,
    /// Draw so many pairs for training, validation and testing, as `500,80,80`. A larger training set
    /// of the same seed holds the smaller one, beside the same validation and test pairs.
    #[arg(long, value_name = "TRAIN,VALIDATION,TEST")]
    draw: Option<Draw>,
    /// Use only the first so many pairs of each part.
    #[arg(long)]
    limit: Option<usize>,
    #[command(flatten)]
    format: FormatArgs,
}

/// How pairs become prompts and targets.
#[derive(Args, Clone, Debug)]
pub struct FormatArgs {
    /// A task that comes with pairs, their split and a template, instead of files.
    #[arg(long, value_enum)]
    task: Option<Task>,
    /// The folder of a task's data that is not in this program.
    #[arg(long, requires = "task")]
    task_dir: Option<PathBuf>,
    /// Column of the inputs; guessed if absent.
    #[arg(long, requires = "target_column")]
    input_column: Option<String>,
    /// Column of the targets; guessed if absent.
    #[arg(long, requires = "input_column")]
    target_column: Option<String>,
    /// The prompt, with `{input}` where the input goes; `\n` is a line end. A task has its own.
    #[arg(long, required_unless_present = "task")]
    template: Option<String>,
    /// Leave out pairs whose input or target has fewer characters [default: the task's, or 0].
    #[arg(long)]
    min_chars: Option<usize>,
    /// Leave out pairs whose input or target has more characters [default: the task's, or no limit].
    #[arg(long)]
    max_chars: Option<usize>,
}

/// Lengths of a text, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// At least.
    pub least: usize,
    /// At most.
    pub most: usize,
}

impl Lengths {
    /// No limit.
    pub const ANY: Self = Self { least: 0, most: usize::MAX };

    fn keep(self, pairs: &mut Vec<Pair>) {
        let fits = |text: &str| (self.least..=self.most).contains(&text.chars().count());
        pairs.retain(|pair| fits(&pair.input) && fits(&pair.target));
    }
}

/// How many pairs are drawn for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// To learn from.
    pub train: usize,
    /// For early stopping and for choosing mixtures.
    pub validation: usize,
    /// To test with.
    pub test: usize,
}

impl FromStr for Draw {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers: Vec<usize> = text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>()?;
        match numbers[..] {
            [train, validation, test] => Ok(Self { train, validation, test }),
            _ => bail!("three numbers are wanted, as 500,80,80"),
        }
    }
}

impl Draw {
    /// Draws without replacement: test pairs first, then validation, then training pairs.
    fn from(self, mut pairs: Vec<Pair>, seed: u64) -> Result<SplitPairs> {
        let Self { train, validation, test } = self;
        let wanted = train + validation + test;
        ensure!(wanted <= pairs.len(), "{wanted} pairs are to be drawn and there are {} of the right length", pairs.len());
        pairs.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut rest = pairs.into_iter();
        let mut next = |count| rest.by_ref().take(count).collect();
        let (test, valid) = (next(test), next(validation));
        Ok(SplitPairs { train: next(train), valid, test })
    }
}

impl FormatArgs {
    /// The template.
    pub fn template(&self) -> Result<Template> {
        match (&self.template, self.task) {
            (Some(text), _) => Ok(Template::parse(&text.replace("\\n", "\n"))?),
            (None, Some(task)) => task.template(),
            (None, None) => bail!("name a template with --template, or a task with --task"),
        }
    }

    fn lengths(&self) -> Lengths {
        let task = self.task.map_or(Lengths::ANY, Task::lengths);
        Lengths { least: self.min_chars.unwrap_or(task.least), most: self.max_chars.unwrap_or(task.most) }
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
        self.lengths().keep(&mut pairs);
        Ok(pairs)
    }

    fn read_task(&self, task: Task) -> Result<TaskPairs> {
        let mut pairs = task.pairs(self.task_dir.as_deref())?;
        let parts = match &mut pairs {
            TaskPairs::Split(SplitPairs { train, valid, test }) => vec![train, valid, test],
            TaskPairs::Pool(pairs) => vec![pairs],
        };
        parts.into_iter().for_each(|part| self.lengths().keep(part));
        Ok(pairs)
    }
}

/// Pairs by what they are for.
pub struct SplitPairs {
    /// To learn from.
    pub train: Vec<Pair>,
    /// For early stopping.
    pub valid: Vec<Pair>,
    /// To test with; none where neither a task nor `--draw` says which.
    pub test: Vec<Pair>,
}

impl SplitPairs {
    /// Those of a memory, validation last.
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
        let mut split = self.read_all()?;
        for part in [&mut split.train, &mut split.valid, &mut split.test] {
            part.truncate(self.limit.unwrap_or(usize::MAX));
        }
        Ok(split)
    }

    fn read_all(&self) -> Result<SplitPairs> {
        let (pairs, draw) = match (self.format.task, &self.data) {
            (Some(task), _) => match (self.format.read_task(task)?, self.draw.or(task.draw())) {
                (TaskPairs::Split(split), None) => return Ok(split),
                (TaskPairs::Split(split), draw) => ([split.train, split.valid, split.test].concat(), draw),
                (TaskPairs::Pool(pairs), draw) => (pairs, draw),
            },
            (None, Some(data)) => (self.format.read(data)?, self.draw),
            (None, None) => bail!("name a file of pairs with --data, or a task with --task"),
        };
        match (draw, &self.validation) {
            (Some(draw), _) => draw.from(pairs, self.split_seed),
            (None, Some(path)) => Ok(SplitPairs { train: pairs, valid: self.format.read(path)?, test: Vec::new() }),
            (None, None) => self.set_aside(pairs),
        }
    }

    fn set_aside(&self, mut pairs: Vec<Pair>) -> Result<SplitPairs> {
        // Before the split, so that it divides the pairs that are used.
        pairs.truncate(self.limit.unwrap_or(usize::MAX));
        let split = Split::new(pairs.len(), self.validation_fraction, self.split_seed)?;
        let take = |indices: &[usize]| indices.iter().map(|&i| pairs[i].clone()).collect();
        Ok(SplitPairs { train: take(&split.train), valid: take(&split.validation), test: Vec::new() })
    }

    /// Prompts and targets, validation last, and where validation begins.
    pub fn prepare(&self, folder: &Folder) -> Result<(Prepared, u32)> {
        let pairs = self.read()?;
        let validation_from = pairs.train.len() as u32;
        let prepared = Prepared::new(&pairs.all(), &self.format.template()?, &folder.tokenizer, &folder.card)?;
        Ok((prepared, validation_from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize) -> Vec<Pair> {
        (0..count).map(|i| Pair { input: format!("in {i}"), target: format!("out {i}") }).collect()
    }

    #[test]
    fn a_larger_draw_holds_the_smaller_one_and_tests_with_the_same_pairs() {
        let drawn = |text: &str| text.parse::<Draw>().unwrap().from(numbered(20), 3).unwrap();
        let (small, large) = (drawn("5,3,2"), drawn("12, 3, 2"));
        assert_eq!((small.train.len(), small.valid.len(), small.test.len()), (5, 3, 2));
        assert_eq!((&small.valid, &small.test), (&large.valid, &large.test));
        assert_eq!(small.train, large.train[..5]);
        let mut all = [large.train, large.valid, large.test].concat();
        all.sort_by(|a, b| a.input.cmp(&b.input));
        all.dedup();
        assert_eq!(all.len(), 17);
        assert!(Draw { train: 18, validation: 2, test: 1 }.from(numbered(20), 3).is_err());
        assert!("5,3".parse::<Draw>().is_err());
    }

    #[test]
    fn pairs_of_other_lengths_are_left_out() {
        let mut pairs = numbered(12);
        Lengths { least: 5, most: 5 }.keep(&mut pairs);
        assert!(pairs.is_empty());
        pairs = numbered(12);
        // "in 10" has 5 characters and "out 10" has 6.
        Lengths { least: 5, most: 6 }.keep(&mut pairs);
        assert_eq!(pairs.len(), 2);
    }
}
