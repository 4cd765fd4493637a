//! How good outputs are: corpus BLEU and chrF as sacrebleu 2.x computes them by default, with one
//! reference for each output, and exact match. All scores lie in `[0, 100]`.
//!
//! sacrebleu's signatures: `nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp` and
//! `nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no`. Post, "A Call for Clarity in Reporting BLEU
//! Scores" (WMT 2018); Popović, "chrF" (WMT 2015).

mod bleu;
mod chrf;
#[cfg(test)]
mod tests;
mod tokenize_13a;

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::AddAssign;

use thiserror::Error;

pub use bleu::BleuCounts;
pub use chrf::ChrfCounts;

/// What a corpus score needs of each output: counts add up, so that a corpus may be resampled
/// without counting again.
pub trait Counts: AddAssign + Copy + Default {
    /// The counts of one output.
    fn of(output: &str, reference: &str) -> Self;

    /// The score of all outputs counted.
    fn score(&self) -> f64;
}

/// Why there is no score.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MetricError {
    /// Outputs and references do not pair up.
    #[error("{outputs} outputs cannot be scored against {references} references: give one reference for each output")]
    Length {
        /// Number of outputs.
        outputs: usize,
        /// Number of references.
        references: usize,
    },
    /// A mean over nothing.
    #[error("there is nothing to score: give at least one output")]
    Empty,
}

/// Corpus BLEU: 13a tokens, n-grams up to 4, exponential smoothing, case matters.
///
/// # Errors
/// [`MetricError`] when outputs and references do not pair up.
pub fn bleu<O: AsRef<str>, R: AsRef<str>>(outputs: &[O], references: &[R]) -> Result<f64, MetricError> {
    corpus::<BleuCounts, _, _>(outputs, references)
}

/// Corpus chrF2: character n-grams up to 6 without white space, beta 2, case matters.
///
/// # Errors
/// [`MetricError`] when outputs and references do not pair up.
pub fn chrf<O: AsRef<str>, R: AsRef<str>>(outputs: &[O], references: &[R]) -> Result<f64, MetricError> {
    corpus::<ChrfCounts, _, _>(outputs, references)
}

/// Whether an output equals its reference, white space at the ends aside.
pub fn is_exact_match(output: &str, reference: &str) -> bool {
    output.trim() == reference.trim()
}

/// Percentage of outputs that equal their reference, as [`is_exact_match`] has it.
///
/// # Errors
/// [`MetricError`] when outputs and references do not pair up.
pub fn exact_match<O: AsRef<str>, R: AsRef<str>>(outputs: &[O], references: &[R]) -> Result<f64, MetricError> {
    let hits = pairs(outputs, references)?.filter(|(output, reference)| is_exact_match(output, reference)).count();
    Ok(100.0 * hits as f64 / outputs.len() as f64)
}

fn corpus<C: Counts, O: AsRef<str>, R: AsRef<str>>(outputs: &[O], references: &[R]) -> Result<f64, MetricError> {
    let mut counts = C::default();
    pairs(outputs, references)?.for_each(|(output, reference)| counts += C::of(output, reference));
    Ok(counts.score())
}

fn pairs<'t, O: AsRef<str>, R: AsRef<str>>(
    outputs: &'t [O],
    references: &'t [R],
) -> Result<impl Iterator<Item = (&'t str, &'t str)>, MetricError> {
    match (outputs.len(), references.len()) {
        (0, 0) => Err(MetricError::Empty),
        (o, r) if o != r => Err(MetricError::Length { outputs: o, references: r }),
        _ => Ok(outputs.iter().map(AsRef::as_ref).zip(references.iter().map(AsRef::as_ref))),
    }
}

/// White space as Python's `str.split` has it: Unicode's, and the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// How often each n-gram of `items` occurs.
fn ngrams<T: Eq + Hash>(items: &[T], n: usize) -> HashMap<&[T], usize> {
    let mut counts = HashMap::new();
    for gram in items.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}

/// Occurrences that both have: an n-gram counts as often as in the side that has fewer.
fn overlap<T: Eq + Hash>(output: &HashMap<&[T], usize>, reference: &HashMap<&[T], usize>) -> usize {
    output.iter().map(|(gram, &count)| count.min(reference.get(gram).copied().unwrap_or(0))).sum()
}
