//! An exponential for loops.

/// `e^x` for `x` at most 0, to 2e-7 of it; below -87, where f32 has nothing left to add, `e^-87`. In
/// operations that compilers vectorise: `2^k e^f`, `e^f` by the polynomial of Cephes' `expf`.
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    let x = x.max(-87.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    // ln 2 in two parts, the first of which times k is exact.
    let f = x - k * 0.693_359_4 + k * 2.121_944_4e-4;
    let coefficients = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let polynomial = coefficients.into_iter().fold(1.987_569_1e-4, |sum, coefficient| sum * f + coefficient);
    let power = polynomial * f * f + f + 1.0;
    f32::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exponentials_are_close() {
        for i in 0..=87_000 {
            let x = -(i as f32) / 1000.0;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours - exact).abs() <= 2e-7 * exact, "e^{x}: {ours} instead of {exact}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }
}
