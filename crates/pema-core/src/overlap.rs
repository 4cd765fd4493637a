//! How much of the targets texts say: the share of the targets' n-grams that is found in them.

use std::collections::HashSet;

use crate::align::Targets;
use crate::id::TokenId;

/// n of the sequences in [`Told`]: four tokens in a row are seldom the same by chance.
pub const SEQUENCE: usize = 4;

/// How much of the targets was told: shares of their single tokens and of their sequences.
#[derive(Clone, Debug)]
pub struct Told<'t> {
    tokens: Overlap<'t>,
    sequences: Overlap<'t>,
}

impl<'t> Told<'t> {
    /// Nothing yet.
    pub fn nothing(targets: &'t Targets) -> Self {
        Self { tokens: Overlap::new(targets, 1), sequences: Overlap::new(targets, SEQUENCE) }
    }

    /// A prompt's text got longer by its last token.
    pub fn hear(&mut self, prompt: u32, text: &[TokenId]) {
        self.tokens.hear(prompt, text);
        self.sequences.hear(prompt, text);
    }

    /// The share of the targets' different tokens, in `[0, 1]`.
    pub fn tokens(&self) -> f64 {
        self.tokens.share()
    }

    /// The share of their different sequences of [`SEQUENCE`] tokens, in `[0, 1]`.
    pub fn sequences(&self) -> f64 {
        self.sequences.share()
    }
}

/// Counts n-grams of targets as texts say them, token by token.
///
/// Every different n-gram of a target counts once, in the text of its own prompt alone. A target
/// shorter than `n` is one n-gram; EOS is none.
#[derive(Clone, Debug)]
struct Overlap<'t> {
    targets: &'t Targets,
    n: usize,
    /// Prompt and first place of each n-gram that was said.
    said: HashSet<(u32, usize)>,
    total: usize,
}

impl<'t> Overlap<'t> {
    /// Nothing is said yet. `n` is at least 1.
    fn new(targets: &'t Targets, n: usize) -> Self {
        let prompts = 0..targets.prompts() as u32;
        let different = |prompt| grams(targets, prompt, n).collect::<HashSet<_>>().len();
        Self { targets, n, said: HashSet::new(), total: prompts.map(different).sum() }
    }

    /// A prompt's text got longer by its last token.
    fn hear(&mut self, prompt: u32, text: &[TokenId]) {
        let mut grams = grams(self.targets, prompt, self.n);
        if let Some(place) = grams.position(|gram| text.ends_with(gram)) {
            self.said.insert((prompt, place));
        }
    }

    /// The share that was said, in `[0, 1]`.
    fn share(&self) -> f64 {
        self.said.len() as f64 / self.total.max(1) as f64
    }
}

/// The n-grams of a target, as often as they occur.
fn grams(targets: &Targets, prompt: u32, n: usize) -> impl Iterator<Item = &[TokenId]> {
    let words = targets.of(prompt).and_then(|target| target.split_last()).map_or(&[][..], |(_, words)| words);
    words.windows(n.min(words.len()).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EOS: TokenId = TokenId(0);

    fn tokens(ids: &[u32]) -> Vec<TokenId> {
        ids.iter().copied().map(TokenId).collect()
    }

    fn targets() -> Targets {
        let of = |ids: &[u32]| [tokens(ids), vec![EOS]].concat();
        Targets::new(vec![of(&[1, 2, 1, 2, 1, 3]), of(&[7]), of(&[])], EOS).unwrap()
    }

    /// The share of n-grams in texts that are written token by token.
    fn share(n: usize, texts: &[&[u32]]) -> f64 {
        let targets = targets();
        let mut overlap = Overlap::new(&targets, n);
        for (prompt, text) in (0..).zip(texts) {
            let text = tokens(text);
            (1..=text.len()).for_each(|len| overlap.hear(prompt, &text[..len]));
        }
        overlap.share()
    }

    #[test]
    fn different_words_count_once() {
        assert_eq!(share(1, &[&[1, 1, 1, 9], &[8], &[]]), 1.0 / 4.0);
        assert_eq!(share(1, &[&[3, 2, 1], &[8, 7], &[1]]), 1.0);
    }

    #[test]
    fn words_count_in_their_own_order_and_text() {
        // 12 and 21 twice, 13 once; the one word of the second target is its only n-gram.
        assert_eq!(share(2, &[&[1, 2, 2, 1], &[], &[]]), 2.0 / 4.0);
        assert_eq!(share(2, &[&[3, 1, 9], &[1, 2, 1, 3]]), 0.0);
        assert_eq!(share(2, &[&[], &[9, 7]]), 1.0 / 4.0);
        assert_eq!(share(4, &[&[0, 1, 2, 1, 2, 0], &[]]), 1.0 / 4.0);
    }

    #[test]
    fn what_was_told_has_tokens_and_sequences() {
        let targets = targets();
        let mut told = Told::nothing(&targets);
        let text = tokens(&[1, 2, 1, 2, 7]);
        (1..=text.len()).for_each(|len| told.hear(0, &text[..len]));
        assert_eq!((told.tokens(), told.sequences()), (2.0 / 4.0, 1.0 / 4.0));
    }

    #[test]
    fn targets_without_words_cannot_be_said() {
        let targets = Targets::new(vec![vec![EOS]], EOS).unwrap();
        let mut overlap = Overlap::new(&targets, 4);
        overlap.hear(0, &tokens(&[1]));
        assert_eq!(overlap.share(), 0.0);
    }
}
