//! Choosing the next token from a distribution: greedy, or sampled with temperature, top-k and
//! top-p.
//!
//! What top-k and top-p keep is everything at least as likely as some token, and a draw goes through
//! it in the order of ids: a device finds both without sorting, and so chooses the same.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use crate::id::TokenId;

/// How to sample. The order is the usual one: temperature, then top-k, then top-p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides log-probabilities; above 0.
    pub temperature: f32,
    /// Keeps the k likeliest tokens, and any as likely as the last of them; 0 keeps all.
    pub top_k: usize,
    /// Keeps the likeliest tokens until their probabilities reach this, and any as likely as the last
    /// of them; in (0, 1].
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

/// How one token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// The likeliest token, the lowest id among equals.
    Greedy,
    /// The token at this quantile, in [0, 1), of the truncated distribution.
    Draw(Sampling, f32),
}

/// Chooses tokens; the same seed and distributions give the same tokens.
#[derive(Clone, Debug)]
pub enum Chooser {
    /// Always the likeliest.
    Greedy,
    /// Draws.
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

    /// How the next token is chosen.
    pub fn choice(&mut self) -> Choice {
        match self {
            Self::Greedy => Choice::Greedy,
            Self::Sampled(sampling, rng) => Choice::Draw(*sampling, rng.random()),
        }
    }
}

impl Choice {
    /// The token for log-probabilities `[v]`.
    pub fn of(self, log_p: &[f32]) -> TokenId {
        match self {
            Self::Greedy => argmax(log_p),
            Self::Draw(sampling, u) => draw(log_p, &sampling, u),
        }
    }
}

/// The tokens that would write a sequence of `n` tokens a second time, as Hugging Face's
/// `no_repeat_ngram_size` rules out: each once, in rising order. None for `n` 0.
pub fn repeats(written: &[TokenId], n: usize) -> Vec<TokenId> {
    if n == 0 || written.len() < n {
        return Vec::new();
    }
    let (_, end) = written.split_at(written.len() - (n - 1));
    let ending = written.windows(n).filter_map(|window| window.split_last().filter(|(_, start)| *start == end));
    let mut tokens: Vec<TokenId> = ending.map(|(last, _)| *last).collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

/// Makes tokens impossible.
pub fn rule_out(log_p: &mut [f32], tokens: &[TokenId]) {
    for token in tokens {
        if let Some(log_p) = log_p.get_mut(token.0 as usize) {
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
    let likeliest = argmax(log_p);
    let x: Vec<f32> = log_p.iter().map(|log_p| log_p / sampling.temperature).collect();
    let Some(&top) = x.get(likeliest.0 as usize) else { return likeliest };
    let weight = |x: f32| f64::from(x - top).exp();
    let descending = |a: &f32, b: &f32| b.total_cmp(a);
    let mut order = x.clone();
    if sampling.top_k > 0 && sampling.top_k < order.len() {
        let (_, &mut last, _) = order.select_nth_unstable_by(sampling.top_k - 1, descending);
        order.retain(|x| *x >= last);
    }
    order.sort_unstable_by(descending);
    let wanted = f64::from(sampling.top_p) * order.iter().map(|x| weight(*x)).sum::<f64>();
    let mut mass = 0.0;
    let reached = order.iter().find(|x| {
        mass += weight(**x);
        mass >= wanted
    });
    let least = reached.or(order.last()).copied().unwrap_or(top);
    let kept = || x.iter().enumerate().filter(|(_, x)| **x >= least).map(|(id, x)| (id, weight(*x)));
    let mut left = f64::from(u) * kept().map(|(_, weight)| weight).sum::<f64>();
    let drawn = kept().find(|(_, weight)| {
        left -= weight;
        left < 0.0
    });
    drawn.map_or(likeliest, |(id, _)| TokenId(id as u32))
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
            counts[chooser.choice().of(log_p).0 as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        assert_eq!(Choice::Greedy.of(&[-2.0, -1.0, -1.0]), TokenId(1));
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
    fn a_draw_goes_through_the_kept_tokens_by_id() {
        let log_p = [0.1f32, 0.4, 0.2, 0.3].map(f32::ln);
        let drawn = |top_k, top_p, u| Choice::Draw(Sampling { temperature: 1.0, top_k, top_p, seed: 0 }, u).of(&log_p).0;
        assert_eq!([0.05, 0.15, 0.45, 0.55, 0.65, 0.75, 0.999].map(|u| drawn(0, 1.0, u)), [0, 1, 1, 2, 2, 3, 3]);
        assert_eq!([0.0, 0.5, 0.6, 0.999].map(|u| drawn(2, 1.0, u)), [1, 1, 3, 3]);
        // Of 0.4 + 0.3 + 0.2, the first two reach seven ninths; three are needed for more.
        assert_eq!([0.0, 0.6, 0.999].map(|u| drawn(3, 0.77, u)), [1, 3, 3]);
        assert_eq!([0.0, 0.5, 0.7].map(|u| drawn(3, 0.79, u)), [1, 2, 3]);
    }

    #[test]
    fn tokens_as_likely_as_the_last_kept_one_are_kept() {
        let log_p = [0.2f32, 0.4, 0.2, 0.2].map(f32::ln);
        let drawn = |top_k, top_p| Choice::Draw(Sampling { temperature: 1.0, top_k, top_p, seed: 0 }, 0.999).of(&log_p);
        assert_eq!([drawn(2, 1.0), drawn(0, 0.5), drawn(1, 1.0)], [TokenId(3), TokenId(3), TokenId(1)]);
    }

    #[test]
    fn sequences_are_not_written_twice() {
        let ruled_out = |written: &[u32], n| {
            let mut log_p = [0.0; 6];
            rule_out(&mut log_p, &repeats(&written.iter().map(|&id| TokenId(id)).collect::<Vec<_>>(), n));
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
