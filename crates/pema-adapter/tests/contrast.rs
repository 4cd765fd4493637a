//! Contrast: an adapter first learns the model's own words, and counts as far as the targets change it.

mod common;

use std::sync::Arc;

use burn::tensor::Device;
use common::{block_on, head, model, noise, small_config, train};
use half::f16;
use pema_adapter::{
    Activation, Activity, Adapter, AdapterConfig, Checkpoint, ConfigError, Distributions, Head, Hidden, HostRows, Memory,
    MemoryBuilder, Mixer, NotMixed, Phase, Progress, TrainError, Trainer, Vocabulary,
};
use pema_core::align::{Contexts, Pairing, Targets};
use pema_core::id::TokenId;
use pema_core::memory::Shard;
use pema_core::prepare::Prepared;
use pema_core::schedule::{GradualUnrolling, Mix, Mixing, Schedule};
use pema_core::wire::PromptSpec;

const V: usize = 21;
const D: usize = 8;
const PAIRS: u32 = 12;
const VALIDATION_FROM: u32 = 10;
const STEPS: u32 = 5;

fn lm_head() -> Head {
    head(V, D, 1.0, None)
}

/// Targets count up, and what the model writes counts down.
fn word(pair: u32, step: u32, is_own: bool) -> TokenId {
    let first = 1 + pair % 5;
    TokenId(if is_own { V as u32 - first - step } else { first + step })
}

fn prompt(pair: u32) -> Vec<TokenId> {
    (0..4).map(|at| TokenId(1 + (pair + 3 * at) % 20)).collect()
}

fn h(pair: u32, step: u32) -> Vec<f16> {
    noise(D, 1.0, u64::from(1 + pair * STEPS + step)).into_iter().map(f16::from_f32).collect()
}

fn memory(keeps_runs: bool) -> Memory<Arc<HostRows>> {
    let target = |pair| (0..STEPS - 1).map(|step| word(pair, step, false)).chain([TokenId(0)]).collect();
    let pairs = Prepared {
        prompts: (0..PAIRS).map(|pair| PromptSpec { tokens: prompt(pair), steps: STEPS }).collect(),
        targets: Targets::new((0..PAIRS).map(target).collect(), TokenId(0)).unwrap(),
        source_lens: vec![4; PAIRS as usize],
    };
    let places = || (0..PAIRS).flat_map(|pair| (0..STEPS).map(move |step| (pair, step)));
    let shard = Shard {
        h: places().flat_map(|(pair, step)| h(pair, step)).collect(),
        hidden_size: D,
        prompt: places().map(|(pair, _)| pair).collect(),
        step: places().map(|(_, step)| step).collect(),
        token: places().map(|(pair, step)| word(pair, step, true)).collect(),
    };
    let builder = MemoryBuilder::new(&pairs, Contexts::Steps, D, VALIDATION_FROM);
    let mut builder = if keeps_runs { builder.keep_runs() } else { builder };
    builder.add(0, &shard).unwrap();
    builder.finish().unwrap()
}

fn config() -> AdapterConfig {
    AdapterConfig {
        rank: 8,
        alpha: 8.0,
        lr: 1e-2,
        kappa: 0.0,
        prefix: 2,
        activation: Activation::Silu,
        recall: true,
        copy: true,
        vocabulary: Vocabulary::Met { top_k: 1 },
        contrast: true,
        prediction_epochs: 10,
        patience: 50,
        ..small_config()
    }
}

fn trainer() -> Trainer<Arc<HostRows>> {
    block_on(Trainer::new(config(), memory(true), lm_head(), model(), Device::flex())).unwrap()
}

/// Steps until the phase of the targets begins.
fn imitate(trainer: &mut Trainer<Arc<HostRows>>) {
    while trainer.adapter().is_none() {
        assert_eq!(block_on(trainer.step()).unwrap().phase, Phase::Imitation);
    }
}

/// What there is before the target token of a step.
fn distributions(adapter: Adapter, pair: u32, step: u32, mix: Mix) -> Distributions {
    let mixer = Mixer::new(lm_head(), Some(adapter), Device::flex());
    let (first, current, prompt) = (h(pair, 0), h(pair, step), prompt(pair));
    let written: Vec<TokenId> = (0..step).map(|step| word(pair, step, false)).collect();
    block_on(mixer.distributions(Hidden { prompt: &first, current: &current }, &prompt, &written, mix)).unwrap()
}

const EVEN: Mix = Mix { mixing: Mixing::Contrast, lambda: 0.5 };

#[test]
fn the_models_words_come_first_and_the_targets_after() {
    let mut trainer = trainer();
    let phases: Vec<Phase> = train(&mut trainer).into_iter().map(|progress| progress.phase).collect();
    let at = phases.iter().position(|phase| *phase == Phase::Prediction).unwrap();
    assert!(at > 0 && phases[..at].iter().all(|phase| *phase == Phase::Imitation), "{phases:?}");
    assert!(phases[at..].iter().all(|phase| *phase == Phase::Prediction), "{phases:?}");
}

#[test]
fn an_adapter_that_has_seen_no_target_leaves_the_model_as_it_is() {
    let mut trainer = trainer();
    imitate(&mut trainer);
    let Distributions { pema, plm, mixture, .. } = distributions(trainer.adapter().unwrap(), 3, 2, EVEN);
    let plm = plm.unwrap();
    for other in [pema.unwrap(), mixture] {
        for (found, expected) in other.iter().zip(&plm) {
            assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
        }
    }
}

#[test]
fn targets_become_likelier_than_the_model_has_them() {
    let mut trainer = trainer();
    train(&mut trainer);
    let adapter = trainer.adapter().unwrap();
    let mut gain = 0.0;
    for (pair, step) in (0..VALIDATION_FROM).flat_map(|pair| (0..STEPS - 1).map(move |step| (pair, step))) {
        let found = distributions(adapter.clone(), pair, step, EVEN);
        let [_, plm, mixture] = found.of(word(pair, step, false));
        gain += mixture.ln() - plm.ln();
        let mass: f32 = found.mixture.iter().map(|log_p| log_p.exp()).sum();
        assert!((mass - 1.0).abs() < 1e-4, "{mass}");
    }
    assert!(gain > 10.0, "{gain}");
}

#[test]
fn without_contrast_it_is_an_adapter_like_others() {
    let mut trainer = trainer();
    imitate(&mut trainer);
    train(&mut trainer);
    let mixes = [EVEN, Mix { mixing: Mixing::Geometric, ..EVEN }, Mix::ADAPTER];
    let of = mixes.map(|mix| distributions(trainer.adapter().unwrap(), 3, 2, mix));
    let [contrasted, geometric, alone] = of.map(|of| of.pema.unwrap());
    assert_eq!(geometric, alone);
    assert_ne!(contrasted, alone);
}

#[test]
fn contrast_is_refused_where_there_is_none() {
    let config = AdapterConfig { contrast: false, ..config() };
    let mut trainer = block_on(Trainer::new(config, memory(true), lm_head(), model(), Device::flex())).unwrap();
    train(&mut trainer);
    let mixer = |adapter| Mixer::new(lm_head(), adapter, Device::flex());
    let asked = GradualUnrolling::new(Schedule::Constant, 0.5, 4).unwrap().with_mixing(Mixing::Contrast);
    let without = mixer(trainer.adapter());
    assert!(!without.has_contrast());
    assert_eq!(without.weighing(&asked, 0).unwrap_err(), NotMixed::NoContrast);
    // The PLM alone is mixed with nothing.
    assert!(mixer(None).weighing(&asked, 0).is_ok());
}

#[test]
fn an_adapter_comes_back_from_its_file_as_it_was() {
    let mut trainer = trainer();
    train(&mut trainer);
    let adapter = trainer.adapter().unwrap();
    let file = block_on(adapter.export("contrast")).unwrap();
    let (_, read) = Adapter::import(&file, lm_head().hash(), &Device::flex()).unwrap();
    assert_eq!(read.parameters(), adapter.parameters());
    assert_eq!(distributions(read, 1, 3, EVEN), distributions(adapter, 1, 3, EVEN));
}

#[test]
fn training_goes_on_from_a_checkpoint_in_either_phase() {
    let mut whole = trainer();
    let all = train(&mut whole);
    let expected = distributions(whole.adapter().unwrap(), 2, 2, EVEN);
    let at = all.iter().position(|progress| progress.phase == Phase::Prediction).unwrap();
    for stop in [3, at, at + 5] {
        let mut first = trainer();
        for _ in 0..stop {
            block_on(first.step()).unwrap();
        }
        let checkpoint = Checkpoint::from_bytes(block_on(first.checkpoint()).unwrap().into_bytes());
        let resumed = Trainer::resume(&checkpoint, memory(true), lm_head(), Device::flex());
        let mut resumed = block_on(resumed).unwrap();
        train(&mut resumed);
        assert_eq!(resumed.history(), whole.history(), "stopped after {stop} steps");
        assert_eq!(distributions(resumed.adapter().unwrap(), 2, 2, EVEN), expected, "stopped after {stop} steps");
    }
}

#[test]
fn an_aligned_memory_teaches_the_words_of_its_contexts() {
    let config = AdapterConfig { pairing: Pairing::Alignment, ..config() };
    let aligned = block_on(memory(true).pair(Pairing::Alignment, &lm_head())).unwrap();
    let mut trainer = block_on(Trainer::new(config, aligned, lm_head(), model(), Device::flex())).unwrap();
    imitate(&mut trainer);
    let Distributions { pema, plm, .. } = distributions(trainer.adapter().unwrap(), 3, 2, EVEN);
    assert!(pema.unwrap().iter().zip(plm.unwrap()).all(|(a, b)| (a - b).abs() < 1e-4));
    train(&mut trainer);
}

#[test]
fn with_the_prompts_context_alone_the_models_words_are_learned_too() {
    let config = AdapterConfig { pairing: Pairing::Prompt, ..config() };
    let paired = block_on(memory(true).pair(Pairing::Prompt, &lm_head())).unwrap();
    let mut trainer = block_on(Trainer::new(config, paired, lm_head(), model(), Device::flex())).unwrap();
    let losses = |phase, progress: &[Progress]| -> Vec<f32> {
        let of_phase = |p: &&Progress| p.phase == phase && p.activity == Activity::Training;
        progress.iter().filter(of_phase).map(|p| p.loss).collect()
    };
    let progress = train(&mut trainer);
    for phase in [Phase::Imitation, Phase::Prediction] {
        let losses = losses(phase, &progress);
        assert!(losses.last().unwrap() < &(0.7 * losses[0]), "{phase:?}: {losses:?}");
    }
}

#[test]
fn what_it_cannot_do_is_refused() {
    let start =
        |config, memory| block_on(Trainer::new(config, memory, lm_head(), model(), Device::flex())).map(|_| ()).unwrap_err();
    assert_eq!(start(config(), memory(false)), TrainError::NothingToImitate);
    let with_kappa = AdapterConfig { kappa: 0.2, ..config() };
    assert_eq!(start(with_kappa, memory(true)), ConfigError::ContrastAndReconstruction.into());
    let of_prompts = AdapterConfig { contexts: Contexts::Prompt, ..config() };
    assert_eq!(start(of_prompts, memory(true)), ConfigError::NothingToImitate.into());
}
