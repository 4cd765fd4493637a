//! Monotone alignment of a target with the model's own words: the cheapest edits that turn one into
//! the other say, for each prefix of the target, which prefix of the model's says the same.

use serde::{Deserialize, Serialize};

/// Which of the model's contexts a target token meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pairing {
    /// `f(c_i)` meets `y_i`.
    #[default]
    Position,
    /// The context whose prefix says what the target's says, by [`align_prefixes`]; the pair counts
    /// less the less it does. Needs [`super::Contexts::Steps`].
    Alignment,
    /// `f(prompt)` meets every `y_i`, also where the memory has contexts of steps: these say what the model
    /// has written, which the target has not, and an adapter with local context learns to mistrust them.
    Prompt,
}

/// How fast a pair's weight falls with the distance of its prefixes: to `e^-2`, about an eighth,
/// where they have nothing in common.
const DECAY: f32 = 2.0;

/// Cost of a word that the other side lacks.
const LACK: f32 = 1.0;

/// The model's prefix that is aligned with a prefix of the target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PrefixMatch {
    /// Its length in words.
    pub own: usize,
    /// Edit distance of the two prefixes as a share of the longer one, in `[0, 1]`.
    pub distance: f32,
}

impl PrefixMatch {
    /// What the pair counts: 1 where both prefixes say the same.
    pub fn weight(self) -> f32 {
        (-DECAY * self.distance).exp()
    }
}

/// The edit by which a cell of the grid is reached, in order of preference.
#[derive(Clone, Copy)]
enum Edit {
    Substitute,
    Delete,
    Insert,
}

/// For each prefix of a target of `target` words, the empty one first, the shortest of the model's
/// prefixes that it is aligned with, the model having written `own` words. `cost(i, j)`, in
/// `[0, 1]`, is that of taking the model's word `j` for the target's word `i`. Words of the model after
/// the target's last cost nothing: it writes on until its step budget is used.
pub fn align_prefixes(target: usize, own: usize, cost: impl Fn(usize, usize) -> f32) -> Vec<PrefixMatch> {
    let width = own + 1;
    let mut distance = vec![0.0_f32; (target + 1) * width];
    let mut edit = vec![Edit::Substitute; distance.len()];
    for at in 1..distance.len() {
        let (i, j) = (at / width, at % width);
        let ways = [
            (i > 0 && j > 0).then(|| (distance[at - width - 1] + cost(i - 1, j - 1).clamp(0.0, 1.0), Edit::Substitute)),
            (i > 0).then(|| (distance[at - width] + LACK, Edit::Delete)),
            (j > 0).then(|| (distance[at - 1] + LACK, Edit::Insert)),
        ];
        let cheapest = ways.into_iter().flatten().reduce(|best, way| if way.0 < best.0 { way } else { best });
        if let Some(way) = cheapest {
            (distance[at], edit[at]) = way;
        }
    }

    // Of ends that cost the same the latest, so that words with nothing in common pair by position.
    let whole = &distance[target * width..];
    let end = (0..width).rev().min_by(|&a, &b| whole[a].total_cmp(&whole[b])).unwrap_or(0);
    let mut matches = vec![PrefixMatch::default(); target + 1];
    let (mut i, mut j) = (target, end);
    while (i, j) != (0, 0) {
        matches[i] = PrefixMatch { own: j, distance: distance[i * width + j] / i.max(j) as f32 };
        match edit[i * width + j] {
            Edit::Substitute => (i, j) = (i - 1, j - 1),
            Edit::Delete => i -= 1,
            Edit::Insert => j -= 1,
        }
    }
    matches[0] = PrefixMatch::default();
    matches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_words(target: &[&str], own: &[&str]) -> Vec<PrefixMatch> {
        align_prefixes(target.len(), own.len(), |i, j| f32::from(u8::from(target[i] != own[j])))
    }

    fn own(matches: &[PrefixMatch]) -> Vec<usize> {
        matches.iter().map(|matched| matched.own).collect()
    }

    #[test]
    fn a_preamble_of_the_model_is_passed_over() {
        let matches = of_words(&["I", "must", "leave"], &["Sure", ":", "I", "must", "leave", "now"]);
        assert_eq!(own(&matches), [0, 3, 4, 5]);
        let expected = [0.0, 2.0 / 3.0, 2.0 / 4.0, 2.0 / 5.0];
        assert_eq!(matches.iter().map(|matched| matched.distance).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn words_that_the_model_left_out_keep_its_context() {
        let matches = of_words(&["I", "really", "truly", "must", "leave"], &["I", "must", "leave", "now"]);
        assert_eq!(own(&matches), [0, 1, 1, 1, 2, 3]);
        let weights: Vec<f32> = matches.iter().map(|matched| matched.weight()).collect();
        assert_eq!(weights[..2], [1.0, 1.0]);
        assert!(weights[2] < 1.0 && weights[3] < weights[2] && weights[5] > weights[4], "{weights:?}");
    }

    #[test]
    fn a_word_of_like_meaning_is_taken_for_the_targets() {
        let cost = |i: usize, j: usize| if i == j { 0.2 } else { 1.0 };
        assert_eq!(align_prefixes(2, 3, cost)[2], PrefixMatch { own: 2, distance: 0.2 });
    }

    #[test]
    fn nothing_in_common_is_paired_by_position() {
        assert_eq!(own(&align_prefixes(3, 5, |_, _| 1.0)), [0, 1, 2, 3]);
        let last = align_prefixes(3, 5, |_, _| 1.0)[3];
        assert_eq!((last.distance, last.weight()), (1.0, (-2.0_f32).exp()));
    }

    #[test]
    fn empty_sides_are_aligned() {
        assert_eq!(align_prefixes(0, 0, |_, _| 1.0), [PrefixMatch::default()]);
        assert_eq!(align_prefixes(0, 3, |_, _| 1.0), [PrefixMatch::default()]);
        assert_eq!(own(&align_prefixes(2, 0, |_, _| 1.0)), [0, 0, 0]);
    }

    /// The edit distance by its definition.
    fn edit_distance(a: &[u8], b: &[u8]) -> f32 {
        let (Some((x, a_before)), Some((y, b_before))) = (a.split_last(), b.split_last()) else {
            return a.len().max(b.len()) as f32;
        };
        let substitute = edit_distance(a_before, b_before) + if x == y { 0.0 } else { 0.75 };
        substitute.min(edit_distance(a_before, b) + 1.0).min(edit_distance(a, b_before) + 1.0)
    }

    proptest! {
        #[test]
        fn alignments_are_monotone_and_tell_the_distance_of_their_prefixes(
            target in prop::collection::vec(0u8..4, 0..6), own in prop::collection::vec(0u8..4, 0..6),
        ) {
            let cost = |i: usize, j: usize| if target[i] == own[j] { 0.0 } else { 0.75 };
            let matches = align_prefixes(target.len(), own.len(), cost);
            prop_assert_eq!(matches.len(), target.len() + 1);
            prop_assert_eq!(matches[0], PrefixMatch::default());
            prop_assert!(matches.is_sorted_by_key(|matched| matched.own));
            for (i, matched) in matches.iter().enumerate() {
                prop_assert!(matched.own <= own.len() && (0.0..=1.0).contains(&matched.distance));
                let distance = edit_distance(&target[..i], &own[..matched.own]) / i.max(matched.own).max(1) as f32;
                prop_assert!((matched.distance - distance).abs() < 1e-5, "{:?} {}", matched, distance);
            }
            let best = (0..=own.len()).map(|j| edit_distance(&target, &own[..j])).fold(f32::INFINITY, f32::min);
            let last = matches[target.len()];
            prop_assert!((last.distance * target.len().max(last.own) as f32 - best).abs() < 1e-4);
        }

        #[test]
        fn a_target_that_the_model_wrote_is_paired_by_position_with_full_weight(
            words in prop::collection::vec(any::<u8>(), 0..20), more in 0usize..4,
        ) {
            let own = [words.clone(), vec![0; more]].concat();
            let matches = align_prefixes(words.len(), own.len(), |i, j| f32::from(u8::from(words[i] != own[j])));
            for (i, matched) in matches.iter().enumerate() {
                prop_assert_eq!((matched.own, matched.weight()), (i, 1.0));
            }
        }
    }
}
