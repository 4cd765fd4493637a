//! The report: JSON for programs, Markdown for documents, one HTML file for people.

use std::fmt::Write;

use pema_adapter::AdapterConfig;
use pema_core::align::Contexts;
use serde::Serialize;

use super::{bootstrap::Comparison, likelihood::Choice, methods::Method};

/// Everything that was measured, and how to measure it again.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was typed.
    pub command: String,
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
    /// Pairs for early stopping and for choosing weights.
    pub validation_pairs: usize,
    /// Pairs that perplexities are of.
    pub test_pairs: usize,
    /// What the data owner's request for the memory weighs.
    pub bytes_sent: usize,
    /// Settings that trained methods share.
    pub settings: AdapterConfig,
    /// Whether some method was trained on contexts along the targets.
    pub disclosed: bool,
    /// One for each method and schedule.
    pub rows: Vec<Row>,
}

/// A method with one schedule.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The method.
    pub method: String,
    /// The method and its mixture.
    pub label: String,
    /// Whether the method tells targets to the model's owner.
    pub discloses: bool,
    /// On test references.
    pub perplexity: f64,
    /// Its 95% interval, by bootstrap over references.
    pub interval: [f64; 2],
    /// Share of resamples in which it is no better than the PLM alone.
    pub p: f64,
    /// Trained parameters.
    pub parameters: usize,
    /// Seconds of training, where it was trained in this run.
    pub training_seconds: Option<f64>,
    /// Perplexity on validation references by schedule and weight; for a method's last row.
    pub sweep: Vec<Cell>,
}

/// One mixture of a sweep.
#[derive(Debug, Serialize)]
pub struct Cell {
    /// How the weight falls.
    pub schedule: String,
    /// The weight at the first token.
    pub lambda_max: f32,
    /// On validation references.
    pub perplexity: f64,
}

impl Row {
    /// A row without its sweep.
    pub fn new(method: Method, choice: &Choice, found: Comparison, parameters: usize, training_seconds: Option<f64>) -> Self {
        let Comparison { perplexity, low, high, p } = found;
        let discloses = method == Method::Disclosed;
        let (label, sweep) = (choice.label(method), Vec::new());
        Self {
            method: method.title().to_owned(),
            label,
            discloses,
            perplexity,
            interval: [low, high],
            p,
            parameters,
            training_seconds,
            sweep,
        }
    }
}

const HEADER: [&str; 5] = ["Method", "Perplexity", "95% interval", "p, against the PLM", "Parameters"];

impl Report {
    fn about(&self) -> String {
        format!(
            "{} with {} training, {} validation and {} test pairs; contexts {}, {} rows for {} target tokens; {} bytes of \
             prompts sent; seed {}.",
            self.model,
            self.training_pairs,
            self.validation_pairs,
            self.test_pairs,
            match self.contexts {
                Contexts::Steps => "after every word",
                Contexts::Prompt => "of the prompt alone",
            },
            self.memory_rows,
            self.memory_pairs,
            self.bytes_sent,
            self.settings.seed
        )
    }

    fn cells(row: &Row) -> [String; 5] {
        let [low, high] = row.interval;
        let p = if row.parameters == 0 && row.p >= 1.0 { "–".to_owned() } else { format!("{:.3}", row.p) };
        [row.label.clone(), format!("{:.2}", row.perplexity), format!("{low:.1} to {high:.1}"), p, row.parameters.to_string()]
    }

    /// The table, for a document.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("{}\n\n", self.about());
        text += &line(&HEADER.map(str::to_owned));
        text += "| --- | ---: | --- | ---: | ---: |\n";
        for row in &self.rows {
            let mut cells = Self::cells(row);
            if row.discloses {
                cells[0] += " (**tells targets to the model’s owner**)";
            }
            text += &line(&cells);
        }
        let _ = writeln!(text, "\n`{}`", self.command);
        text
    }

    /// One file that needs no other.
    pub fn html(&self) -> String {
        let row = |row: &Row| {
            let cells = Self::cells(row).map(|cell| format!("<td>{}</td>", escape(&cell)));
            let class = if row.discloses { " class=\"discloses\"" } else { "" };
            format!("<tr{class}>{}</tr>\n", cells.concat())
        };
        let header: String = HEADER.iter().map(|title| format!("<th>{title}</th>")).collect();
        let rows: String = self.rows.iter().map(row).collect();
        let maps: String = self.rows.iter().filter(|row| !row.sweep.is_empty()).map(heat_map).collect();
        let warning = if self.disclosed {
            "<p class=\"discloses\">Rows in red were trained on contexts along the targets, which tells \
             the targets to the model’s owner.</p>"
        } else {
            ""
        };
        format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>Pema evaluation</title><style>{STYLE}</style>\n<main><h1>Evaluation</h1><p>{}</p>{warning}\
             <table><thead><tr>{header}</tr></thead><tbody>\n{rows}</tbody></table>\n\
             <h2>Weights</h2><p>Perplexity on validation pairs, by schedule and largest weight.</p>{maps}\
             <h2>Again</h2><pre>{}</pre></main></html>\n",
            escape(&self.about()),
            escape(&self.command)
        )
    }
}

/// Schedules down, weights across; darker is better.
fn heat_map(row: &Row) -> String {
    let (cell_width, cell_height, left, top) = (58, 34, 90, 22);
    let mut schedules: Vec<&str> = row.sweep.iter().map(|cell| cell.schedule.as_str()).collect();
    schedules.dedup();
    let columns = row.sweep.len() / schedules.len().max(1);
    let logs = row.sweep.iter().map(|cell| cell.perplexity.ln());
    let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let mut cells = String::new();
    for (i, cell) in row.sweep.iter().enumerate() {
        let (x, y) = (left + i % columns * cell_width, top + i / columns * cell_height);
        let share = 1.0 - (cell.perplexity.ln() - low) / (high - low).max(f64::MIN_POSITIVE);
        let (tx, ty) = (x + cell_width / 2, y + cell_height / 2 + 4);
        let _ = write!(
            cells,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{cell_width}\" height=\"{cell_height}\" fill-opacity=\"{share:.2}\"/>\
             <text x=\"{tx}\" y=\"{ty}\" text-anchor=\"middle\">{:.1}</text>",
            cell.perplexity
        );
        if i < columns {
            let _ = write!(cells, "<text x=\"{tx}\" y=\"14\" text-anchor=\"middle\">{}</text>", cell.lambda_max);
        }
        if i % columns == 0 {
            let _ = write!(cells, "<text x=\"0\" y=\"{ty}\">{}</text>", escape(&cell.schedule));
        }
    }
    let (width, height) = (left + columns * cell_width, top + schedules.len() * cell_height);
    format!("<h3>{}</h3><svg viewBox=\"0 0 {width} {height}\" role=\"img\">{cells}</svg>\n", escape(&row.method))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2430;--ground:#fff;--line:#d8dde6;--bad:#b3261e;--heat:#2f7d6b}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--ground:#14181f;--line:#343b47;--bad:#ff8a80;--heat:#3fa38c}}\
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{max-width:60rem;margin:auto;padding:2rem 1rem}table{border-collapse:collapse;width:100%}\
th,td{padding:.4rem .6rem;border-bottom:1px solid var(--line);text-align:right}\
th:first-child,td:first-child{text-align:left}.discloses{color:var(--bad)}pre{white-space:pre-wrap}\
svg{width:100%;height:auto;font-size:13px;fill:var(--ink)}rect{fill:var(--heat);stroke:var(--line)}";
