//! Corpus BLEU from n-gram counts.

use super::{ngrams, overlap, tokenize_13a};

/// Longest n-gram.
const ORDER: usize = 4;

/// Counts over the corpus; index `n - 1` is order `n`.
#[derive(Default)]
struct Counts {
    output_len: usize,
    reference_len: usize,
    correct: [usize; ORDER],
    total: [usize; ORDER],
}

pub(super) fn corpus<'t>(pairs: impl Iterator<Item = (&'t str, &'t str)>) -> f64 {
    let mut counts = Counts::default();
    for (output, reference) in pairs {
        let (output, reference) = (tokenize_13a::tokens(output), tokenize_13a::tokens(reference));
        counts.output_len += output.len();
        counts.reference_len += reference.len();
        for n in 1..=ORDER {
            counts.correct[n - 1] += overlap(&ngrams(&output, n), &ngrams(&reference, n));
            counts.total[n - 1] += (output.len() + 1).saturating_sub(n);
        }
    }
    score(&counts)
}

/// The geometric mean of the precisions, times the brevity penalty.
fn score(counts: &Counts) -> f64 {
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
