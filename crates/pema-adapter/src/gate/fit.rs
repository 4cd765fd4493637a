//! Fitting a gate: by L-BFGS, from the best constant weight, with a penalty on all weights but the bias.
//!
//! There are more weights than a small memory has validation pairs, so how strong the penalty must be is
//! asked of the pairs themselves: each of four parts, whole prompts, judges gates that learned from the
//! other three. If none beats the best constant weight there, the gate is that constant.

use super::lbfgs::minimise;
use super::{Examples, Gate, GateFit, sigmoid};

/// Penalties that are compared, `strength / 2 |w|^2` beside the mean loss; the first leaves the bias alone.
const STRENGTHS: [f64; 6] = [f64::INFINITY, 1.0, 0.1, 0.01, 0.001, 0.0001];

/// Parts that judge in turn.
const FOLDS: usize = 4;

/// A gate for these steps, at least one, and what it gives on steps that it did not learn from.
pub(crate) fn fit(examples: &Examples) -> (Gate, GateFit) {
    let all = examples.all();
    let judged = judge(examples);
    let best = (0..STRENGTHS.len()).min_by(|&a, &b| judged[a].total_cmp(&judged[b])).unwrap_or(0);
    let path = path(examples, &all, &STRENGTHS[..=best]);
    let weights = path.last().map(|w| w.iter().map(|&w| w as f32).collect()).unwrap_or_default();
    let lambda = path.first().and_then(|w| w.last()).map_or(0.5, |&bias| sigmoid(bias) as f32);
    let [loss, constant_loss] = [judged[best], judged[0]].map(|loss| loss as f32);
    (Gate { weights }, GateFit { pairs: examples.len(), loss, constant_loss, lambda })
}

/// For each strength, the mean loss of steps whose part was left out of learning.
fn judge(examples: &Examples) -> [f64; STRENGTHS.len()] {
    let mut sums = [0.0; STRENGTHS.len()];
    let folds = examples.folds(FOLDS);
    for judges in (0..FOLDS).filter(|&judges| !folds[judges].is_empty()) {
        let learned: Vec<usize> = (0..FOLDS).filter(|&fold| fold != judges).flat_map(|fold| folds[fold].clone()).collect();
        if learned.is_empty() {
            // One prompt alone tells no strength from another: the first, a constant, is taken.
            let all = examples.all();
            let constant = path(examples, &all, &STRENGTHS[..1]);
            return [constant.last().map_or(f64::NAN, |w| examples.loss(&all, w, None)); STRENGTHS.len()];
        }
        let share = examples.weight(&folds[judges]) / examples.weight(&examples.all());
        for (sum, w) in sums.iter_mut().zip(path(examples, &learned, &STRENGTHS)) {
            *sum += share * examples.loss(&folds[judges], &w, None);
        }
    }
    sums
}

/// The weights at each of `strengths`, which fall; each fit begins where the one before has ended.
fn path(examples: &Examples, indices: &[usize], strengths: &[f64]) -> Vec<Vec<f64>> {
    let mut w = vec![0.0; examples.width()];
    let one = |&strength: &f64| {
        w = minimise(std::mem::take(&mut w), |w| objective(examples, indices, strength, w));
        w.clone()
    };
    strengths.iter().map(one).collect()
}

/// The penalised loss of the steps at `indices` and its gradient.
pub(super) fn objective(examples: &Examples, indices: &[usize], strength: f64, w: &[f64]) -> (f64, Vec<f64>) {
    let mut gradient = vec![0.0; w.len()];
    let mut value = examples.loss(indices, w, Some(&mut gradient));
    let penalised = w.len().saturating_sub(1);
    for (gradient, w) in gradient.iter_mut().zip(w).take(penalised) {
        if strength.is_infinite() {
            *gradient = 0.0;
        } else {
            *gradient += strength * w;
            value += strength / 2.0 * w * w;
        }
    }
    (value, gradient)
}
