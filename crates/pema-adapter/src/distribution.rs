//! Numbers of a distribution, given as log-probabilities `[v]`.

/// Its entropy in nats.
pub(crate) fn entropy(log_p: &[f32]) -> f32 {
    let term = |&log_p: &f32| if log_p == f32::NEG_INFINITY { 0.0 } else { -f64::from(log_p).exp() * f64::from(log_p) };
    log_p.iter().map(term).sum::<f64>() as f32
}

/// Its largest log-probability.
pub(crate) fn largest(log_p: &[f32]) -> f32 {
    log_p.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}
