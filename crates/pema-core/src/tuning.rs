//! Which mixtures an adapter is tried with on validation pairs, so that the texts say which is best.

use crate::schedule::{Mix, Mixing};

/// How two distributions become one, with the constant weights that are tried.
const TRIED: [(Mixing, &[f32]); 3] =
    [(Mixing::Arithmetic, &[0.2, 0.4]), (Mixing::Geometric, &[0.3, 0.5, 0.7, 0.9]), (Mixing::Contrast, &[0.3, 0.5, 0.7])];

/// The mixtures that are tried, for an adapter with contrast or without.
pub fn mixtures(has_contrast: bool) -> impl Iterator<Item = Mix> {
    let fitting = TRIED.into_iter().filter(move |(mixing, _)| has_contrast || *mixing != Mixing::Contrast);
    fitting.flat_map(|(mixing, lambdas)| lambdas.iter().map(move |&lambda| Mix { mixing, lambda }))
}

/// The index of the largest score, the first among equals; none of none.
pub fn best(scores: &[f64]) -> Option<usize> {
    (0..scores.len()).reduce(|best, i| if scores[i] > scores[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_tried_where_there_is_contrast() {
        let count = |has_contrast| mixtures(has_contrast).filter(|mix| mix.mixing == Mixing::Contrast).count();
        assert_eq!((count(false), count(true)), (0, 3));
        assert_eq!(mixtures(true).count() - mixtures(false).count(), 3);
    }

    #[test]
    fn the_best_is_the_first_of_the_highest() {
        assert_eq!(best(&[1.0, 3.0, 2.0, 3.0]), Some(1));
        assert_eq!(best(&[]), None);
    }
}
