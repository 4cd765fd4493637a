//! The report: JSON for programs, Markdown for documents, one HTML file for people.

pub mod command;
mod diff;
mod html;
mod join;
mod markdown;
mod svg;
mod tables;

use std::{fs, path::Path};

use anyhow::{Context, Result};
use pema_core::align::Contexts;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{bootstrap::Interval, costs::Costs, sweeps::Quantity};
use crate::{
    folder::write,
    writer::{Mixture, TextArgs},
};

/// Everything that was measured, and how to measure it again.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// What was typed.
    pub command: String,
    /// What each of several joint studies is, in place of the counts below; none for a study of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub studies: Vec<String>,
    /// The model's name.
    pub model: String,
    /// What the memory's rows are.
    pub contexts: Contexts,
    /// Rows that the service extracted, training and validation.
    pub memory_rows: u64,
    /// Pairs of a row and a target token that they make.
    pub memory_pairs: usize,
    /// Pairs that adapters learn from.
    pub training_pairs: usize,
    /// Pairs for early stopping and for choosing mixtures.
    pub validation_pairs: usize,
    /// Pairs that scores are of.
    pub test_pairs: usize,
    /// Settings that trained methods share, beyond the defaults.
    pub settings: Map<String, Value>,
    /// Seed of training, of every adapter.
    pub seed: u64,
    /// Seed of the resamples.
    pub bootstrap_seed: u64,
    /// Bounds on texts, if any were written.
    pub texts: Option<TextArgs>,
    /// Validation pairs whose texts chose the weights of mixtures that write; 0 where perplexity chose.
    #[serde(default)]
    pub tuned_on: usize,
    /// Whether some method was trained on contexts along the targets.
    pub disclosed: bool,
    /// What was asked for and could not be measured, and why.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// One for each method and form of mixture.
    pub rows: Vec<Row>,
    /// One for each sweep and method.
    #[serde(default)]
    pub curves: Vec<Curve>,
}

/// Test perplexity along a sweep, of the mixtures that are best on validation pairs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Curve {
    /// What is varied.
    pub quantity: Quantity,
    /// The method's name.
    pub method: String,
    /// The method's title.
    pub title: String,
    /// Whether the method tells targets to the model's owner.
    #[serde(default)]
    pub discloses: bool,
    /// In the sweep's order.
    pub points: Vec<Point>,
}

/// One value of a sweep.
#[derive(Debug, Serialize, Deserialize)]
pub struct Point {
    /// Rank, kappa, or training pairs.
    pub x: f64,
    /// Chosen on validation pairs.
    pub mixture: Mixture,
    /// On validation references.
    pub validation_perplexity: f64,
    /// On test references.
    pub perplexity: Interval,
    /// What it took.
    pub costs: Costs,
    /// All that the method was set to.
    pub settings: Value,
    /// Measures this point again.
    pub command: String,
}

impl Curve {
    /// Names the curve in its report.
    pub fn id(&self) -> String {
        format!("{}-{}", self.quantity, self.method)
    }
}

/// A method with one form of mixture.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// Names the row in this report.
    pub id: String,
    /// The method's name.
    pub method: String,
    /// The method's title.
    pub title: String,
    /// The method and its mixture.
    pub label: String,
    /// Whether the method tells targets to the model's owner.
    pub discloses: bool,
    /// Whether the method takes the model's weights.
    #[serde(default)]
    pub white_box: bool,
    /// All that the method was set to.
    pub settings: Value,
    /// Chosen on validation pairs; none for the PLM alone.
    pub mixture: Option<Mixture>,
    /// On validation references.
    pub validation_perplexity: f64,
    /// On test references.
    pub perplexity: Measured,
    /// Scores of greedy texts, if they were written.
    pub texts: Option<TextScores>,
    /// What it took.
    pub costs: Costs,
    /// Perplexity on validation references by mixture and weight; for one row of a method.
    pub grid: Vec<Cell>,
    /// Measures this row again.
    pub command: String,
}

/// Scores of greedy texts, in `[0, 100]`.
#[derive(Debug, Serialize, Deserialize)]
pub struct TextScores {
    /// The method and the mixture that wrote them.
    pub label: String,
    /// Corpus chrF.
    pub chrf: Measured,
    /// Corpus BLEU.
    pub bleu: Measured,
    /// Percentage of texts that are the target.
    pub exact_match: Measured,
    /// Seconds a token, prompts read and model consulted.
    pub seconds_per_token: Option<f64>,
    /// The texts.
    pub outputs: Vec<String>,
}

/// A score beside others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The score and its 95% interval, by bootstrap over test pairs.
    #[serde(flatten)]
    pub interval: Interval,
    /// Share of resamples in which it is no better than the PLM alone.
    pub p_plm: Option<f64>,
    /// Share of resamples in which it is no better than the paper's method.
    pub p_pema: Option<f64>,
}

/// One mixture of a grid.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The mixture.
    #[serde(flatten)]
    pub mixture: Mixture,
    /// On validation references.
    pub perplexity: f64,
}

impl Report {
    /// Writes `report.json`, `report.md` and `report.html`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        write(&folder.join("report.json"), &serde_json::to_vec_pretty(self)?)?;
        write(&folder.join("report.md"), markdown::document(self).as_bytes())?;
        write(&folder.join("report.html"), html::document(self).as_bytes())
    }

    fn about(&self) -> String {
        if !self.studies.is_empty() {
            return self.studies.join(" ");
        }
        format!(
            "{} with {} training, {} validation and {} test pairs; contexts {}, {} rows for {} target tokens; training seed {}, \
             bootstrap seed {}.",
            self.model,
            self.training_pairs,
            self.validation_pairs,
            self.test_pairs,
            match self.contexts {
                Contexts::Steps => "after every word",
                Contexts::Prompt => "of the prompt alone",
                Contexts::PromptAll => "of all the prompt's tokens",
            },
            self.memory_rows,
            self.memory_pairs,
            self.seed,
            self.bootstrap_seed
        )
    }
}
