//! Choosing the next token from a distribution: greedy, or sampled with temperature, top-k and
//! top-p.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use crate::id::TokenId;

/// How to sample. The order is the usual one: temperature, then top-k, then top-p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides log-probabilities; above 0.
    pub temperature: f32,
    /// Keeps the k likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the likeliest tokens until their probabilities reach this; in (0, 1].
    pub top_p: f32,
    /// Seeds the draws.
    pub seed: u64,
}

/// Why settings cannot be sampled with.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum SamplingError {
    /// Zero, negative or not a number.
    #[error("the temperature is {0} and must be above 0: for the likeliest token choose greedy decoding")]
    Temperature(f32),
    /// Outside (0, 1].
    #[error("top-p is {0} and must be above 0 and at most 1")]
    TopP(f32),
}

/// Chooses tokens; the same seed and distributions give the same tokens.
#[derive(Clone, Debug)]
pub enum Chooser {
    /// The likeliest token, the lowest id among equals.
    Greedy,
    /// A draw.
    Sampled(Sampling, Box<ChaCha8Rng>),
}

impl Chooser {
    /// Greedy without settings.
    ///
    /// # Errors
    /// [`SamplingError`] for settings out of range.
    pub fn new(sampling: Option<Sampling>) -> Result<Self, SamplingError> {
        let Some(sampling) = sampling else { return Ok(Self::Greedy) };
        if !(sampling.temperature > 0.0 && sampling.temperature.is_finite()) {
            return Err(SamplingError::Temperature(sampling.temperature));
        }
        if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
            return Err(SamplingError::TopP(sampling.top_p));
        }
        Ok(Self::Sampled(sampling, Box::new(ChaCha8Rng::seed_from_u64(sampling.seed))))
    }

    /// The next token for log-probabilities `[v]`.
    pub fn choose(&mut self, log_p: &[f32]) -> TokenId {
        match self {
            Self::Greedy => argmax(log_p),
            Self::Sampled(sampling, rng) => draw(log_p, sampling, rng.random::<f32>()),
        }
    }
}

/// Rules out every token that would write a sequence of `n` tokens a second time, as Hugging Face's
/// `no_repeat_ngram_size`; 0 rules out nothing.
pub fn rule_out_repeats(log_p: &mut [f32], written: &[TokenId], n: usize) {
    if n == 0 || written.len() < n {
        return;
    }
    let (_, end) = written.split_at(written.len() - (n - 1));
    for window in written.windows(n) {
        if let [start @ .., last] = window
            && start == end
            && let Some(log_p) = log_p.get_mut(last.0 as usize)
        {
            *log_p = f32::NEG_INFINITY;
        }
    }
}

/// The largest entry, the first among equals.
pub fn argmax(log_p: &[f32]) -> TokenId {
    let mut best = 0;
    for (i, x) in log_p.iter().enumerate() {
        if *x > log_p[best] {
            best = i;
        }
    }
    TokenId(best as u32)
}

/// The token at quantile `u` of the truncated distribution.
fn draw(log_p: &[f32], sampling: &Sampling, u: f32) -> TokenId {
    let mut order: Vec<usize> = (0..log_p.len()).collect();
    let descending = |a: &usize, b: &usize| log_p[*b].total_cmp(&log_p[*a]).then(a.cmp(b));
    if sampling.top_k > 0 && sampling.top_k < order.len() {
        order.select_nth_unstable_by(sampling.top_k - 1, descending);
        order.truncate(sampling.top_k);
    }
    order.sort_unstable_by(descending);
    let Some(&first) = order.first() else { return TokenId(0) };
    let weight = |i: usize| ((log_p[i] - log_p[first]) / sampling.temperature).exp();
    let total: f32 = order.iter().map(|&i| weight(i)).sum();
    let mut kept = 0.0;
    let keep = order.iter().position(|&i| {
        kept += weight(i);
        kept >= sampling.top_p * total
    });
    order.truncate(keep.map_or(order.len(), |last| last + 1));
    let mut left = u * order.iter().map(|&i| weight(i)).sum::<f32>();
    let drawn = order.iter().find(|&&i| {
        left -= weight(i);
        left < 0.0
    });
    TokenId(*drawn.unwrap_or(&first) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(top_k: usize, top_p: f32, temperature: f32) -> Chooser {
        Chooser::new(Some(Sampling { temperature, top_k, top_p, seed: 7 })).unwrap()
    }

    fn counts(chooser: &mut Chooser, log_p: &[f32]) -> Vec<usize> {
        let mut counts = vec![0; log_p.len()];
        for _ in 0..4000 {
            counts[chooser.choose(log_p).0 as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        assert_eq!(Chooser::Greedy.choose(&[-2.0, -1.0, -1.0]), TokenId(1));
    }

    #[test]
    fn draws_follow_the_distribution() {
        let p = [0.5f32, 0.3, 0.2];
        let counts = counts(&mut sampled(0, 1.0, 1.0), &p.map(f32::ln));
        for (count, p) in counts.iter().zip(p) {
            assert!((*count as f32 / 4000.0 - p).abs() < 0.03, "{counts:?}");
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let log_p = [0.5f32, 0.3, 0.15, 0.05].map(f32::ln);
        assert_eq!(counts(&mut sampled(2, 1.0, 1.0), &log_p)[2..], [0, 0]);
        assert_eq!(counts(&mut sampled(0, 0.75, 1.0), &log_p)[2..], [0, 0]);
        assert_eq!(counts(&mut sampled(0, 0.1, 1.0), &log_p)[1..], [0, 0, 0]);
    }

    #[test]
    fn sequences_are_not_written_twice() {
        let ruled_out = |written: &[u32], n| {
            let mut log_p = [0.0; 6];
            rule_out_repeats(&mut log_p, &written.iter().map(|&id| TokenId(id)).collect::<Vec<_>>(), n);
            (0..6).filter(|&id| log_p[id] == f32::NEG_INFINITY).collect::<Vec<_>>()
        };
        assert_eq!(ruled_out(&[1, 2, 3, 1, 2, 4, 1, 2], 3), [3, 4]);
        assert!(ruled_out(&[1, 2, 3, 1, 2], 0).is_empty());
        assert_eq!(ruled_out(&[1, 3], 1), [1, 3]);
        assert!(ruled_out(&[1, 2], 3).is_empty());
        assert!(ruled_out(&[], 1).is_empty());
        // Outside the distribution: nothing to rule out.
        assert!(ruled_out(&[9, 9, 9], 2).is_empty());
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let with = |temperature, top_p| Chooser::new(Some(Sampling { temperature, top_k: 0, top_p, seed: 0 }));
        assert!(with(0.0, 1.0).is_err() && with(f32::NAN, 1.0).is_err());
        assert!(with(1.0, 0.0).is_err() && with(1.0, 1.1).is_err() && with(1.0, f32::NAN).is_err());
    }
}
