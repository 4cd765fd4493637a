//! Contrast: an adapter counts as far as learning the targets has changed it.
//!
//! An adapter is small, and what it says of a text is mostly its own weakness: in a mixture that pulls the
//! PLM down. So it first learns to write what the PLM writes (the phase of imitation: the PLM's own words,
//! from the memory's contexts, with these words as the prefix), is kept as it is then, and only then
//! learns the targets. Between the two there is what the targets teach, and the weakness of both
//! cancels. Its distribution is, after proxy tuning (Liu et al. 2024, arXiv 2401.08565; DExperts,
//! Liu et al. 2021, arXiv 2105.03023),
//!
//! `p(y) = p_PLM(y) s(p_after)(y) / s(p_before)(y) / Z`,  `s(p) = (1 - e) p + e p_PLM`
//!
//! with `e` [`SMOOTHING`](pema_core::schedule::SMOOTHING), so that no ratio is beyond `1 / e`, and a token that neither knows stays
//! the PLM's. Mixed geometrically with weight `lambda`, that is `p_PLM (s(p_after) / s(p_before))^lambda / Z`.
//! All of it is the data owner's: nothing crosses the wire that does not anyway.

use pema_core::schedule::{log_softmax, smooth};

/// The log-probabilities `[v]` that a PLM's and an adapter's, after the targets and before, give together.
pub(crate) fn contrasted(plm: &[f32], after: &[f32], before: &[f32]) -> Vec<f32> {
    let (after, before) = (smooth(after, plm), smooth(before, plm));
    let moved = plm.iter().zip(after.iter().zip(before)).map(|(&plm, (after, before))| {
        // A token that the PLM rules out stays so: two infinities have no difference.
        if plm == f32::NEG_INFINITY { plm } else { plm + after - before }
    });
    log_softmax(&moved.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(log_p: &[f32]) -> Vec<f32> {
        log_p.iter().map(|x| x.exp()).collect()
    }

    fn log_p(p: &[f32]) -> Vec<f32> {
        p.iter().map(|x| x.ln()).collect()
    }

    #[test]
    fn what_learning_did_not_change_stays_the_models() {
        let (plm, adapter) = (log_p(&[0.5, 0.3, 0.2]), log_p(&[0.1, 0.9, 0.0]));
        for (found, expected) in p(&contrasted(&plm, &adapter, &adapter)).iter().zip([0.5, 0.3, 0.2]) {
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
    }

    #[test]
    fn what_became_likelier_is_likelier() {
        let plm = log_p(&[0.5, 0.25, 0.25]);
        let found = p(&contrasted(&plm, &log_p(&[0.5, 0.4, 0.1]), &log_p(&[0.5, 0.1, 0.4])));
        // By hand: the smoothed ratios are 1, 0.397 / 0.103 and its inverse.
        let ratio: f32 = 0.397 / 0.103;
        let whole = 0.5 + 0.25 * ratio + 0.25 / ratio;
        for (found, expected) in found.iter().zip([0.5, 0.25 * ratio, 0.25 / ratio]) {
            assert!((found - expected / whole).abs() < 1e-5, "{found} instead of {}", expected / whole);
        }
    }

    #[test]
    fn a_token_that_the_model_rules_out_stays_so() {
        let found = contrasted(&log_p(&[0.5, 0.5, 0.0]), &log_p(&[0.0, 0.0, 1.0]), &log_p(&[0.5, 0.5, 0.0]));
        assert_eq!(found[2], f32::NEG_INFINITY);
        assert!(found[..2].iter().all(|x| x.is_finite()), "{found:?}");
    }
}
