//! Contexts along the mixture's own words: rehearsed without telling anyone, made within what may be
//! told, and learned from like any others.

mod common;

use std::sync::Arc;

use burn::tensor::Device;
use common::failure::Failure;
use common::{block_on, head, model, noise, small_config, train};
use half::f16;
use pema_adapter::{
    AdapterConfig, ContextStream, HostRows, Memory, MemoryBuilder, Mixer, Regeneration, RehearsalError, Trainer, Who,
};
use pema_core::align::{Contexts, Pairing, Targets};
use pema_core::id::TokenId;
use pema_core::memory::{Shard, ShardBuilder};
use pema_core::overlap::Told;
use pema_core::prepare::Prepared;
use pema_core::schedule::{GradualUnrolling, Schedule};
use pema_core::wire::frame::{FrameLogits, StepFrame};
use pema_core::wire::{PromptSpec, PromptStates};

const V: usize = 12;
const D: usize = 8;
const PAIRS: u32 = 20;
const VALIDATION_FROM: u32 = 16;
const STEPS: u32 = 8;
const EOS: TokenId = TokenId(0);

/// Five tokens that count up from where the contexts tell.
fn target(pair: u32) -> Vec<TokenId> {
    (0..5).map(|i| TokenId(1 + 2 * (pair % 3) + i)).chain([EOS]).collect()
}

fn row(pair: u32) -> Vec<f16> {
    noise(D, 1.0, u64::from(pair % 3) + 7).into_iter().map(f16::from_f32).collect()
}

fn pairs() -> Prepared {
    let prompts = (0..PAIRS).map(|_| PromptSpec { tokens: vec![TokenId(11)], steps: STEPS }).collect();
    let targets = Targets::new((0..PAIRS).map(target).collect(), EOS).unwrap();
    Prepared { prompts, targets, source_lens: vec![1; PAIRS as usize] }
}

fn shard(steps: u32) -> Shard {
    let places = || (0..PAIRS).flat_map(|pair| (0..steps).map(move |step| (pair, step)));
    Shard {
        h: places().flat_map(|(pair, _)| row(pair)).collect(),
        hidden_size: D,
        prompt: places().map(|(pair, _)| pair).collect(),
        step: places().map(|(_, step)| step).collect(),
        token: vec![EOS; (PAIRS * steps) as usize],
    }
}

fn memory(pairs: &Prepared, contexts: Contexts, shard: &Shard) -> Memory<Arc<HostRows>> {
    let mut builder = MemoryBuilder::new(pairs, contexts, D, VALIDATION_FROM).keep_runs();
    builder.add(0, shard).unwrap();
    builder.finish().unwrap()
}

fn trainer(config: AdapterConfig, memory: Memory<Arc<HostRows>>) -> Trainer<Arc<HostRows>> {
    block_on(Trainer::new(config, memory, head(V, D, 1.0, None), model(), Device::flex())).unwrap()
}

/// With an adapter that has learned the targets by heart.
fn mixer(contexts: Contexts) -> Mixer {
    let steps = if contexts == Contexts::Steps { STEPS } else { 1 };
    let config = AdapterConfig {
        contexts,
        prefix: 2,
        rank: 8,
        alpha: 8.0,
        lr: 1e-2,
        kappa: 0.0,
        prediction_epochs: 60,
        patience: 50,
        ..small_config()
    };
    let mut trainer = trainer(config, memory(&pairs(), contexts, &shard(steps)));
    train(&mut trainer);
    Mixer::new(head(V, D, 1.0, None), trainer.adapter(), Device::flex())
}

fn unrollings(lambda: f32) -> Vec<GradualUnrolling> {
    vec![GradualUnrolling::new(Schedule::Constant, lambda, 1).unwrap(); PAIRS as usize]
}

fn regeneration<'a>(mixer: &'a Mixer, pairs: &'a Prepared, unrollings: &'a [GradualUnrolling]) -> Regeneration<'a> {
    Regeneration { mixer, pairs, unrollings, no_repeat: 0, endings: &[EOS] }
}

/// A PLM that notes what it is told.
#[derive(Default)]
struct Owner {
    pair: u32,
    told: Vec<TokenId>,
}

impl Owner {
    fn frame(&self) -> StepFrame {
        // Its last entry tells how much was said.
        let mut h = row(self.pair);
        h[D - 1] = f16::from_f32(self.told.len() as f32);
        StepFrame { step: self.told.len() as u32, greedy: EOS, h, earlier: Vec::new(), logits: FrameLogits::None }
    }
}

impl ContextStream for Owner {
    type Error = Failure;

    async fn start(&mut self, _prompt: &[TokenId], _states: PromptStates) -> Result<StepFrame, Failure> {
        self.told.clear();
        Ok(self.frame())
    }

    async fn push(&mut self, token: TokenId) -> Result<StepFrame, Failure> {
        self.told.push(token);
        Ok(self.frame())
    }
}

#[test]
fn a_rehearsal_hears_what_an_adapter_has_learned_by_heart() {
    let pairs = pairs();
    let share = |mixer: &Mixer, lambda: f32, who: Who, steps: u32| {
        let (unrollings, mut told) = (unrollings(lambda), Told::nothing(&pairs.targets));
        let (regeneration, shard) = (regeneration(mixer, &pairs, &unrollings), shard(steps));
        for (prompt, rows) in shard.prompt_rows() {
            block_on(regeneration.rehearse(who, prompt, &shard, rows, &mut told)).unwrap();
        }
        (told.sequences(), told.tokens())
    };
    let of_steps = mixer(Contexts::Steps);
    let (alone, mixed) = (share(&of_steps, 0.0, Who::Adapter, STEPS), share(&of_steps, 0.0, Who::Mixture, STEPS));
    assert!(alone.0 > 0.9 && alone.1 > 0.9, "{alone:?}");
    assert!(mixed.0 < 0.1, "{mixed:?} of the PLM alone");
    let of_prompts = share(&mixer(Contexts::Prompt), 0.5, Who::Adapter, 1);
    assert!(of_prompts.0 > 0.9, "{of_prompts:?}");
}

#[test]
fn a_rehearsal_on_a_memory_of_other_pairs_is_refused() {
    let (pairs, mixer, unrollings) = (pairs(), Mixer::new(head(V, D, 1.0, None), None, Device::flex()), unrollings(0.5));
    let mut told = Told::nothing(&pairs.targets);
    let fewer = regeneration(&mixer, &pairs, &unrollings[..5]);
    let refused = block_on(fewer.rehearse(Who::Mixture, 5, &shard(2), 10..12, &mut told));
    assert_eq!(refused, Err(RehearsalError::OtherPairs));
}

#[test]
fn contexts_along_the_mixtures_words_are_a_memory_like_any_other() {
    let (pairs, mixer, unrollings) = (pairs(), mixer(Contexts::Steps), unrollings(1.0));
    let regeneration = regeneration(&mixer, &pairs, &unrollings);
    let (mut told, mut builder) = (Told::nothing(&pairs.targets), ShardBuilder::new(D));
    for pair in 0..PAIRS {
        let mut owner = Owner { pair, ..Owner::default() };
        let written = block_on(regeneration.rewrite(&mut owner, pair, &mut told, 1.0)).unwrap().unwrap();
        assert_eq!((written.tokens.len(), written.h.len()), (STEPS as usize, STEPS as usize * D));
        assert_eq!(owner.told, written.tokens[..STEPS as usize - 1]);
        assert!(!written.tokens.contains(&EOS), "{written:?}");
        assert!(written.h.chunks(D).enumerate().all(|(step, h)| h[D - 1].to_f32() == step as f32));
        builder.push(written.h, written.tokens).unwrap();
    }
    let (last, manifest) = builder.finish(model(), 2).unwrap();
    let shard = Shard::open(&last.unwrap().1, &manifest.memory.shards[0], D).unwrap();
    let second = memory(&pairs, Contexts::Steps, &shard);
    let aligned = block_on(second.clone().pair(Pairing::Alignment, &head(V, D, 1.0, None))).unwrap();
    for (pairing, memory) in [(Pairing::Position, second), (Pairing::Alignment, aligned)] {
        let mut trainer = trainer(AdapterConfig { pairing, ..small_config() }, memory);
        train(&mut trainer);
        assert!(trainer.adapter().is_some());
    }
}

#[test]
fn no_more_is_told_than_is_allowed() {
    let (pairs, mixer, unrollings) = (pairs(), mixer(Contexts::Steps), unrollings(1.0));
    let regeneration = regeneration(&mixer, &pairs, &unrollings);
    for most in [0.0, 0.2] {
        let (mut told, mut heard) = (Told::nothing(&pairs.targets), Told::nothing(&pairs.targets));
        let mut ended = None;
        for pair in 0..PAIRS {
            let mut owner = Owner { pair, ..Owner::default() };
            let written = block_on(regeneration.rewrite(&mut owner, pair, &mut told, most)).unwrap();
            (1..=owner.told.len()).for_each(|len| heard.hear(pair, &owner.told[..len]));
            if written.is_none() {
                ended = Some(pair);
                break;
            }
        }
        assert!(ended.is_some_and(|pair| pair < PAIRS - 1), "{ended:?}");
        assert!(heard.sequences() <= most && told.sequences() > most, "{} of {most}", heard.sequences());
    }
}
