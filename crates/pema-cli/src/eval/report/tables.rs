//! The report's tables, whatever they are written in.

use super::{Curve, Measured, Point, Report, Row};
use crate::eval::bootstrap::Interval;

/// A table.
pub struct Table {
    /// Above it.
    pub title: &'static str,
    /// What its numbers are.
    pub note: String,
    /// Of its columns.
    pub header: Vec<&'static str>,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// A line of a table.
pub struct Line {
    /// [`Row::id`] of the row that it shows.
    pub id: String,
    /// Whether the method tells targets to the model's owner.
    pub discloses: bool,
    /// What stands in it.
    pub cells: Vec<String>,
}

/// What stands where nothing was measured.
const NONE: &str = "–";

/// All tables of a report.
pub fn tables(report: &Report) -> Vec<Table> {
    [Some(perplexities(report)), texts(report), Some(costs(report)), sweeps(report)].into_iter().flatten().collect()
}

fn perplexities(report: &Report) -> Table {
    let line = |row: &Row| {
        let Measured { interval, p_plm, p_pema } = row.perplexity;
        let validation = format!("{:.2}", row.validation_perplexity);
        Line::new(row, &row.label, vec![validation, format!("{:.2}", interval.value), range(interval), p(p_plm), p(p_pema)])
    };
    Table {
        title: "Perplexity",
        note: "Of references under the mixture. Weights are chosen on validation pairs; intervals and p are of test pairs. p \
               is the share of bootstrap resamples in which the method is no better."
            .to_owned(),
        header: vec!["Method", "Validation", "Test", "95% interval", "p, PLM alone", "p, PEMA"],
        lines: report.rows.iter().map(line).collect(),
    }
}

fn texts(report: &Report) -> Option<Table> {
    let bounds = report.texts?;
    let line = |row: &Row| {
        let texts = row.texts.as_ref()?;
        let score = |measured: Measured| format!("{:.2} ({})", measured.interval.value, range(measured.interval));
        let cells = vec![
            score(texts.chrf),
            p(texts.chrf.p_plm),
            p(texts.chrf.p_pema),
            score(texts.bleu),
            p(texts.bleu.p_plm),
            p(texts.bleu.p_pema),
            score(texts.exact_match),
            texts.seconds_per_token.map_or(NONE.to_owned(), |seconds| format!("{:.0}", 1000.0 * seconds)),
        ];
        Some(Line::new(row, &texts.label, cells))
    };
    let repeats = match bounds.no_repeat {
        0 => "any repetition allowed".to_owned(),
        n => format!("no {n} tokens in a row twice"),
    };
    let extent = if bounds.one_line { " of one line" } else { "" };
    let chosen_by = match report.tuned_on {
        0 => "validation perplexity".to_owned(),
        pairs => format!("the chrF of {pairs} validation pairs"),
    };
    Some(Table {
        title: "Texts",
        note: format!(
            "Greedy, at most {} tokens{extent}, {repeats}; BLEU and chrF as sacrebleu's. Weights are chosen by {chosen_by}. White-box \
             methods: at most 64 tokens, any repetition allowed.",
            bounds.max_tokens
        ),
        header: vec![
            "Method",
            "chrF (95% interval)",
            "p, PLM alone",
            "p, PEMA",
            "BLEU (95% interval)",
            "p, PLM alone",
            "p, PEMA",
            "Exact match, %",
            "ms a token",
        ],
        lines: report.rows.iter().filter_map(line).collect(),
    })
}

fn costs(report: &Report) -> Table {
    // One line a method: its mixtures share an adapter.
    let rows = report.rows.iter().enumerate().filter(|(i, row)| report.rows[..*i].iter().all(|other| other.method != row.method));
    let line = |row: &Row| {
        let seconds = row.costs.training_seconds.map_or(NONE.to_owned(), |seconds| format!("{seconds:.1}"));
        let memory = row.costs.peak_memory_bytes.map_or(NONE.to_owned(), |bytes| format!("{:.0}", bytes as f64 / 1e6));
        let sent = row.costs.bytes_sent.to_string();
        Line::new(row, &row.title, vec![row.costs.parameters.to_string(), seconds, memory, sent])
    };
    Table {
        title: "Costs",
        note: "Memory is the whole process's peak while it trained. Bytes are what the data owner sends for the memory of \
               training and validation pairs."
            .to_owned(),
        header: vec!["Method", "Trained parameters", "Training, s", "Peak memory, MB", "Bytes sent"],
        lines: rows.map(|(_, row)| line(row)).collect(),
    }
}

fn sweeps(report: &Report) -> Option<Table> {
    let line = |curve: &Curve, point: &Point| {
        let Point { x, mixture, perplexity, costs, .. } = point;
        let seconds = costs.training_seconds.map_or(NONE.to_owned(), |seconds| format!("{seconds:.1}"));
        let cells = vec![
            format!("{}, {} {x}", curve.title, curve.quantity),
            format!("{} {}", mixture.form, mixture.lambda_max),
            format!("{:.2}", perplexity.value),
            range(*perplexity),
            costs.parameters.to_string(),
            seconds,
        ];
        Line { id: format!("{}-{x}", curve.id()), discloses: curve.discloses, cells }
    };
    let lines: Vec<Line> =
        report.curves.iter().flat_map(|curve| curve.points.iter().map(move |point| line(curve, point))).collect();
    (!lines.is_empty()).then_some(Table {
        title: "Sweeps",
        note: "Of the mixture that is best on validation pairs. `memory` counts training pairs; `rank` keeps alpha / rank."
            .to_owned(),
        header: vec!["Method", "Mixture", "Test perplexity", "95% interval", "Trained parameters", "Training, s"],
        lines,
    })
}

impl Line {
    fn new(row: &Row, label: &str, cells: Vec<String>) -> Self {
        let label = if row.white_box { format!("{label} (white box: takes the weights)") } else { label.to_owned() };
        let cells = std::iter::once(label).chain(cells).collect();
        Self { id: row.id.clone(), discloses: row.discloses, cells }
    }
}

fn range(interval: Interval) -> String {
    format!("{:.1} to {:.1}", interval.low, interval.high)
}

fn p(p: Option<f64>) -> String {
    p.map_or(NONE.to_owned(), |p| format!("{p:.3}"))
}
