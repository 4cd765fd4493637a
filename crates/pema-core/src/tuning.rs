//! Which mixture suits an adapter: several are tried on validation pairs, and the texts say which is best.
//!
//! In two rounds (successive halving, Jamieson and Talwalkar 2016): all mixtures write the texts of the first
//! quarter of the pairs, and the [`FINALISTS`] those of the others too.

use std::collections::VecDeque;

use crate::metrics::{MetricError, chrf};
use crate::schedule::{Mix, Mixing};

/// How two distributions become one, with the constant weights that are tried.
const TRIED: [(Mixing, &[f32]); 3] =
    [(Mixing::Arithmetic, &[0.2, 0.4]), (Mixing::Geometric, &[0.3, 0.5, 0.7, 0.9]), (Mixing::Contrast, &[0.3, 0.5, 0.7])];

/// Mixtures in the second round.
const FINALISTS: usize = 3;

/// Mixtures on trial. Whoever holds it writes [`next`](Self::next) and hands the text over, until there is none.
#[derive(Debug)]
pub struct Trials {
    targets: Vec<String>,
    mixtures: Vec<Mix>,
    /// Of each mixture, one for each of the first targets.
    texts: Vec<Vec<String>>,
    /// Of the mixtures in the last round that is whole, or, in the first, of those that have written theirs.
    scores: Vec<Option<f64>>,
    /// Of this round.
    coming: Vec<Option<f64>>,
    /// Mixtures that have yet to write in this round.
    queue: VecDeque<usize>,
    /// Texts that a mixture has at the end of this round.
    end: usize,
}

/// A mixture and how good its texts were.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    /// The mixture.
    pub mix: Mix,
    /// Texts.
    pub pairs: usize,
    /// Their corpus chrF.
    pub chrf: f64,
}

impl Trials {
    /// Those that fit an adapter, on pairs with these targets.
    pub fn new(has_contrast: bool, targets: Vec<String>) -> Self {
        let fitting = TRIED.into_iter().filter(|(mixing, _)| has_contrast || *mixing != Mixing::Contrast);
        let mixtures: Vec<Mix> =
            fitting.flat_map(|(mixing, lambdas)| lambdas.iter().map(move |&lambda| Mix { mixing, lambda })).collect();
        let (count, end) = (mixtures.len(), targets.len().div_ceil(4));
        let queue = if end == 0 { VecDeque::new() } else { (0..count).collect() };
        Self {
            targets,
            mixtures,
            texts: vec![Vec::new(); count],
            scores: vec![None; count],
            coming: vec![None; count],
            queue,
            end,
        }
    }

    /// What to write next: with which mixture, and for which pair.
    pub fn next(&self) -> Option<(Mix, usize)> {
        self.queue.front().map(|&mixture| (self.mixtures[mixture], self.texts[mixture].len()))
    }

    /// Takes the text of [`next`](Self::next); says how good its mixture was, where it was the round's last of it.
    ///
    /// # Errors
    /// [`MetricError`] when texts cannot be scored.
    pub fn push(&mut self, text: String) -> Result<Option<Tried>, MetricError> {
        let Some(&mixture) = self.queue.front() else { return Ok(None) };
        let texts = &mut self.texts[mixture];
        texts.push(text);
        if texts.len() < self.end {
            return Ok(None);
        }
        self.queue.pop_front();
        let chrf = chrf(texts, &self.targets[..self.end])?;
        let tried = Tried { mix: self.mixtures[mixture], pairs: texts.len(), chrf };
        self.coming[mixture] = Some(chrf);
        if self.is_first_round() {
            self.scores[mixture] = Some(chrf);
        }
        if self.queue.is_empty() {
            self.end_round();
        }
        Ok(Some(tried))
    }

    /// Texts written so far, and of how many.
    pub fn progress(&self) -> (usize, usize) {
        let first = self.targets.len().div_ceil(4);
        let finals = FINALISTS.min(self.mixtures.len()) * (self.targets.len() - first);
        (self.texts.iter().map(Vec::len).sum(), self.mixtures.len() * first + finals)
    }

    /// The best so far; none before a mixture has written all that it is to.
    pub fn best(&self) -> Option<Mix> {
        self.ranking().first().map(|&mixture| self.mixtures[mixture])
    }

    fn is_first_round(&self) -> bool {
        self.end == self.targets.len().div_ceil(4)
    }

    fn end_round(&mut self) {
        self.scores = std::mem::replace(&mut self.coming, vec![None; self.mixtures.len()]);
        if self.end < self.targets.len() {
            self.end = self.targets.len();
            self.queue = self.ranking().into_iter().take(FINALISTS).collect();
        }
    }

    /// Mixtures that have a score, the best first, equals in their order.
    fn ranking(&self) -> Vec<usize> {
        let mut scored: Vec<(usize, f64)> =
            self.scores.iter().enumerate().filter_map(|(i, score)| Some((i, (*score)?))).collect();
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        scored.into_iter().map(|(mixture, _)| mixture).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(count: usize) -> Vec<String> {
        (0..count).map(|pair| format!("what was wanted of pair {pair}")).collect()
    }

    /// Writes all texts, each mixture's rightly as far as `is_right` says.
    fn write(trials: &mut Trials, is_right: impl Fn(Mix, usize) -> bool) -> Vec<Tried> {
        let mut all = Vec::new();
        while let Some((mix, pair)) = trials.next() {
            let text = if is_right(mix, pair) { trials.targets[pair].clone() } else { "xyz".to_owned() };
            all.extend(trials.push(text).unwrap());
        }
        all
    }

    #[test]
    fn contrast_is_tried_where_there_is_contrast() {
        let count = |has_contrast| {
            let trials = Trials::new(has_contrast, targets(4));
            trials.mixtures.iter().filter(|mix| mix.mixing == Mixing::Contrast).count()
        };
        assert_eq!((count(false), count(true)), (0, 3));
    }

    #[test]
    fn the_best_of_the_first_round_write_the_other_texts_too() {
        let mut trials = Trials::new(true, targets(10));
        // Of the three that are right at first, one is right to the end.
        let best = Mix { mixing: Mixing::Geometric, lambda: 0.7 };
        let all =
            write(&mut trials, |mix, pair| mix == best || (mix.mixing == Mixing::Geometric && mix.lambda < 0.7 && pair < 3));
        assert_eq!(all.iter().map(|tried| tried.pairs).collect::<Vec<_>>(), [[3; 9].as_slice(), &[10; 3]].concat());
        assert_eq!(all.iter().map(|tried| tried.mix.mixing).skip(9).collect::<Vec<_>>(), [Mixing::Geometric; 3]);
        assert_eq!(trials.best(), Some(best));
        assert_eq!(trials.progress(), (9 * 3 + 3 * 7, 9 * 3 + 3 * 7));
    }

    #[test]
    fn whoever_stops_has_the_best_of_what_can_be_compared() {
        let mut trials = Trials::new(false, targets(8));
        assert_eq!(trials.best(), None);
        // The first mixture is wrong, the second right, the third unfinished.
        for text in ["xyz", "xyz", "what was wanted of pair 0", "what was wanted of pair 1", "what was wanted of pair 0"] {
            trials.push(text.to_owned()).unwrap();
        }
        let second = trials.mixtures[1];
        assert_eq!(trials.best(), Some(second));
        // In the second round, the first round's scores hold until it is over.
        while trials.is_first_round() {
            trials.push("xyz".to_owned()).unwrap();
        }
        while trials.next().is_some_and(|(mix, _)| mix == second) {
            trials.push("xyz".to_owned()).unwrap();
        }
        assert_eq!(trials.best(), Some(second));
    }

    #[test]
    fn one_pair_is_one_round_and_none_is_none() {
        let mut one = Trials::new(false, targets(1));
        assert_eq!(write(&mut one, |mix, _| mix.lambda == 0.9).len(), 6);
        assert_eq!(one.best().map(|mix| mix.lambda), Some(0.9));
        let none = Trials::new(true, Vec::new());
        assert!(none.next().is_none() && none.best().is_none());
    }
}
