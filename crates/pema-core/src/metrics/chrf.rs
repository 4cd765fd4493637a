//! Corpus chrF from character n-gram counts.

use super::{is_space, ngrams, overlap};

/// Longest character n-gram.
const ORDER: usize = 6;
/// Recall weighs `BETA^2` times as much as precision.
const BETA: f64 = 2.0;

/// Counts of one n-gram order over the corpus.
#[derive(Clone, Copy, Default)]
struct Counts {
    output: usize,
    reference: usize,
    matches: usize,
}

pub(super) fn corpus<'t>(pairs: impl Iterator<Item = (&'t str, &'t str)>) -> f64 {
    let mut counts = [Counts::default(); ORDER];
    for (output, reference) in pairs {
        let (output, reference) = (characters(output), characters(reference));
        for (n, counts) in (1..).zip(&mut counts) {
            let reference_grams = (reference.len() + 1).saturating_sub(n);
            // sacrebleu counts no n-grams against a reference that has none of this order.
            if reference_grams > 0 {
                counts.output += (output.len() + 1).saturating_sub(n);
            }
            counts.reference += reference_grams;
            counts.matches += overlap(&ngrams(&output, n), &ngrams(&reference, n));
        }
    }
    score(&counts)
}

fn characters(text: &str) -> Vec<char> {
    text.chars().filter(|&c| !is_space(c)).collect()
}

/// F-beta of the precision and recall averaged over the orders that both sides have.
fn score(counts: &[Counts; ORDER]) -> f64 {
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
