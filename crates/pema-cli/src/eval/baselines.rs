//! Outside comparators: LoRA and full fine-tuning of the same model on the same pairs, by a Python
//! script. They see the weights, which no other method does.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use pema_core::{
    data::{Pair, Template},
    id::ContentHash,
};
use pema_service::{
    config::ModelConfig,
    model::{Cache as ModelCache, ModelSource},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{cache::Cache, costs::Costs, likelihood::Likelihood};
use crate::{folder::write, pairs::SplitPairs};

/// The script, which `tests/baselines/README.md` describes.
const SCRIPT: &str = include_str!("../../../../tests/baselines/finetune.py");

/// How the model itself is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// LoRA on every linear layer.
    Lora,
    /// All weights.
    Full,
}

impl Baseline {
    /// For the command line and for people.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Lora => ("lora", "LoRA"),
            Self::Full => ("full", "Full fine-tuning"),
        }
    }
}

/// Which comparators, and with what.
#[derive(clap::Args, Debug)]
pub struct BaselineArgs {
    /// Also train the model itself, with Python's torch, transformers and peft: lora, full.
    #[arg(long, value_enum, value_delimiter = ',')]
    baselines: Vec<Baseline>,
    /// The model that they train, as `pema serve --model`: the one that is served.
    #[arg(long, default_value = "default")]
    baseline_model: ModelSource,
    /// Passes over the pairs that they make at most.
    #[arg(long, default_value_t = 10)]
    baseline_epochs: usize,
    /// The interpreter.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

/// What one comparator gave.
pub struct Trained {
    /// Which.
    pub baseline: Baseline,
    /// What the script reports of its settings.
    pub settings: Value,
    /// Of test references.
    pub likelihoods: Vec<Likelihood>,
    /// Of the validation references, at its best epoch.
    pub validation_perplexity: f64,
    /// Greedy texts of test pairs.
    pub outputs: Vec<String>,
    /// What it took.
    pub costs: Costs,
}

/// The script's report, so far as it is read here.
#[derive(Deserialize)]
struct Output {
    seed: u64,
    lr: f64,
    batch: usize,
    rank: Option<usize>,
    best_epoch: usize,
    validation_perplexity: Vec<f64>,
    trainable_parameters: usize,
    training_seconds: f64,
    peak_memory_bytes: u64,
    versions: Value,
    after: After,
}

#[derive(Deserialize)]
struct After {
    likelihoods: Vec<Likelihood>,
    outputs: Vec<String>,
}

impl BaselineArgs {
    /// Each comparator, or why it was left out.
    pub fn run(
        &self,
        split: &SplitPairs,
        template: &Template,
        cache: &Cache,
        model: &ContentHash,
    ) -> Vec<(Baseline, Result<Trained>)> {
        let one = |&baseline| (baseline, self.train(baseline, split, template, cache, model));
        self.baselines.iter().map(one).collect()
    }

    fn train(
        &self,
        baseline: Baseline,
        split: &SplitPairs,
        template: &Template,
        cache: &Cache,
        model: &ContentHash,
    ) -> Result<Trained> {
        let key =
            Cache::key(&(baseline, self.baseline_epochs, SCRIPT, &split.train, &split.valid, &split.test, template, model))?;
        let output: Value = cache.get_or("baselines", &key, || {
            let folder = tempfile::tempdir()?;
            self.execute(baseline, split, template, model, folder.path())
        })?;
        let read: Output = serde_json::from_value(output)?;
        let Output { seed, lr, batch, rank, versions, .. } = &read;
        let costs = Costs {
            parameters: read.trainable_parameters,
            training_seconds: Some(read.training_seconds),
            peak_memory_bytes: Some(read.peak_memory_bytes),
            bytes_sent: 0,
        };
        let validation = read.validation_perplexity.get(read.best_epoch).copied();
        Ok(Trained {
            baseline,
            settings: serde_json::json!({"seed": seed, "lr": lr, "batch": batch, "rank": rank, "versions": versions}),
            likelihoods: read.after.likelihoods,
            validation_perplexity: validation.context("the script names no best epoch")?,
            outputs: read.after.outputs,
            costs,
        })
    }

    fn execute(
        &self,
        baseline: Baseline,
        split: &SplitPairs,
        template: &Template,
        model: &ContentHash,
        folder: &Path,
    ) -> Result<Value> {
        let gguf = self.gguf(model)?;
        let script = folder.join("finetune.py");
        write(&script, SCRIPT.as_bytes())?;
        let mut python = Command::new(&self.python);
        python.arg(script);
        for (name, pairs) in [("train", &split.train), ("validation", &split.valid), ("test", &split.test)] {
            let path = folder.join(format!("{name}.jsonl"));
            write(&path, lines(pairs)?.as_bytes())?;
            python.arg(format!("--{name}")).arg(path);
        }
        let out = folder.join("out.json");
        python.args(["--method", baseline.names().0, "--template", template.as_str()]);
        python.args(["--epochs", &self.baseline_epochs.to_string()]).arg("--gguf").arg(gguf).arg("--out").arg(&out);
        let done = python.output().with_context(|| format!("{} cannot be run", self.python.display()))?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "{}", said.lines().last().unwrap_or("it said nothing"));
        Ok(serde_json::from_slice(&crate::folder::read(&out)?)?)
    }

    /// The file of the model to train, which must be the one that the service has.
    fn gguf(&self, model: &ContentHash) -> Result<PathBuf> {
        let ModelConfig { source, hf_endpoint, cache_dir, .. } = ModelConfig::new(self.baseline_model.clone());
        let cache = ModelCache::new(cache_dir);
        let path = source.resolve(&cache, &hf_endpoint)?;
        let found = cache.hash_file(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        ensure!(found == *model, "{} is not the model that is served: name that one with --baseline-model", path.display());
        Ok(path)
    }
}

fn lines(pairs: &[Pair]) -> Result<String> {
    let lines = pairs.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    Ok(lines.join("\n") + "\n")
}
