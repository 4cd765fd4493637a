//! Corpus BLEU from n-gram counts.

use std::ops::AddAssign;

use super::{Counts, ngrams, overlap, tokenize_13a};

/// Longest n-gram.
const ORDER: usize = 4;

/// What corpus BLEU needs of outputs and their references; index `n - 1` is order `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BleuCounts {
    output_len: usize,
    reference_len: usize,
    correct: [usize; ORDER],
    total: [usize; ORDER],
}

impl AddAssign for BleuCounts {
    fn add_assign(&mut self, other: Self) {
        self.output_len += other.output_len;
        self.reference_len += other.reference_len;
        for n in 0..ORDER {
            self.correct[n] += other.correct[n];
            self.total[n] += other.total[n];
        }
    }
}

impl Counts for BleuCounts {
    fn of(output: &str, reference: &str) -> Self {
        let (output, reference) = (tokenize_13a::tokens(output), tokenize_13a::tokens(reference));
        let mut counts = Self { output_len: output.len(), reference_len: reference.len(), ..Self::default() };
        for n in 1..=ORDER {
            counts.correct[n - 1] = overlap(&ngrams(&output, n), &ngrams(&reference, n));
            counts.total[n - 1] = (output.len() + 1).saturating_sub(n);
        }
        counts
    }

    fn score(&self) -> f64 {
        score(self)
    }
}

/// The geometric mean of the precisions, times the brevity penalty.
fn score(counts: &BleuCounts) -> f64 {
    // A corpus without a match, or without any 4-gram at all, scores 0 (no effective order).
    if counts.correct.iter().all(|&c| c == 0) || counts.total.contains(&0) {
        return 0.0;
    }
    let mut smoothing = 1.0;
    let mut log_sum = 0.0;
    for (&correct, &total) in counts.correct.iter().zip(&counts.total) {
        // Smoothing "exp": the k-th order without a match counts as 1 / 2^k matches.
        let matches = if correct == 0 {
            smoothing *= 2.0;
            1.0 / smoothing
        } else {
            correct as f64
        };
        log_sum += (100.0 * matches / total as f64).ln();
    }
    let ratio = counts.reference_len as f64 / counts.output_len as f64;
    let brevity = if ratio > 1.0 { (1.0 - ratio).exp() } else { 1.0 };
    brevity * (log_sum / ORDER as f64).exp()
}
