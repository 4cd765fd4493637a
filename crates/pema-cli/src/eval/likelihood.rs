//! Likelihoods of references under mixtures: computed once a method, mixed in any way after.

use anyhow::{Context, Result};
use pema_core::schedule::{GradualUnrolling, Schedule};

use super::methods::Method;

/// The schedules that are compared.
pub const SCHEDULES: [Schedule; 3] = [Schedule::Constant, Schedule::Linear, Schedule::Quadratic];

/// The weights that are compared.
pub const LAMBDAS: [f32; 11] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Probabilities of one reference's tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The PLM's, `[tokens]`.
    pub plm: Vec<f32>,
    /// The method's, `[tokens]`.
    pub method: Vec<f32>,
    /// Tokens of the input alone.
    pub source_len: u32,
}

impl Scored {
    /// The PLM in both places.
    pub fn plm_alone(&self) -> Self {
        Self { method: self.plm.clone(), ..self.clone() }
    }
}

/// A mixture and its perplexity on validation pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// How the method's weight falls.
    pub schedule: Schedule,
    /// Its weight at the first token.
    pub lambda_max: f32,
    /// On validation pairs.
    pub perplexity: f64,
}

impl Choice {
    /// No mixture.
    pub const PLM_ALONE: Self = Self { schedule: Schedule::Constant, lambda_max: 0.0, perplexity: 0.0 };

    /// Negative log-likelihood and tokens of each reference.
    pub fn unrolled(&self, scored: &[Scored]) -> Result<Vec<(f64, usize)>> {
        let one = |Scored { plm, method, source_len }: &Scored| {
            let unrolling = GradualUnrolling::new(self.schedule, self.lambda_max, *source_len)?;
            let log_p = |(t, (plm, method)): (usize, (&f32, &f32))| {
                let lambda = f64::from(unrolling.lambda(t));
                (lambda * f64::from(*method) + (1.0 - lambda) * f64::from(*plm)).max(f64::MIN_POSITIVE).ln()
            };
            Ok((-plm.iter().zip(method).enumerate().map(log_p).sum::<f64>(), plm.len()))
        };
        scored.iter().map(one).collect()
    }

    /// Perplexity over all tokens.
    pub fn perplexity(&self, scored: &[Scored]) -> Result<f64> {
        Ok(perplexity(self.unrolled(scored)?))
    }

    /// The method with this mixture.
    pub fn label(&self, method: Method) -> String {
        match method {
            Method::Plm => method.title().to_owned(),
            _ => format!("{}, {} {}", method.title(), self.schedule, self.lambda_max),
        }
    }
}

/// `exp(mean negative log-likelihood)` over all tokens.
pub fn perplexity(references: impl IntoIterator<Item = (f64, usize)>) -> f64 {
    let (nll, tokens) = references.into_iter().fold((0.0, 0), |(a, n), (b, m)| (a + b, n + m));
    (nll / tokens as f64).exp()
}

/// The best weight for each of `schedules`, and of these the best, on validation references.
pub fn choose(validation: &[Scored], schedules: &[Schedule]) -> Result<Choice> {
    let mut best: Option<Choice> = None;
    for &schedule in schedules {
        for lambda_max in LAMBDAS {
            let mut choice = Choice { schedule, lambda_max, perplexity: f64::INFINITY };
            choice.perplexity = choice.perplexity(validation)?;
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
        let of = |lambda_max| Choice { lambda_max, ..Choice::PLM_ALONE }.perplexity(&scored).unwrap();
        assert!((of(0.0) - 8.0_f64.sqrt()).abs() < 1e-9);
        assert!((of(1.0) - 2.0).abs() < 1e-6);
        assert!((of(0.5) - (1.0_f64 / (0.375 * 0.625)).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn the_best_weight_is_found() {
        let scored = [Scored { plm: vec![0.1, 0.9], method: vec![0.9, 0.1], source_len: 2 }];
        let constant = choose(&scored, &[Schedule::Constant]).unwrap();
        assert_eq!(constant.lambda_max, 0.5);
        let any = choose(&scored, &SCHEDULES).unwrap();
        assert!(any.perplexity < constant.perplexity && any.schedule != Schedule::Constant);
    }
}
