//! Tasks that come with a template and a split: four whose pairs are in this program, and WMT22's
//! news, which is not and is read from a folder.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use pema_core::data::{Columns, Format, Pair, Template, import};
use serde::Deserialize;

use crate::{
    folder::read,
    pairs::{Draw, Lengths, SplitPairs},
};

/// A task by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// English to German news: `train.jsonl` with `en` and `du` in `--task-dir`.
    Wmt22,
    /// Informal to formal English, the page's sample.
    Formality,
    /// Summarise a support ticket.
    Tickets,
    /// Answer from a passage.
    Passages,
    /// Classify with a word.
    Labels,
}

/// A task's pairs.
pub enum TaskPairs {
    /// As the task splits them.
    Split(SplitPairs),
    /// To be drawn from.
    Pool(Vec<Pair>),
}

/// What is beside a task's files.
#[derive(Deserialize)]
struct Manifest {
    template: Template,
    input_column: String,
    target_column: String,
    /// Where the rows are all in one file: how many are for what, in this order.
    split: Option<Counts>,
}

#[derive(Deserialize)]
struct Counts {
    train: usize,
    dev: usize,
    test: usize,
}

/// A plain prompt: WMT22 is for models that may know no chat format.
const WMT22_TEMPLATE: &str = "English: {input}\nGerman:";

/// The file in the task's folder from which training, validation and test pairs are drawn.
const WMT22_FILE: &str = "train.jsonl";

impl Task {
    /// The prompt; the chat formats are those of the default model.
    pub fn template(self) -> Result<Template> {
        match self.manifest()? {
            Some(manifest) => Ok(manifest.template),
            None => Ok(Template::parse(WMT22_TEMPLATE)?),
        }
    }

    /// How many pairs are drawn for what, if the task does not split them.
    pub fn draw(self) -> Option<Draw> {
        (self == Self::Wmt22).then_some(Draw { train: 500, validation: 80, test: 80 })
    }

    /// The lengths of inputs and targets that are kept.
    pub fn lengths(self) -> Lengths {
        match self {
            Self::Wmt22 => Lengths { least: 20, most: 150 },
            _ => Lengths::ANY,
        }
    }

    /// The task's pairs; `folder` is where the files are that this program lacks.
    pub fn pairs(self, folder: Option<&Path>) -> Result<TaskPairs> {
        let Some(Manifest { input_column, target_column, split, .. }) = self.manifest()? else {
            let folder = folder.context("the data of this task is not in this program: name its folder with --task-dir")?;
            let path = folder.join(WMT22_FILE);
            let columns = Columns { input: "en".to_owned(), target: "du".to_owned() };
            let pairs = import(&read(&path)?, Format::Jsonl, &columns)?.complete();
            return Ok(TaskPairs::Pool(pairs.with_context(|| format!("in {}", path.display()))?));
        };
        let columns = Columns { input: input_column, target: target_column };
        let file = |text: &&str| Ok(import(text.as_bytes(), Format::Jsonl, &columns)?.complete()?);
        let files = self.files().iter().map(file).collect::<Result<Vec<Vec<Pair>>>>()?;
        let split = match (&files[..], split) {
            ([train, valid, test], None) => SplitPairs { train: train.clone(), valid: valid.clone(), test: test.clone() },
            ([all], Some(Counts { train, dev, test })) => {
                let part = |from, count| all.iter().skip(from).take(count).cloned().collect();
                SplitPairs { train: part(0, train), valid: part(train, dev), test: part(train + dev, test) }
            }
            _ => bail!("the manifest of this task does not fit its files"),
        };
        Ok(TaskPairs::Split(split))
    }

    fn manifest(self) -> Result<Option<Manifest>> {
        let text = match self {
            Self::Wmt22 => return Ok(None),
            Self::Formality => include_str!("../../../web/public/samples/formality.json"),
            Self::Tickets => include_str!("../../../tests/data/tickets.json"),
            Self::Passages => include_str!("../../../tests/data/passages.json"),
            Self::Labels => include_str!("../../../tests/data/labels.json"),
        };
        Ok(Some(serde_json::from_str(text)?))
    }

    /// Training, validation and test pairs, or all in one.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::Wmt22 => &[],
            Self::Formality => &[
                include_str!("../../../web/public/samples/formality.train.jsonl"),
                include_str!("../../../web/public/samples/formality.dev.jsonl"),
                include_str!("../../../web/public/samples/formality.test.jsonl"),
            ],
            Self::Tickets => &[include_str!("../../../tests/data/tickets.jsonl")],
            Self::Passages => &[include_str!("../../../tests/data/passages.jsonl")],
            Self::Labels => &[include_str!("../../../tests/data/labels.jsonl")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(task: Task) -> [usize; 3] {
        let TaskPairs::Split(SplitPairs { train, valid, test }) = task.pairs(None).unwrap() else { panic!("{task:?}") };
        [train.len(), valid.len(), test.len()]
    }

    #[test]
    fn tasks_in_this_program_have_their_whole_splits() {
        assert_eq!(sizes(Task::Formality), [320, 40, 40]);
        for task in [Task::Tickets, Task::Passages, Task::Labels] {
            assert_eq!(sizes(task), [120, 40, 40], "{task:?}");
        }
    }

    #[test]
    fn every_task_has_a_template() {
        for task in Task::value_variants() {
            assert!(task.template().unwrap().render("xyz").contains("xyz"), "{task:?}");
        }
    }

    #[test]
    fn wmt22_is_read_from_its_folder() {
        assert!(Task::Wmt22.pairs(None).is_err());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(WMT22_FILE), "{\"en\": \"one\", \"du\": \"eins\"}\n").unwrap();
        let TaskPairs::Pool(pairs) = Task::Wmt22.pairs(Some(folder.path())).unwrap() else { panic!("a split") };
        assert_eq!((pairs[0].input.as_str(), pairs[0].target.as_str()), ("one", "eins"));
    }
}
