//! Intervals and significance by resampling pairs (Koehn 2004).

use pema_core::metrics::{BleuCounts, ChrfCounts, Counts};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::likelihood::Likelihood;

/// Resamples drawn.
const RESAMPLES: usize = 2000;

/// What one test pair adds to a score of them all.
pub trait Share: Copy {
    /// Whether less is better.
    const LESS_IS_BETTER: bool = false;

    /// The score of these pairs.
    fn score(shares: impl Iterator<Item = Self>) -> f64;
}

/// A score with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// On the pairs as they are.
    pub value: f64,
    /// Lower end of the 95% interval.
    pub low: f64,
    /// Upper end of the 95% interval.
    pub high: f64,
}

/// The score of a method and its 95% interval. One seed draws one sequence of resamples, whatever
/// the method.
pub fn interval<S: Share>(method: &[S], seed: u64) -> Interval {
    let mut all: Vec<f64> = resamples(method.len(), seed).map(|drawn| S::score(drawn.iter().map(|&i| method[i]))).collect();
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all[((RESAMPLES - 1) as f64 * share).round() as usize];
    Interval { value: S::score(method.iter().copied()), low: at(0.025), high: at(0.975) }
}

/// Share of resamples in which a method is no better than another on the same pairs.
pub fn no_better<S: Share>(method: &[S], other: &[S], seed: u64) -> f64 {
    let is_better = |here: f64, there: f64| if S::LESS_IS_BETTER { here < there } else { here > there };
    let worse = resamples(method.len(), seed).filter(|drawn| {
        let of = |side: &[S]| S::score(drawn.iter().map(|&i| side[i]));
        !is_better(of(method), of(other))
    });
    worse.count() as f64 / RESAMPLES as f64
}

/// Draws with replacement of `count` out of `count`.
fn resamples(count: usize, seed: u64) -> impl Iterator<Item = Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..RESAMPLES).map(move |_| (0..count).map(|_| rng.random_range(0..count)).collect())
}

/// Corpus scores, in `[0, 100]`.
fn corpus<C: Counts>(shares: impl Iterator<Item = C>) -> f64 {
    let mut all = C::default();
    shares.for_each(|share| all += share);
    all.score()
}

impl Share for BleuCounts {
    fn score(shares: impl Iterator<Item = Self>) -> f64 {
        corpus(shares)
    }
}

impl Share for ChrfCounts {
    fn score(shares: impl Iterator<Item = Self>) -> f64 {
        corpus(shares)
    }
}

/// Whether an output equals its reference; the score is a percentage.
impl Share for bool {
    fn score(shares: impl Iterator<Item = Self>) -> f64 {
        let (hits, all) = shares.fold((0, 0), |(hits, all), hit| (hits + usize::from(hit), all + 1));
        100.0 * hits as f64 / all as f64
    }
}

impl Share for Likelihood {
    const LESS_IS_BETTER: bool = true;

    fn score(shares: impl Iterator<Item = Self>) -> f64 {
        Self::perplexity(shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_difference_is_significant_and_none_is_not() {
        let plm: Vec<Likelihood> = (0..40).map(|i| Likelihood { nll: 20.0 + f64::from(i % 7), tokens: 8 }).collect();
        let better: Vec<Likelihood> = plm.iter().map(|one| Likelihood { nll: one.nll - 1.0, ..*one }).collect();
        let clear = interval(&better, 1);
        assert!(clear.low < clear.value && clear.value < clear.high, "{clear:?}");
        assert!(no_better(&better, &plm, 1) < 0.01);
        assert_eq!(no_better(&plm, &better, 1), 1.0);
        assert_eq!(no_better(&plm, &plm, 1), 1.0);
        assert_eq!(interval(&better, 1), clear);
    }

    #[test]
    fn more_is_better_where_texts_are_scored() {
        let hits: Vec<bool> = (0..30).map(|i| i % 3 > 0).collect();
        let none = vec![false; 30];
        assert!((interval(&hits, 2).value - 200.0 / 3.0).abs() < 1e-9);
        assert_eq!((no_better(&hits, &none, 2), no_better(&none, &hits, 2)), (0.0, 1.0));
        let chrf = |output: &str| vec![ChrfCounts::of(output, "a b c d"); 5];
        assert_eq!((interval(&chrf("a b c d"), 0).low, no_better(&chrf("a b"), &chrf("a b c d"), 0)), (100.0, 1.0));
    }
}
