//! L-BFGS (Liu and Nocedal 1989), for a smooth function of some hundred variables.

use std::collections::VecDeque;

/// Pairs of differences that stand for the curvature.
const MEMORY: usize = 8;

/// Most steps.
const STEPS_MAX: usize = 100;

/// It ends where no entry of the gradient is larger.
const TOLERANCE: f64 = 1e-6;

/// Share of the fall that a step promises which it must keep.
const SUFFICIENT: f64 = 1e-4;

/// Most halvings of a step.
const HALVINGS_MAX: usize = 30;

/// A difference of places, that of their gradients, and one over their product.
struct Difference {
    s: Vec<f64>,
    y: Vec<f64>,
    rho: f64,
}

/// A place near which `f`, which gives its value and its gradient, is least, found from `start`.
pub(super) fn minimise(start: Vec<f64>, mut f: impl FnMut(&[f64]) -> (f64, Vec<f64>)) -> Vec<f64> {
    let mut w = start;
    let (mut value, mut gradient) = f(&w);
    let mut memory: VecDeque<Difference> = VecDeque::new();
    for _ in 0..STEPS_MAX {
        if gradient.iter().all(|g| g.abs() <= TOLERANCE) {
            break;
        }
        let direction = direction(&memory, &gradient);
        let fall = dot(&direction, &gradient);
        let mut length = 1.0;
        let next = (0..HALVINGS_MAX).find_map(|_| {
            let place: Vec<f64> = w.iter().zip(&direction).map(|(w, d)| w + length * d).collect();
            let (next, slope) = f(&place);
            let falls = next <= value + SUFFICIENT * length * fall;
            length /= 2.0;
            falls.then_some((place, next, slope))
        });
        let Some((place, next, slope)) = next else { break };
        let s: Vec<f64> = place.iter().zip(&w).map(|(new, old)| new - old).collect();
        let y: Vec<f64> = slope.iter().zip(&gradient).map(|(new, old)| new - old).collect();
        let sy = dot(&s, &y);
        // Where the function curves downwards there is nothing to learn of it.
        if sy > f64::EPSILON * dot(&y, &y) {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back(Difference { s, y, rho: sy.recip() });
        }
        (w, value, gradient) = (place, next, slope);
    }
    w
}

/// Where to go: minus the gradient through the inverse of the curvature.
fn direction(memory: &VecDeque<Difference>, gradient: &[f64]) -> Vec<f64> {
    let mut q = gradient.to_vec();
    let mut alphas = Vec::with_capacity(memory.len());
    for Difference { s, y, rho } in memory.iter().rev() {
        let alpha = rho * dot(s, &q);
        add(&mut q, -alpha, y);
        alphas.push(alpha);
    }
    if let Some(Difference { y, rho, .. }) = memory.back() {
        let scale = (rho * dot(y, y)).recip();
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for (Difference { s, y, rho }, alpha) in memory.iter().zip(alphas.iter().rev()) {
        let beta = rho * dot(y, &q);
        add(&mut q, alpha - beta, s);
    }
    q.iter_mut().for_each(|q| *q = -*q);
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `a += factor b`.
fn add(a: &mut [f64], factor: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottom_of_a_curved_valley_is_found() {
        // Rosenbrock's.
        let f = |w: &[f64]| {
            let [x, y] = [w[0], w[1]];
            let slope = vec![-2.0 * (1.0 - x) - 40.0 * x * (y - x * x), 20.0 * (y - x * x)];
            ((1.0 - x).powi(2) + 10.0 * (y - x * x).powi(2), slope)
        };
        let found = minimise(vec![-1.2, 1.0], f);
        assert!(found.iter().all(|w| (w - 1.0).abs() < 1e-4), "{found:?}");
    }
}
