//! An exponential for loops.

/// Below it a term adds nothing to a sum of at least 1, of however many terms; and products with it would be
/// numbers so small that processors take many times as long for each.
const LEAST: f32 = -64.0;

/// `e^x` for `x` at most 0, to 2e-7 of it; 0 below -64. In operations that compilers vectorise: `2^k e^f`, `e^f` by
/// the polynomial of Cephes' `expf`.
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    let within = x.max(LEAST);
    let rounded = within * std::f32::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    // ln 2 in two parts, the first of which times k is exact.
    let f = within - k * 0.693_359_4 + k * 2.121_944_4e-4;
    let coefficients = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let polynomial = coefficients.into_iter().fold(1.987_569_1e-4, |sum, coefficient| sum * f + coefficient);
    let power = polynomial * f * f + f + 1.0;
    let exponential = f32::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 23));
    if x < LEAST { 0.0 } else { exponential }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exponentials_are_close() {
        for i in 0..=64_000 {
            let x = -(i as f32) / 1000.0;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours - exact).abs() <= 2e-7 * exact, "e^{x}: {ours} instead of {exact}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!([-64.01, -1e10, f32::NEG_INFINITY].map(exp), [0.0; 3]);
    }
}
