//! Corpus chrF from character n-gram counts.

use std::ops::AddAssign;

use super::{Counts, is_space, ngrams, overlap};

/// Longest character n-gram.
const ORDER: usize = 6;
/// Recall weighs `BETA^2` times as much as precision.
const BETA: f64 = 2.0;

/// What corpus chrF needs of outputs and their references; index `n - 1` is order `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChrfCounts([OrderCounts; ORDER]);

/// Counts of one n-gram order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct OrderCounts {
    output: usize,
    reference: usize,
    matches: usize,
}

impl AddAssign for ChrfCounts {
    fn add_assign(&mut self, other: Self) {
        for (counts, other) in self.0.iter_mut().zip(other.0) {
            counts.output += other.output;
            counts.reference += other.reference;
            counts.matches += other.matches;
        }
    }
}

impl Counts for ChrfCounts {
    fn of(output: &str, reference: &str) -> Self {
        let (output, reference) = (characters(output), characters(reference));
        let mut all = Self::default();
        for (n, counts) in (1..).zip(&mut all.0) {
            counts.reference = (reference.len() + 1).saturating_sub(n);
            // sacrebleu counts no n-grams against a reference that has none of this order.
            if counts.reference > 0 {
                counts.output = (output.len() + 1).saturating_sub(n);
            }
            counts.matches = overlap(&ngrams(&output, n), &ngrams(&reference, n));
        }
        all
    }

    fn score(&self) -> f64 {
        score(&self.0)
    }
}

fn characters(text: &str) -> Vec<char> {
    text.chars().filter(|&c| !is_space(c)).collect()
}

/// F-beta of the precision and recall averaged over the orders that both sides have.
fn score(counts: &[OrderCounts; ORDER]) -> f64 {
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for c in counts.iter().filter(|c| c.output > 0 && c.reference > 0) {
        precision += c.matches as f64 / c.output as f64;
        recall += c.matches as f64 / c.reference as f64;
        orders += 1.0;
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / orders, recall / orders);
    let factor = BETA * BETA;
    100.0 * (1.0 + factor) * precision * recall / (factor * precision + recall)
}
