//! Gradual Unrolling: how much of each token's probability comes from the adapter, and the
//! mixing itself, in log space.
//!
//! `p_t = lambda_t * p_PEMA + (1 - lambda_t) * p_PLM` for `t = 0, 1, …`, the tokens generated so
//! far. PEMA (arXiv 2311.08590), section 3.4. Or the weighted geometric mean of the two, [`Mixing`].

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How the adapter's weight falls as the output grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// `max(lambda_max - t * lambda_max / SL, 0)`, as in the paper.
    #[default]
    Linear,
    /// The square of [`Schedule::Linear`], as in the reference code. It starts at
    /// `lambda_max^2`, not at `lambda_max`.
    Quadratic,
    /// `lambda_max` throughout.
    Constant,
    /// What the adapter's gate says of each step once it has seen both distributions, at most
    /// `lambda_max`. It needs an adapter with a gate, and arithmetic mixtures, for which gates learn.
    Learned,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linear => "linear",
            Self::Quadratic => "quadratic",
            Self::Constant => "constant",
            Self::Learned => "learned",
        })
    }
}

/// How two distributions become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mixing {
    /// `lambda p_PEMA + (1 - lambda) p_PLM`, as in the paper: a token is likely if either finds it so.
    #[default]
    Arithmetic,
    /// `p^lambda p_PLM^(1 - lambda) / Z` with `p = (1 - e) p_PEMA + e p_PLM`, `e` [`SMOOTHING`]: a token
    /// is likely if neither finds it unlikely. Log-linear interpolation (Klakow 1998).
    Geometric,
    /// Geometric with what learning targets has changed of an adapter with contrast: with `s` the smoothing
    /// above, `p_PEMA` is `p_PLM s(p_after) / s(p_before) / Z`. Proxy tuning (Liu et al. 2024, arXiv 2401.08565).
    Contrast,
}

impl fmt::Display for Mixing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arithmetic => "arithmetic",
            Self::Geometric => "geometric",
            Self::Contrast => "contrast",
        })
    }
}

/// The PLM's share in what a geometric mixture takes for the adapter's distribution, so that an
/// adapter cannot rule out a token that it never met.
pub const SMOOTHING: f64 = 0.02;

/// The mixture at one token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// How.
    pub mixing: Mixing,
    /// The adapter's weight, in `[0, 1]`.
    pub lambda: f32,
}

/// The adapter's weight at every step of one generation, and how it mixes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct GradualUnrolling {
    mixing: Mixing,
    schedule: Schedule,
    lambda_max: f32,
    source_len: u32,
}

/// Why a schedule cannot be built.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum ScheduleError {
    /// Not a weight.
    #[error("lambda_max is {0} and must lie between 0 (the model alone) and 1 (the adapter alone)")]
    LambdaMax(f32),
    /// The step size `lambda_max / SL` does not exist.
    #[error("the source has no tokens: the schedule needs a source length of at least 1")]
    SourceLen,
}

impl GradualUnrolling {
    /// A schedule of arithmetic mixtures from `lambda_max` in `[0, 1]` and the source's length in
    /// tokens, at least 1.
    ///
    /// # Errors
    /// [`ScheduleError`] when one of them is out of range.
    pub fn new(schedule: Schedule, lambda_max: f32, source_len: u32) -> Result<Self, ScheduleError> {
        if !(0.0..=1.0).contains(&lambda_max) {
            return Err(ScheduleError::LambdaMax(lambda_max));
        }
        if source_len == 0 {
            return Err(ScheduleError::SourceLen);
        }
        Ok(Self { mixing: Mixing::default(), schedule, lambda_max, source_len })
    }

    /// The same weights, mixed in this way.
    pub fn with_mixing(self, mixing: Mixing) -> Self {
        Self { mixing, ..self }
    }

    /// The mixture for the token after `t` generated ones; none where a gate is to say its weight.
    pub fn mix(&self, t: usize) -> Option<Mix> {
        Some(Mix { mixing: self.mixing, lambda: self.lambda(t)? })
    }

    /// How the two distributions are mixed.
    pub fn mixing(&self) -> Mixing {
        self.mixing
    }

    /// The schedule's shape.
    pub fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// The largest weight, which a schedule that falls starts from, in `[0, 1]`.
    pub fn lambda_max(&self) -> f32 {
        self.lambda_max
    }

    /// `SL`, in tokens.
    pub fn source_len(&self) -> u32 {
        self.source_len
    }

    /// The adapter's weight for the token after `t` generated ones, in `[0, lambda_max]`; none where a
    /// gate is to say it.
    pub fn lambda(&self, t: usize) -> Option<f32> {
        let lambda_max = f64::from(self.lambda_max);
        let linear = (lambda_max - t as f64 * lambda_max / f64::from(self.source_len)).max(0.0);
        match self.schedule {
            Schedule::Linear => Some(linear as f32),
            Schedule::Quadratic => Some((linear * linear) as f32),
            Schedule::Constant => Some(self.lambda_max),
            Schedule::Learned => None,
        }
    }

    /// `t / SL`, which a gate looks at.
    pub fn progress(&self, t: usize) -> f32 {
        t as f32 / self.source_len as f32
    }
}

/// What is stored of a [`GradualUnrolling`]; read back through its checks.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    mixing: Mixing,
    schedule: Schedule,
    lambda_max: f32,
    source_len: u32,
}

impl TryFrom<Fields> for GradualUnrolling {
    type Error = ScheduleError;

    fn try_from(fields: Fields) -> Result<Self, ScheduleError> {
        Ok(Self::new(fields.schedule, fields.lambda_max, fields.source_len)?.with_mixing(fields.mixing))
    }
}

impl From<GradualUnrolling> for Fields {
    fn from(g: GradualUnrolling) -> Self {
        Self { mixing: g.mixing, schedule: g.schedule, lambda_max: g.lambda_max, source_len: g.source_len }
    }
}

/// `log softmax` of logits `[v]`, summed in f64. An empty slice gives an empty vector.
pub fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().fold(f64::NEG_INFINITY, |max, &x| max.max(f64::from(x)));
    let log_sum = max + logits.iter().map(|&x| (f64::from(x) - max).exp()).sum::<f64>().ln();
    logits.iter().map(|&x| (f64::from(x) - log_sum) as f32).collect()
}

impl Mix {
    /// The PLM alone.
    pub const PLM: Self = Self { mixing: Mixing::Arithmetic, lambda: 0.0 };

    /// The adapter alone.
    pub const ADAPTER: Self = Self { lambda: 1.0, ..Self::PLM };

    /// The mixture's log-probabilities from both, `[v]`, natural log; for [`Mixing::Contrast`], the adapter's are
    /// those of the contrast.
    ///
    /// `lambda = 0` gives the model's own and `lambda = 1` the adapter's, bit for bit. An entry that
    /// is `-inf` on both sides stays so; geometrically, one that is so on the PLM's.
    ///
    /// # Panics
    /// When the two have different lengths.
    pub fn log_probs(self, log_p_pema: &[f32], log_p_plm: &[f32]) -> Vec<f32> {
        assert_eq!(log_p_pema.len(), log_p_plm.len(), "both distributions are over one vocabulary");
        if self.lambda <= 0.0 {
            return log_p_plm.to_vec();
        }
        if self.lambda >= 1.0 {
            return log_p_pema.to_vec();
        }
        let lambda = f64::from(self.lambda);
        let both = log_p_pema.iter().zip(log_p_plm).map(|(&pema, &plm)| (f64::from(pema), f64::from(plm)));
        match self.mixing {
            Mixing::Arithmetic => {
                let (log_lambda, log_rest) = (lambda.ln(), (-lambda).ln_1p());
                both.map(|(pema, plm)| log_add_exp(pema + log_lambda, plm + log_rest) as f32).collect()
            }
            Mixing::Geometric | Mixing::Contrast => {
                let smoothed = smooth(log_p_pema, log_p_plm);
                let weighted = smoothed.iter().zip(log_p_plm).map(|(&pema, &plm)| geometric(pema, plm, self.lambda));
                log_softmax(&weighted.collect::<Vec<_>>())
            }
        }
    }
}

/// `log((1 - e) p_PEMA + e p_PLM)` with `e` [`SMOOTHING`]: what a geometric mixture takes for the
/// adapter's log-probabilities.
pub fn smooth(log_p_pema: &[f32], log_p_plm: &[f32]) -> Vec<f32> {
    let (log_share, log_rest) = (SMOOTHING.ln(), (-SMOOTHING).ln_1p());
    let both = log_p_pema.iter().zip(log_p_plm);
    both.map(|(&pema, &plm)| log_add_exp(f64::from(pema) + log_rest, f64::from(plm) + log_share) as f32).collect()
}

/// `lambda log p + (1 - lambda) log p_PLM` with `p` smoothed: a geometric mixture but for its normaliser.
pub fn geometric(log_p: f32, log_p_plm: f32, lambda: f32) -> f32 {
    // Not the sum of two products: two infinities have no difference.
    if log_p_plm == f32::NEG_INFINITY { log_p_plm } else { log_p_plm + lambda * (log_p - log_p_plm) }
}

/// `log(e^a + e^b)` without overflow.
fn log_add_exp(a: f64, b: f64) -> f64 {
    let max = a.max(b);
    if max == f64::NEG_INFINITY { max } else { max + (-(a - b).abs()).exp().ln_1p() }
}
