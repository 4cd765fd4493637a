//! Likelihoods of references under mixtures: computed once a method, mixed in any way after.

use anyhow::{Context, Result};
use pema_core::{
    id::TokenId,
    schedule::{Mixing, Schedule, geometric as geometric_mean, smooth},
};
use serde::{Deserialize, Serialize};

use crate::writer::{Form, Mixture};

/// The mixtures that are compared, but for their weights: three for every method, one where whole
/// distributions are known, and one each for adapters with contrast and with a gate. Those of whole
/// distributions have a normaliser of their own for each weight, so there are the constant ones alone.
pub const FORMS: [Form; 6] = [
    Form::arithmetic(Schedule::Constant),
    Form::arithmetic(Schedule::Linear),
    Form::arithmetic(Schedule::Quadratic),
    Form { mixing: Mixing::Geometric, schedule: Schedule::Constant },
    Form { mixing: Mixing::Contrast, schedule: Schedule::Constant },
    Form::arithmetic(Schedule::Learned),
];

/// The paper's simplest mixture.
pub const CONSTANT: Form = FORMS[0];

/// The weights that are compared.
pub const LAMBDAS: [f32; 11] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Probabilities of one reference's tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The PLM's, `[tokens]`.
    pub plm: Vec<f32>,
    /// The method's, `[tokens]`.
    pub method: Vec<f32>,
    /// The constant geometric mixture's log-probabilities at each of [`LAMBDAS`], `[tokens]`; none for
    /// a method whose whole distribution is not known.
    pub geometric: Vec<[f32; LAMBDAS.len()]>,
    /// Likewise those of contrast; none for a method without.
    #[serde(default)]
    pub contrast: Vec<[f32; LAMBDAS.len()]>,
    /// The gate's weights, `[tokens]`; none for a method without a gate.
    #[serde(default)]
    pub gate: Vec<f32>,
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
pub const PLM_ALONE: Mixture = Mixture { form: Form::arithmetic(Schedule::Constant), lambda_max: 0.0 };

impl Scored {
    /// Where the method is known by its tokens' probabilities alone.
    pub fn of_tokens(plm: Vec<f32>, method: Vec<f32>, source_len: u32) -> Self {
        Self { plm, method, geometric: Vec::new(), contrast: Vec::new(), gate: Vec::new(), source_len }
    }

    /// Whether its likelihood under mixtures of this form is known.
    fn knows(&self, form: Form) -> bool {
        let known = match (form.mixing, form.schedule) {
            (Mixing::Arithmetic, Schedule::Learned) => self.gate.len(),
            (Mixing::Arithmetic, _) => self.method.len(),
            (Mixing::Geometric, _) => self.geometric.len(),
            (Mixing::Contrast, _) => self.contrast.len(),
        };
        known == self.plm.len()
    }
}

/// The forms in which the likelihoods of these references are known.
pub fn known_forms(scored: &[Scored]) -> impl Iterator<Item = Form> {
    FORMS.into_iter().filter(|form| scored.iter().all(|one| one.knows(*form)))
}

/// A token's log-probabilities under the geometric mixture at each of [`LAMBDAS`], from log-probabilities
/// `[v]`; the lowest there are for a token that the head lacks.
pub fn geometric(log_p_method: &[f32], log_p_plm: &[f32], token: TokenId) -> [f32; LAMBDAS.len()] {
    let at = |log_p: &[f32]| log_p.get(token.0 as usize).copied().unwrap_or(f32::NEG_INFINITY);
    let smoothed = smooth(log_p_method, log_p_plm);
    LAMBDAS.map(|lambda| {
        let log_p = if lambda < 1.0 {
            let mixed = |(log_p, log_p_plm): (&f32, &f32)| geometric_mean(*log_p, *log_p_plm, lambda);
            // No term is above 1, so that none overflows.
            let mass: f64 = smoothed.iter().zip(log_p_plm).map(|pair| f64::from(mixed(pair).exp())).sum();
            mixed((&at(&smoothed), &at(log_p_plm))) - mass.ln() as f32
        } else {
            at(log_p_method)
        };
        log_p.max(f64::MIN_POSITIVE.ln() as f32) // JSON has no infinity.
    })
}

/// The likelihood of each reference under a mixture.
pub fn likelihoods(mixture: Mixture, scored: &[Scored]) -> Result<Vec<Likelihood>> {
    let one = |scored: &Scored| {
        let log_p = match mixture.form.mixing {
            Mixing::Arithmetic => arithmetic_log_likelihood(mixture, scored)?,
            Mixing::Geometric => log_likelihood(mixture, &scored.geometric, scored)?,
            Mixing::Contrast => log_likelihood(mixture, &scored.contrast, scored)?,
        };
        Ok(Likelihood { nll: -log_p, tokens: scored.plm.len() })
    };
    scored.iter().map(one).collect()
}

fn arithmetic_log_likelihood(mixture: Mixture, Scored { plm, method, gate, source_len, .. }: &Scored) -> Result<f64> {
    let unrolling = mixture.unrolling(*source_len)?;
    let log_p = |(t, (plm, method)): (usize, (&f32, &f32))| {
        let learned = || gate.get(t).map(|lambda| lambda.min(mixture.lambda_max));
        let lambda = unrolling.lambda(t).or_else(learned).context("no gate was there to say the weight")?;
        let lambda = f64::from(lambda);
        Ok((lambda * f64::from(*method) + (1.0 - lambda) * f64::from(*plm)).max(f64::MIN_POSITIVE).ln())
    };
    plm.iter().zip(method).enumerate().map(log_p).sum()
}

/// From log-probabilities at each of [`LAMBDAS`].
fn log_likelihood(mixture: Mixture, at_lambdas: &[[f32; LAMBDAS.len()]], scored: &Scored) -> Result<f64> {
    let at = LAMBDAS.iter().position(|&lambda| lambda == mixture.lambda_max);
    let at = at.filter(|_| mixture.form.schedule == Schedule::Constant && scored.knows(mixture.form));
    let at = at.with_context(|| format!("{} {} was not scored", mixture.form, mixture.lambda_max))?;
    Ok(at_lambdas.iter().map(|log_p| f64::from(log_p[at])).sum())
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

/// The best weight for each of `forms`, and of these the best, on validation references.
pub fn choose(validation: &[Scored], forms: &[Form]) -> Result<Choice> {
    let mut best: Option<Choice> = None;
    for &form in forms {
        for lambda_max in LAMBDAS {
            let mixture = Mixture { form, lambda_max };
            let choice = Choice { mixture, perplexity: perplexity(mixture, validation)? };
            if best.is_none_or(|best| choice.perplexity < best.perplexity) {
                best = Some(choice);
            }
        }
    }
    best.context("no mixture to choose from")
}

#[cfg(test)]
mod tests {
    use pema_core::schedule::Mix;

    use super::*;

    #[test]
    fn geometric_perplexity_is_as_computed_by_hand() {
        // The method's is smoothed to 0.508 and 0.492.
        let (one, other) = ((0.508_f64 * 0.9).sqrt(), (0.492_f64 * 0.1).sqrt());
        let (method, plm) = ([0.5_f32.ln(); 2], [0.9_f32.ln(), 0.1_f32.ln()]);
        let at = geometric(&method, &plm, TokenId(0));
        for (log_p, lambda) in at.iter().zip(LAMBDAS) {
            let mixture = Mix { mixing: Mixing::Geometric, lambda }.log_probs(&method, &plm);
            assert!((log_p - mixture[0]).abs() < 1e-6, "lambda {lambda}");
        }
        let scored = Scored { geometric: vec![at], ..Scored::of_tokens(vec![0.9], vec![0.5], 3) };
        let mixture = |lambda_max| Mixture { form: FORMS[3], lambda_max };
        assert!((perplexity(mixture(0.5), std::slice::from_ref(&scored)).unwrap() - (one + other) / one).abs() < 1e-5);
        assert!((perplexity(mixture(1.0), std::slice::from_ref(&scored)).unwrap() - 2.0).abs() < 1e-6);
        assert!(perplexity(mixture(0.51), std::slice::from_ref(&scored)).is_err());
        assert_eq!(known_forms(std::slice::from_ref(&scored)).collect::<Vec<_>>(), FORMS[..4]);
        assert!(perplexity(Mixture { form: FORMS[4], lambda_max: 0.5 }, &[scored]).is_err());
        assert!(geometric(&method, &plm, TokenId(2)).iter().all(|log_p| log_p.is_finite() && *log_p < -700.0));
    }

    #[test]
    fn perplexity_is_as_computed_by_hand() {
        let scored = [Scored::of_tokens(vec![0.5, 0.25], vec![0.25, 1.0], 8)];
        let of = |lambda_max| perplexity(Mixture { lambda_max, ..PLM_ALONE }, &scored).unwrap();
        assert!((of(0.0) - 8.0_f64.sqrt()).abs() < 1e-9);
        assert!((of(1.0) - 2.0).abs() < 1e-6);
        assert!((of(0.5) - (1.0_f64 / (0.375 * 0.625)).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn a_gates_weights_are_taken_up_to_the_largest() {
        let gated = Scored { gate: vec![0.25, 1.0], ..Scored::of_tokens(vec![0.5, 0.25], vec![0.25, 1.0], 8) };
        let learned = |lambda_max| Mixture { form: FORMS[5], lambda_max };
        let of = |lambda_max| perplexity(learned(lambda_max), std::slice::from_ref(&gated)).unwrap();
        assert!((of(1.0) - (1.0_f64 / 0.4375).sqrt()).abs() < 1e-6);
        assert!((of(0.5) - (1.0_f64 / (0.4375 * 0.625)).sqrt()).abs() < 1e-6);
        let refused = perplexity(learned(0.5), &[Scored::of_tokens(vec![0.5], vec![0.25], 8)]);
        assert!(refused.is_err());
    }

    #[test]
    fn the_best_weight_is_found() {
        let scored = [Scored::of_tokens(vec![0.1, 0.9], vec![0.9, 0.1], 2)];
        let constant = choose(&scored, &[CONSTANT]).unwrap();
        assert_eq!(constant.mixture.lambda_max, 0.5);
        let any = choose(&scored, &FORMS[..3]).unwrap();
        assert!(any.perplexity < constant.perplexity && any.mixture.form.schedule != Schedule::Constant);
    }
}
