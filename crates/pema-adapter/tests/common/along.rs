//! Texts whose distributions are computed all at once.

use half::f16;
use pema_adapter::{Distributions, Hidden, Mixer};
use pema_core::id::TokenId;
use pema_core::schedule::GradualUnrolling;

use super::{block_on, noise};

/// Asserts that a text of 40 of `v` tokens, more than are computed at once, has the distributions that
/// its tokens have one by one, after a prompt with hidden states `[rows, d]`.
pub fn assert_as_one_by_one(mixer: &Mixer, [v, d]: [usize; 2], states: &[f16], prompt: &[TokenId], unrolling: &GradualUnrolling) {
    let text: Vec<TokenId> = (0..40).map(|t| TokenId((t * 7 + t * t) % v as u32)).collect();
    let current: Vec<f16> = noise(text.len() * d, 1.0, 17).into_iter().map(f16::from_f32).collect();
    let weighings: Vec<_> = (0..text.len()).map(|t| mixer.weighing(unrolling, t).unwrap()).collect();
    let mut at_once = Vec::new();
    let hidden = Hidden { prompt: states, current: &current };
    block_on(mixer.along(hidden, prompt, &text, &weighings, |next| at_once.push(next))).unwrap();
    assert_eq!(at_once.len(), text.len());

    for (t, at_once) in at_once.iter().enumerate() {
        let hidden = Hidden { prompt: states, current: &current[t * d..][..d] };
        let alone = block_on(mixer.distributions(hidden, prompt, &text[..t], weighings[t])).unwrap();
        assert!((at_once.lambda - alone.lambda).abs() < 1e-5, "token {t}: {} {}", at_once.lambda, alone.lambda);
        let probabilities = |next: &Distributions| (0..v as u32).flat_map(|token| next.of(TokenId(token))).collect::<Vec<_>>();
        for (a, b) in probabilities(at_once).iter().zip(probabilities(&alone)) {
            assert!((a - b).abs() < 1e-5, "token {t}: {a} {b}");
        }
    }
}
