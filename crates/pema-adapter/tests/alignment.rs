//! Pairing by alignment: target tokens meet the contexts after the same words, and count less the
//! less those agree.

mod common;

use std::sync::Arc;

use burn::tensor::Device;
use common::{block_on, head_file, model, noise, small_config, tensor, train, values};
use half::f16;
use pema_adapter::{
    Activation, Activity, AdapterConfig, Batch, Checkpoint, CheckpointError, ConfigError, Encoder, Head, HostRows, Memory,
    MemoryBuilder, MemoryError, Objective, Phase, TrainError, Trainer, Weights,
};
use pema_core::align::{Contexts, Pairing, Targets};
use pema_core::id::TokenId;
use pema_core::memory::Shard;
use pema_core::prepare::Prepared;
use pema_core::wire::PromptSpec;

const V: usize = 12;
const D: usize = 12;
const PAIRS: u32 = 20;
const VALIDATION_FROM: u32 = 16;
const STEPS: u32 = 10;
const EOS: TokenId = TokenId(0);

/// Tokens that are like themselves alone.
fn head() -> Head {
    let identity: Vec<f32> = (0..V * D).map(|at| if at / D == at % D { 1.0 } else { 0.0 }).collect();
    Head::from_safetensors(&head_file(&identity, V, D), 1.0, None, &Device::flex()).unwrap()
}

/// Targets of four words that count up, the first of them told by nothing.
fn target(pair: u32) -> Vec<TokenId> {
    let first = pair * 7 % 5;
    (first..first + 4).map(|word| TokenId(1 + word)).chain([EOS]).collect()
}

/// Words that the model puts before the target's.
fn preamble(pair: u32) -> u32 {
    pair % 4
}

/// What the model writes: words of its own, the target's, then others.
fn own(pair: u32) -> Vec<TokenId> {
    let said = target(pair);
    let words = vec![TokenId(10); preamble(pair) as usize].into_iter().chain(said[..4].to_vec());
    words.chain(vec![TokenId(11); STEPS as usize]).take(STEPS as usize).collect()
}

/// A context tells the last word before it, and the pair.
fn row(pair: u32, step: u32) -> Vec<f16> {
    let last = step.checked_sub(1).map_or(99, |last| own(pair)[last as usize].0);
    let told = noise(D, 1.0, u64::from(last) + 7);
    told.into_iter().zip(noise(D, 0.1, u64::from(pair) + 200)).map(|(a, b)| f16::from_f32(a + b)).collect()
}

fn pairs() -> Prepared {
    let prompts = (0..PAIRS).map(|_| PromptSpec { tokens: vec![TokenId(11)], steps: STEPS }).collect();
    let targets = Targets::new((0..PAIRS).map(target).collect(), EOS).unwrap();
    Prepared { prompts, targets, source_lens: vec![1; PAIRS as usize] }
}

fn shard(prompts: std::ops::Range<u32>) -> Shard {
    let places = || prompts.clone().flat_map(|pair| (0..STEPS).map(move |step| (pair, step)));
    Shard {
        h: places().flat_map(|(pair, step)| row(pair, step)).collect(),
        hidden_size: D,
        prompt: places().map(|(pair, _)| pair).collect(),
        step: places().map(|(_, step)| step).collect(),
        token: places().map(|(pair, step)| own(pair)[step as usize]).collect(),
    }
}

/// The memory paired by position.
fn memory(keeps_runs: bool) -> Memory<Arc<HostRows>> {
    let pairs = pairs();
    let builder = MemoryBuilder::new(&pairs, Contexts::Steps, D, VALIDATION_FROM);
    let mut builder = if keeps_runs { builder.keep_runs() } else { builder };
    // Shards may come in any order.
    builder.add(1, &shard(9..PAIRS)).unwrap();
    builder.add(0, &shard(0..9)).unwrap();
    builder.finish().unwrap()
}

fn aligned() -> Memory<Arc<HostRows>> {
    block_on(memory(true).pair(Pairing::Alignment, &head())).unwrap()
}

fn config(pairing: Pairing) -> AdapterConfig {
    AdapterConfig { pairing, rank: 8, alpha: 8.0, lr: 1e-2, prediction_epochs: 30, patience: 50, ..small_config() }
}

fn trainer(config: AdapterConfig, memory: Memory<Arc<HostRows>>) -> Trainer<Arc<HostRows>> {
    block_on(Trainer::new(config, memory, head(), model(), Device::flex())).unwrap()
}

#[test]
fn target_tokens_meet_the_contexts_after_the_same_words() {
    let memory = aligned();
    assert_eq!(memory.pairing(), Pairing::Alignment);
    let (h, y) = memory.training_rows().unwrap();
    let in_order = || (9..VALIDATION_FROM).chain(0..9);
    assert_eq!(y, in_order().flat_map(target).collect::<Vec<_>>());
    // The empty prefix is that of the prompt; the others come after the preamble.
    let step = |pair: u32, i: u32| if i == 0 { 0 } else { i + preamble(pair) };
    let expected = in_order().flat_map(|pair| (0..5).flat_map(move |i| row(pair, step(pair, i)))).map(f16::to_f32);
    assert_eq!(h, expected.collect::<Vec<f32>>());
}

#[test]
fn alignment_teaches_what_position_does_not() {
    let best = |pairing, memory| {
        let mut trainer = trainer(config(pairing), memory);
        train(&mut trainer)
            .iter()
            .filter_map(|p| p.validation.filter(|_| p.phase == Phase::Prediction))
            .map(|v| v.l_pd.unwrap())
            .fold(f32::INFINITY, f32::min)
    };
    let (by_position, by_alignment) = (best(Pairing::Position, memory(false)), best(Pairing::Alignment, aligned()));
    assert!(by_alignment < 0.7 * by_position, "{by_alignment} by alignment, {by_position} by position");
}

#[test]
fn rows_that_are_kept_for_alignment_change_nothing_by_position() {
    assert_eq!(memory(true).fingerprint(), memory(false).fingerprint());
    assert_ne!(aligned().fingerprint(), memory(false).fingerprint());
    let file = |memory| {
        let mut trainer = trainer(AdapterConfig { prediction_epochs: 2, ..config(Pairing::Position) }, memory);
        train(&mut trainer);
        block_on(trainer.adapter().unwrap().export("x")).unwrap()
    };
    assert!(file(memory(true)) == file(memory(false)));
}

#[test]
fn losses_are_weighted_in_training_and_not_in_validation() {
    // At the start B_rct is 0, so that a row's loss is its mean square; such steps leave it there.
    let config =
        AdapterConfig { lr: 1e-20, dropout: 0.0, validate_every: 1, reconstruction_batch: 200, ..config(Pairing::Alignment) };
    let squares = |pairs: std::ops::Range<u32>| -> Vec<(f32, f32)> {
        let of_pair = |pair: u32| {
            (0..5).map(move |i| {
                let k = preamble(pair);
                let h = row(pair, if i == 0 { 0 } else { i + k });
                let square = h.iter().map(|x| x.to_f32().powi(2)).sum::<f32>() / D as f32;
                let distance = if i == 0 { 0.0 } else { k as f32 / (i + k) as f32 };
                (square, (-2.0 * distance).exp())
            })
        };
        pairs.flat_map(of_pair).collect()
    };
    let weighted = |all: &[(f32, f32)]| all.iter().map(|(x, w)| x * w).sum::<f32>() / all.iter().map(|(_, w)| w).sum::<f32>();
    let plain = |all: &[(f32, f32)]| all.iter().map(|(x, _)| x).sum::<f32>() / all.len() as f32;
    let (learned, validated) = (squares(0..VALIDATION_FROM), squares(VALIDATION_FROM..PAIRS));
    assert!((weighted(&learned) - plain(&learned)).abs() > 1e-3 && (weighted(&validated) - plain(&validated)).abs() > 1e-3);

    let mut trainer = trainer(config, aligned());
    let step = block_on(trainer.step()).unwrap();
    assert!((step.loss - weighted(&learned)).abs() < 1e-5, "{step:?} {}", weighted(&learned));
    let validation = loop {
        if let Some(validation) = block_on(trainer.step()).unwrap().validation {
            break validation;
        }
    };
    assert!((validation.loss - plain(&validated)).abs() < 1e-5, "{validation:?} {}", plain(&validated));
}

#[test]
fn a_row_without_weight_gives_no_loss_and_no_gradient() {
    let (r, kappa) = (4, 0.3);
    let encoder = Encoder { scale: 1.0, activation: Activation::Linear, residual: false };
    let objective = Objective::Prediction { encoder, kappa, b_rct: Some(tensor(&noise(r * D, 0.5, 1), [r, D])), head: head() };
    let weights = Weights::new(tensor(&noise(D * r, 0.5, 2), [D, r]), tensor(&noise(r * D, 0.5, 3), [r, D]));
    let h = noise(2 * D, 1.0, 4);
    let batch = |rows: usize, weights: Option<&[f32]>| {
        let h = tensor(&h[..rows * D], [rows, D]);
        let weights = weights.map(|weights| tensor(weights, [rows, 1]));
        Batch { weights, ..Batch::new(h, vec![TokenId(3), TokenId(5)][..rows].to_vec()) }
    };
    let of = |batch: Batch| {
        let (losses, gradients) = block_on(objective.gradients(&batch, &weights)).unwrap();
        let all = [vec![losses.loss, losses.l_rct.unwrap(), losses.l_pd.unwrap()], values(gradients.a), values(gradients.b)];
        all.concat()
    };
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    let (alone, both) = (of(batch(1, None)), of(batch(2, None)));
    assert!(close(&of(batch(2, Some(&[1.0, 0.0]))), &alone));
    assert!(close(&of(batch(2, Some(&[0.5, 0.5]))), &both));
    assert!(!close(&alone, &both));
}

#[test]
fn training_resumes_bit_for_bit() {
    // 5 steps are inside phase 1, 25 inside phase 2.
    let config = AdapterConfig { prediction_epochs: 4, ..config(Pairing::Alignment) };
    for steps in [5, 25] {
        let mut whole = trainer(config.clone(), aligned());
        assert!(train(&mut whole).iter().filter(|p| p.activity == Activity::Training).count() > 25);
        let mut begun = trainer(config.clone(), aligned());
        for _ in 0..steps {
            block_on(begun.step()).unwrap();
        }
        let saved = block_on(begun.checkpoint()).unwrap().into_bytes();
        let resume = |memory| block_on(Trainer::resume(&Checkpoint::from_bytes(saved.clone()), memory, head(), Device::flex()));
        let mut resumed = resume(aligned()).unwrap();
        train(&mut resumed);
        let file = |trainer: &Trainer<_>| block_on(trainer.adapter().unwrap().export("x")).unwrap();
        assert!(file(&whole) == file(&resumed), "{steps} steps");
        let other = TrainError::OtherPairing { asked: Pairing::Alignment, held: Pairing::Position };
        assert_eq!(resume(memory(true)).unwrap_err(), CheckpointError::Train(other));
    }
}

#[test]
fn what_cannot_be_aligned_is_refused() {
    assert_eq!(block_on(memory(false).pair(Pairing::Alignment, &head())).unwrap_err(), MemoryError::NoRuns);
    let pairs = pairs();
    let mut builder = MemoryBuilder::new(&pairs, Contexts::Prompt, D, VALIDATION_FROM).keep_runs();
    let of_prompts = Shard {
        h: (0..PAIRS).flat_map(|pair| row(pair, 0)).collect(),
        hidden_size: D,
        prompt: (0..PAIRS).collect(),
        step: vec![0; PAIRS as usize],
        token: vec![EOS; PAIRS as usize],
    };
    builder.add(0, &of_prompts).unwrap();
    assert_eq!(block_on(builder.finish().unwrap().pair(Pairing::Alignment, &head())).unwrap_err(), MemoryError::NoRuns);

    let config = config(Pairing::Alignment);
    let prompt = AdapterConfig { contexts: Contexts::Prompt, ..config.clone() };
    assert_eq!(prompt.validate(), Err(ConfigError::NothingToAlign));
    let refused = block_on(Trainer::new(config, memory(true), head(), model(), Device::flex())).unwrap_err();
    assert_eq!(refused, TrainError::OtherPairing { asked: Pairing::Alignment, held: Pairing::Position });
}

#[test]
fn settings_of_before_there_was_a_choice_pair_by_position() {
    let config: AdapterConfig = serde_json::from_str(r#"{"rank": 4}"#).unwrap();
    assert_eq!(config.pairing, Pairing::Position);
    let config: AdapterConfig = serde_json::from_str(r#"{"pairing": "alignment"}"#).unwrap();
    assert_eq!(config.pairing, Pairing::Alignment);
}
