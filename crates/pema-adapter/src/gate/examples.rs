//! What a gate learns from: features of steps, and how likely both distributions find their targets.

use pema_core::id::TokenId;

use super::{Sight, sigmoid};

/// What stands for the logarithm of 0.
const LOWEST: f32 = -100.0;

/// Features are summed so many at a time, since a compiler may not reorder a sum of floats.
const LANES: usize = 8;

/// Steps of validation pairs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Examples {
    /// `[n, features]`, row-major.
    features: Vec<f32>,
    steps: Vec<Step>,
}

/// A step but for its features.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The adapter's log-probability of the target token, and the PLM's.
    log_p: [f64; 2],
    /// What it counts.
    weight: f64,
    /// Steps of one group, those of one prompt, are alike: none is to judge what another has taught.
    group: u32,
}

impl Examples {
    /// Steps.
    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Adds a step whose target is `y`.
    pub(crate) fn push(&mut self, sight: Sight<'_>, y: TokenId, weight: f32, group: u32) {
        let log_p = [sight.pema, sight.plm].map(|log_p| log_p.get(y.0 as usize).map_or(LOWEST, |log_p| log_p.max(LOWEST)));
        sight.push_features(&mut self.features);
        self.steps.push(Step { log_p: log_p.map(f64::from), weight: weight.into(), group });
    }

    /// Adds the steps of others.
    pub(crate) fn append(&mut self, mut others: Self) {
        self.features.append(&mut others.features);
        self.steps.append(&mut others.steps);
    }

    /// Features of a step.
    pub(super) fn width(&self) -> usize {
        self.features.len() / self.steps.len().max(1)
    }

    /// All steps.
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.len()).collect()
    }

    /// Steps in `folds` parts, each with all steps of some groups.
    pub(super) fn folds(&self, folds: usize) -> Vec<Vec<usize>> {
        let mut groups: Vec<u32> = self.steps.iter().map(|step| step.group).collect();
        groups.sort_unstable();
        groups.dedup();
        let fold = |step: &Step| groups.binary_search(&step.group).map_or(0, |place| place % folds);
        let of = |wanted| (0..self.len()).filter(|&i| fold(&self.steps[i]) == wanted).collect();
        (0..folds).map(of).collect()
    }

    /// What the steps at `indices` count.
    pub(super) fn weight(&self, indices: &[usize]) -> f64 {
        indices.iter().map(|&i| self.steps[i].weight).sum()
    }

    /// The weighted mean over `indices` of `-log(lambda p_PEMA + (1 - lambda) p_PLM)` with
    /// `lambda = sigma(w . x)`, and, if wanted, its gradient with respect to `w` in `gradient`.
    pub(super) fn loss(&self, indices: &[usize], w: &[f64], mut gradient: Option<&mut [f64]>) -> f64 {
        let (width, whole) = (self.width(), self.weight(indices).max(f64::MIN_POSITIVE));
        let mut loss = 0.0;
        for &i in indices {
            let x = &self.features[i * width..][..width];
            let Step { log_p: [pema, plm], weight, .. } = self.steps[i];
            let u = dot(w, x);
            // lambda p + (1 - lambda) q = (e^u p + q) / (e^u + 1).
            loss += weight / whole * (log_add_exp(u, 0.0) - log_add_exp(u + pema, plm));
            if let Some(gradient) = gradient.as_deref_mut() {
                let slope = weight / whole * (sigmoid(u) - sigmoid(u + pema - plm));
                gradient.iter_mut().zip(x).for_each(|(gradient, &x)| *gradient += slope * f64::from(x));
            }
        }
        loss
    }

    /// The mean loss of all steps if both distributions weigh the same.
    pub(crate) fn even_loss(&self) -> f32 {
        self.loss(&self.all(), &vec![0.0; self.width()], None) as f32
    }
}

fn dot(w: &[f64], x: &[f32]) -> f64 {
    let mut sums = [0.0; LANES];
    let (w, w_rest) = w.as_chunks::<LANES>();
    let (x, x_rest) = x.as_chunks::<LANES>();
    for (w, x) in w.iter().zip(x) {
        sums.iter_mut().zip(w.iter().zip(x)).for_each(|(sum, (w, &x))| *sum += w * f64::from(x));
    }
    sums.iter().sum::<f64>() + w_rest.iter().zip(x_rest).map(|(w, &x)| w * f64::from(x)).sum::<f64>()
}

/// `log(e^a + e^b)` of finite numbers, without overflow.
fn log_add_exp(a: f64, b: f64) -> f64 {
    a.max(b) + (-(a - b).abs()).exp().ln_1p()
}
