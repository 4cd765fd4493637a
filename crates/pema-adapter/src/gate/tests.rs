use pema_core::id::TokenId;

use super::fit::{fit, objective};
use super::*;

/// The target of every step.
const Y: TokenId = TokenId(0);

/// Log-probabilities that give the target `p` and another token what the target would have had, so that
/// neither entropy nor the largest tells whether it is right.
fn log_probs(is_right: bool) -> Vec<f32> {
    let (target, other) = if is_right { (0.7_f32, 0.1_f32) } else { (0.1, 0.7) };
    [target, other, 0.1, 0.1].map(f32::ln).to_vec()
}

/// Numbers in `[-1, 1)` that look random.
fn noise(seed: u32) -> f32 {
    (seed.wrapping_add(1).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// 64 steps of 16 prompts; `right` says which of the two is right, given the first entry of `h`.
fn examples(right: impl Fn(usize, f32) -> [bool; 2]) -> Examples {
    let mut examples = Examples::default();
    for i in 0..64 {
        let h: Vec<f32> = (0..5).map(|j| noise(i as u32 * 5 + j)).collect();
        let z = [noise(1000 + i as u32), noise(2000 + i as u32)];
        let [pema, plm] = right(i, h[0]).map(log_probs);
        let sight = Sight { h: &h, z: &z, progress: i as f32 / 64.0, pema: &pema, plm: &plm };
        examples.push(sight, Y, 1.0 + (i % 3) as f32, i as u32 / 4);
    }
    examples
}

#[test]
fn features_are_as_computed_by_hand() {
    let (pema, plm) = ([0.5_f32.ln(); 2], [0.0, f32::NEG_INFINITY]);
    let mut features = Vec::new();
    Sight { h: &[3.0, -4.0], z: &[0.0], progress: 7.0, pema: &pema, plm: &plm }.push_features(&mut features);
    let expected = [0.6, -0.8, 0.0, PROGRESS_MAX, 1.0, 0.0, -1.0, 0.0, 1.0];
    assert!(features.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-6), "{features:?}");
    let mut weights = vec![0.0; 9];
    weights[0] = 2.0;
    weights[8] = -1.0;
    let lambda = Gate { weights }.lambda(Sight { h: &[3.0, -4.0], z: &[0.0], progress: 7.0, pema: &pema, plm: &plm });
    assert!((lambda - 1.0 / (1.0 + (-0.2_f32).exp())).abs() < 1e-6, "{lambda}");
}

#[test]
fn gradients_are_the_slopes_of_the_objective() {
    let examples = examples(|i, h| [h > 0.0, i % 2 == 0]);
    let indices: Vec<usize> = (3..40).collect();
    let w: Vec<f64> = (0..examples.width()).map(|j| 2.0 * f64::from(noise(77 + j as u32))).collect();
    let value = |w: &[f64]| objective(&examples, &indices, 0.3, w).0;
    let (_, gradient) = objective(&examples, &indices, 0.3, &w);
    for (j, gradient) in gradient.into_iter().enumerate() {
        let moved = |by: f64| {
            let mut w = w.clone();
            w[j] += by;
            value(&w)
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((gradient - slope).abs() < 1e-8, "{j}: {gradient} instead of {slope}");
    }
}

#[test]
fn the_loss_is_the_mixtures() {
    let examples = examples(|i, _| [i < 32, i >= 32]);
    let even = -(0.5_f64 * 0.7 + 0.5 * 0.1).ln();
    assert!((f64::from(examples.even_loss()) - even).abs() < 1e-6);
    let mut w = vec![0.0; examples.width()];
    if let Some(bias) = w.last_mut() {
        *bias = (0.9_f64 / 0.1).ln();
    }
    let loss = examples.loss(&[0], &w, None);
    assert!((loss + (0.9_f64 * 0.7 + 0.1 * 0.1).ln()).abs() < 1e-6, "{loss}");
}

#[test]
fn a_gate_learns_who_is_right_and_beats_every_constant_weight() {
    let examples = examples(|_, h| [h > 0.0, h <= 0.0]);
    let (gate, fit) = fit(&examples);
    assert_eq!(fit.pairs, 64);
    assert!(fit.loss < 0.8 * fit.constant_loss, "{fit:?}");
    let constant = |lambda: f64| {
        let mut w = vec![0.0; examples.width()];
        w[examples.width() - 1] = (lambda / (1.0 - lambda)).ln();
        examples.loss(&examples.all(), &w, None)
    };
    for lambda in 1..100 {
        assert!(f64::from(fit.loss) < constant(f64::from(lambda) / 100.0), "{lambda}%: {fit:?}");
    }
    let lambda = |first: f32| {
        let p = log_probs(true);
        gate.lambda(Sight { h: &[first, 0.1, 0.1, 0.1, 0.1], z: &[0.1, 0.1], progress: 0.5, pema: &p, plm: &p })
    };
    assert!(lambda(0.9) > 0.7 && lambda(-0.9) < 0.3, "{} {}", lambda(0.9), lambda(-0.9));
}

#[test]
fn a_gate_that_can_tell_nothing_is_the_best_constant_weight() {
    // The adapter is right three times in four, whatever there is to see.
    let examples = examples(|i, _| [!(i * 7).is_multiple_of(4), (i * 7).is_multiple_of(4)]);
    let (gate, found) = fit(&examples);
    let weights = gate.weights();
    assert!((found.loss - found.constant_loss).abs() < 0.02, "{found:?}");
    assert!(weights.iter().take(weights.len() - 1).all(|w| w.abs() < 0.5), "{weights:?}");
    assert!((0.6..=1.0).contains(&found.lambda), "{found:?}");
    assert_eq!(fit(&examples), (gate, found));
}

#[test]
fn one_prompt_alone_gives_a_constant_weight() {
    let mut one = Examples::default();
    let (pema, plm) = (log_probs(true), log_probs(false));
    for i in 0..20 {
        one.push(Sight { h: &[noise(i)], z: &[1.0], progress: 0.0, pema: &pema, plm: &plm }, Y, 1.0, 0);
    }
    let (gate, fit) = fit(&one);
    assert!(gate.weights()[..2].iter().all(|&w| w == 0.0));
    assert!(fit.loss == fit.constant_loss && fit.lambda > 0.9, "{fit:?}");
}

#[test]
fn a_token_that_both_rule_out_has_a_finite_loss() {
    let none = [f32::NEG_INFINITY, 0.0];
    let mut examples = Examples::default();
    examples.push(Sight { h: &[1.0], z: &[1.0], progress: 0.0, pema: &none, plm: &none }, Y, 1.0, 0);
    examples.push(Sight { h: &[1.0], z: &[1.0], progress: 0.0, pema: &none, plm: &none }, TokenId(9), 1.0, 1);
    assert!(examples.even_loss().is_finite());
}
