//! Intervals and significance by resampling references (Koehn 2004).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::likelihood::perplexity;

/// Resamples drawn.
const RESAMPLES: usize = 2000;

/// A method's perplexity beside the PLM's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// On the references as they are.
    pub perplexity: f64,
    /// Lower end of the 95% interval.
    pub low: f64,
    /// Upper end of the 95% interval.
    pub high: f64,
    /// Share of resamples in which the method is no better than the PLM alone.
    pub p: f64,
}

/// Compares negative log-likelihoods and tokens of the same references.
pub fn compare(method: &[(f64, usize)], plm: &[(f64, usize)], seed: u64) -> Comparison {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut all = Vec::with_capacity(RESAMPLES);
    let mut worse = 0;
    for _ in 0..RESAMPLES {
        let drawn: Vec<usize> = method.iter().map(|_| rng.random_range(0..method.len())).collect();
        let of = |side: &[(f64, usize)]| perplexity(drawn.iter().map(|&i| side[i]));
        let here = of(method);
        worse += usize::from(here >= of(plm));
        all.push(here);
    }
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all[((RESAMPLES - 1) as f64 * share).round() as usize];
    let p = worse as f64 / RESAMPLES as f64;
    Comparison { perplexity: perplexity(method.iter().copied()), low: at(0.025), high: at(0.975), p }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_difference_is_significant_and_none_is_not() {
        let plm: Vec<(f64, usize)> = (0..40).map(|i| (20.0 + f64::from(i % 7), 8)).collect();
        let better: Vec<(f64, usize)> = plm.iter().map(|(nll, n)| (nll - 1.0, *n)).collect();
        let clear = compare(&better, &plm, 1);
        assert!(clear.p < 0.01 && clear.low < clear.perplexity && clear.perplexity < clear.high, "{clear:?}");
        assert_eq!(compare(&plm, &plm, 1).p, 1.0);
        assert_eq!(compare(&better, &plm, 1), clear);
    }
}
