//! Likelihoods of references under mixtures: computed once a method, mixed in any way after.

use anyhow::{Context, Result};
use pema_core::schedule::{GradualUnrolling, Schedule};
use serde::{Deserialize, Serialize};

use crate::writer::Mixture;

/// The schedules that are compared.
pub const SCHEDULES: [Schedule; 3] = [Schedule::Constant, Schedule::Linear, Schedule::Quadratic];

/// The weights that are compared.
pub const LAMBDAS: [f32; 11] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Probabilities of one reference's tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The PLM's, `[tokens]`.
    pub plm: Vec<f32>,
    /// The method's, `[tokens]`.
    pub method: Vec<f32>,
    /// Tokens of the input alone.
    pub source_len: u32,
}

/// What a mixture gives to one reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Likelihood {
    /// Negative log-likelihood, natural.
    pub nll: f64,
    /// Tokens, the end counted.
    pub tokens: usize,
}

impl Likelihood {
    /// `exp(mean negative log-likelihood)` over all tokens.
    pub fn perplexity(references: impl Iterator<Item = Self>) -> f64 {
        let (nll, tokens) = references.fold((0.0, 0), |(nll, tokens), one| (nll + one.nll, tokens + one.tokens));
        (nll / tokens as f64).exp()
    }
}

/// No mixture.
pub const PLM_ALONE: Mixture = Mixture { schedule: Schedule::Constant, lambda_max: 0.0 };

/// The likelihood of each reference under a mixture.
pub fn likelihoods(mixture: Mixture, scored: &[Scored]) -> Result<Vec<Likelihood>> {
    let one = |Scored { plm, method, source_len }: &Scored| {
        let unrolling = GradualUnrolling::new(mixture.schedule, mixture.lambda_max, *source_len)?;
        let log_p = |(t, (plm, method)): (usize, (&f32, &f32))| {
            let lambda = f64::from(unrolling.lambda(t));
            (lambda * f64::from(*method) + (1.0 - lambda) * f64::from(*plm)).max(f64::MIN_POSITIVE).ln()
        };
        Ok(Likelihood { nll: -plm.iter().zip(method).enumerate().map(log_p).sum::<f64>(), tokens: plm.len() })
    };
    scored.iter().map(one).collect()
}

/// Perplexity over all tokens.
pub fn perplexity(mixture: Mixture, scored: &[Scored]) -> Result<f64> {
    Ok(Likelihood::perplexity(likelihoods(mixture, scored)?.into_iter()))
}

/// A mixture and its perplexity on validation references.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The mixture.
    pub mixture: Mixture,
    /// On validation references.
    pub perplexity: f64,
}

/// The best weight for each of `schedules`, and of these the best, on validation references.
pub fn choose(validation: &[Scored], schedules: &[Schedule]) -> Result<Choice> {
    let mut best: Option<Choice> = None;
    for &schedule in schedules {
        for lambda_max in LAMBDAS {
            let mixture = Mixture { schedule, lambda_max };
            let choice = Choice { mixture, perplexity: perplexity(mixture, validation)? };
            if best.is_none_or(|best| choice.perplexity < best.perplexity) {
                best = Some(choice);
            }
        }
    }
    best.context("no schedule to choose from")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perplexity_is_as_computed_by_hand() {
        let scored = [Scored { plm: vec![0.5, 0.25], method: vec![0.25, 1.0], source_len: 8 }];
        let of = |lambda_max| perplexity(Mixture { lambda_max, ..PLM_ALONE }, &scored).unwrap();
        assert!((of(0.0) - 8.0_f64.sqrt()).abs() < 1e-9);
        assert!((of(1.0) - 2.0).abs() < 1e-6);
        assert!((of(0.5) - (1.0_f64 / (0.375 * 0.625)).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn the_best_weight_is_found() {
        let scored = [Scored { plm: vec![0.1, 0.9], method: vec![0.9, 0.1], source_len: 2 }];
        let constant = choose(&scored, &[Schedule::Constant]).unwrap();
        assert_eq!(constant.mixture.lambda_max, 0.5);
        let any = choose(&scored, &SCHEDULES).unwrap();
        assert!(any.perplexity < constant.perplexity && any.mixture.schedule != Schedule::Constant);
    }
}
