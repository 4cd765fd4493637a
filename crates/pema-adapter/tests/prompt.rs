//! Contexts of the prompt alone: one row a prompt, which meets its whole target, and generation that
//! tells the PLM's owner nothing of what it writes.

mod common;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use burn::tensor::Device;
use common::failure::Failure;
use common::{block_on, head, model, noise, small_config, train};
use half::f16;
use pema_adapter::{
    Adapter, AdapterConfig, AdapterSummary, Checkpoint, Chosen, ConfigError, Consult, ContextStream, Generation, HostRows,
    Memory, MemoryBuilder, MemoryError, Mixer, NotPrivate, TrainError, Trainer, generate,
};
use pema_core::align::{AlignError, Contexts, Pairing, Targets};
use pema_core::id::TokenId;
use pema_core::memory::Shard;
use pema_core::prepare::Prepared;
use pema_core::sampling::Chooser;
use pema_core::schedule::{GradualUnrolling, Schedule};
use pema_core::wire::frame::{FrameLogits, StepFrame};
use pema_core::wire::{PromptSpec, PromptStates};

const V: usize = 12;
const D: usize = 8;
const PAIRS: u32 = 20;
const VALIDATION_FROM: u32 = 16;
const EOS: TokenId = TokenId(0);

/// Targets that count up, 2 to 7 tokens long. Where they begin, the prompt's row tells.
fn target(pair: u32) -> Vec<TokenId> {
    (0..1 + pair % 6).map(|i| TokenId(1 + start(pair) + i)).chain([EOS]).collect()
}

/// 0, 2 or 4.
fn start(pair: u32) -> u32 {
    2 * (pair % 3)
}

fn row(pair: u32) -> Vec<f16> {
    noise(D, 1.0, u64::from(start(pair)) + 7).into_iter().map(f16::from_f32).collect()
}

fn pairs() -> Prepared {
    let prompts = (0..PAIRS).map(|_| PromptSpec { tokens: vec![TokenId(11)], steps: 16 }).collect();
    let targets = Targets::new((0..PAIRS).map(target).collect(), EOS).unwrap();
    Prepared { prompts, targets, source_lens: vec![1; PAIRS as usize] }
}

fn shard(prompts: impl Iterator<Item = u32> + Clone) -> Shard {
    let rows = prompts.clone().count();
    Shard {
        h: prompts.clone().flat_map(row).collect(),
        hidden_size: D,
        prompt: prompts.collect(),
        step: vec![0; rows],
        token: vec![EOS; rows],
    }
}

fn memory() -> Memory<Arc<HostRows>> {
    let pairs = pairs();
    let mut builder = MemoryBuilder::new(&pairs, Contexts::Prompt, D, VALIDATION_FROM);
    builder.add(0, &shard(0..9)).unwrap();
    builder.add(1, &shard(9..PAIRS)).unwrap();
    builder.finish().unwrap()
}

fn config() -> AdapterConfig {
    AdapterConfig {
        contexts: Contexts::Prompt,
        prefix: 2,
        rank: 8,
        alpha: 8.0,
        lr: 1e-2,
        reconstruction_epochs: 20,
        prediction_epochs: 60,
        patience: 50,
        ..small_config()
    }
}

fn trainer(config: AdapterConfig) -> Trainer<Arc<HostRows>> {
    block_on(Trainer::new(config, memory(), head(V, D, 1.0, None), model(), Device::flex())).unwrap()
}

/// A finished training's adapter, by way of its file.
fn mixer(config: AdapterConfig) -> Mixer {
    let mut trainer = trainer(config);
    train(&mut trainer);
    let file = block_on(trainer.adapter().unwrap().export("x")).unwrap();
    assert_eq!(AdapterSummary::read(&file).unwrap().contexts, Contexts::Prompt);
    let (head, device) = (head(V, D, 1.0, None), Device::flex());
    let (_, adapter) = Adapter::import(&file, head.hash(), &device).unwrap();
    Mixer::new(head, Some(adapter), device)
}

#[test]
fn each_row_is_kept_once_and_meets_every_token_of_its_target() {
    let memory = memory();
    let tokens = |prompts: std::ops::Range<u32>| prompts.map(|p| target(p).len()).sum::<usize>();
    assert_eq!(memory.rows(), PAIRS as usize);
    assert_eq!(memory.train().len(), tokens(0..VALIDATION_FROM));
    assert_eq!(memory.valid().len(), tokens(VALIDATION_FROM..PAIRS));
    let (h, y) = memory.training_rows().unwrap();
    let expected = (0..VALIDATION_FROM).flat_map(|p| vec![row(p); target(p).len()]).flatten().map(f16::to_f32);
    assert_eq!(h, expected.collect::<Vec<f32>>());
    assert_eq!(y, (0..VALIDATION_FROM).flat_map(target).collect::<Vec<_>>());
}

/// The same first rows, each with others after it that say something else.
fn memory_of_steps() -> Memory<Arc<HostRows>> {
    let pairs = pairs();
    let places = || (0..PAIRS).flat_map(|pair| (0..16).map(move |step| (pair, step)));
    let later = |pair, step| noise(D, 1.0, u64::from(100 + 16 * pair + step)).into_iter().map(f16::from_f32).collect();
    let shard = Shard {
        h: places().flat_map(|(pair, step)| if step == 0 { row(pair) } else { later(pair, step) }).collect(),
        hidden_size: D,
        prompt: places().map(|(pair, _)| pair).collect(),
        step: places().map(|(_, step)| step).collect(),
        token: places().map(|_| EOS).collect(),
    };
    let mut builder = MemoryBuilder::new(&pairs, Contexts::Steps, D, VALIDATION_FROM);
    builder.add(0, &shard).unwrap();
    builder.finish().unwrap()
}

#[test]
fn a_memory_of_steps_teaches_the_same_when_its_pairs_meet_the_prompts_contexts() {
    let lm_head = || head(V, D, 1.0, None);
    let config_of_steps = AdapterConfig { contexts: Contexts::Steps, pairing: Pairing::Prompt, ..config() };
    let paired = block_on(memory_of_steps().pair(Pairing::Prompt, &lm_head())).unwrap();
    let mut of_steps = block_on(Trainer::new(config_of_steps.clone(), paired, lm_head(), model(), Device::flex())).unwrap();
    let mut of_prompts = trainer(config());
    train(&mut of_steps);
    train(&mut of_prompts);
    assert_eq!(of_steps.history(), of_prompts.history());

    // So it may write without telling, too.
    let file = block_on(of_steps.adapter().unwrap().export("x")).unwrap();
    assert_eq!(AdapterSummary::read(&file).unwrap().contexts, Contexts::Prompt);
    let (_, adapter) = Adapter::import(&file, lm_head().hash(), &Device::flex()).unwrap();
    assert!(Mixer::new(lm_head(), Some(adapter), Device::flex()).private().is_ok());

    let unpaired = block_on(Trainer::new(config_of_steps.clone(), memory_of_steps(), lm_head(), model(), Device::flex()));
    assert_eq!(unpaired.unwrap_err(), TrainError::OtherPairing { asked: Pairing::Prompt, held: Pairing::Position });
    let gated = AdapterConfig { gate: true, ..config_of_steps };
    assert_eq!(gated.validate(), Err(ConfigError::NothingToWeigh));
}

#[test]
fn a_memory_without_a_row_for_every_prompt_is_refused() {
    let pairs = pairs();
    let mut builder = MemoryBuilder::new(&pairs, Contexts::Prompt, D, VALIDATION_FROM);
    builder.add(0, &shard(0..PAIRS - 1)).unwrap();
    assert_eq!(builder.finish().unwrap_err(), MemoryError::Align(AlignError::MissingPrompt { prompt: PAIRS - 1 }));
}

#[test]
fn settings_for_other_contexts_are_refused() {
    let config = AdapterConfig { contexts: Contexts::Steps, ..config() };
    let refused = block_on(Trainer::new(config, memory(), head(V, D, 1.0, None), model(), Device::flex())).unwrap_err();
    assert_eq!(refused, TrainError::OtherContexts { asked: Contexts::Steps, held: Contexts::Prompt });
}

#[test]
fn settings_of_before_there_was_a_choice_are_of_steps() {
    let config: AdapterConfig = serde_json::from_str(r#"{"rank": 4}"#).unwrap();
    assert_eq!(config.contexts, Contexts::Steps);
}

#[test]
fn training_resumes_bit_for_bit() {
    // 30 steps are inside phase 1, 100 inside phase 2.
    for steps in [30, 100] {
        let mut whole = trainer(config());
        train(&mut whole);
        let mut begun = trainer(config());
        for _ in 0..steps {
            block_on(begun.step()).unwrap();
        }
        let saved = block_on(begun.checkpoint()).unwrap().into_bytes();
        let mut resumed =
            block_on(Trainer::resume(&Checkpoint::from_bytes(saved), memory(), head(V, D, 1.0, None), Device::flex())).unwrap();
        train(&mut resumed);
        let file = |trainer: &Trainer<_>| block_on(trainer.adapter().unwrap().export("x")).unwrap();
        assert!(file(&whole) == file(&resumed), "{steps} steps");
    }
}

/// A PLM that gives contexts and notes what it is told.
struct Owner {
    h: Vec<f16>,
    told: Vec<TokenId>,
    pauses: usize,
}

impl Owner {
    fn new(pair: u32) -> Self {
        Self { h: row(pair), told: Vec::new(), pauses: 0 }
    }

    fn frame(&self, h: Vec<f16>) -> StepFrame {
        StepFrame { step: self.told.len() as u32, greedy: EOS, h, earlier: Vec::new(), logits: FrameLogits::None }
    }
}

impl ContextStream for Owner {
    type Error = Failure;

    async fn start(&mut self, prompt: &[TokenId], states: PromptStates) -> Result<StepFrame, Failure> {
        assert_eq!(states, PromptStates::Last);
        self.told.extend(prompt);
        Ok(self.frame(self.h.clone()))
    }

    async fn push(&mut self, token: TokenId) -> Result<StepFrame, Failure> {
        self.told.push(token);
        // Later contexts are of no use to the adapter.
        Ok(self.frame(noise(D, 9.0, self.told.len() as u64).into_iter().map(f16::from_f32).collect()))
    }

    async fn pause(&mut self) {
        self.pauses += 1;
    }
}

fn write(owner: &mut Owner, mixer: &Mixer, consult: Consult, max_tokens: usize) -> Result<Vec<Chosen>, Failure> {
    let generation = Generation {
        prompt: &[TokenId(11)],
        unrolling: Some(GradualUnrolling::new(Schedule::Constant, 0.9, 1).unwrap()),
        consult,
        no_repeat: 0,
        chooser: Chooser::Greedy,
        endings: &[EOS],
        max_tokens,
    };
    let mut all = Vec::new();
    block_on(generate(owner, mixer, generation, |chosen| {
        all.push(chosen);
        ControlFlow::Continue(())
    }))?;
    Ok(all)
}

#[test]
fn an_adapter_learns_from_the_prompts_row_and_writes_without_telling() {
    let mixer = mixer(config());
    for pair in 0..3 {
        let mut owner = Owner::new(pair);
        let chosen = write(&mut owner, &mixer, Consult::NEVER, 3).unwrap();
        let tokens: Vec<TokenId> = chosen.iter().map(|chosen| chosen.token).collect();
        // It begins where the row says, and goes on from its own text.
        let first = 1 + start(pair);
        assert_eq!(tokens[0], TokenId(first), "{chosen:?}");
        assert!(tokens[1] == TokenId(first + 1) || tokens[1] == EOS, "{chosen:?}");
        assert!(chosen.iter().all(|chosen| chosen.lambda == 1.0 && chosen.p_plm.is_none()));
        assert_eq!(owner.told, [TokenId(11)]);
        assert_eq!(owner.pauses, chosen.len());
    }
}

#[test]
fn a_mixture_gives_the_adapter_the_prompts_row_at_every_step() {
    let mixer = mixer(config());
    let mut owner = Owner::new(1);
    let mixed = write(&mut owner, &mixer, Consult::Always, 3).unwrap();
    let tokens: Vec<TokenId> = mixed.iter().map(|chosen| chosen.token).collect();
    assert_eq!(owner.told[1..], tokens[..tokens.len() - 1]);
    let alone = write(&mut Owner::new(1), &mixer, Consult::NEVER, 3).unwrap();
    for (mixed, alone) in mixed.iter().zip(&alone).take_while(|(mixed, alone)| mixed.token == alone.token) {
        assert!((mixed.p_pema - alone.p_pema).abs() < 1e-5, "{mixed:?} {alone:?}");
        assert!(mixed.p_plm.is_some() && mixed.lambda == 0.9);
    }
    assert_eq!(mixed[0].token, alone[0].token);
}

#[test]
fn no_token_is_written_twice_unless_it_may() {
    let mixer = mixer(config());
    let different = |no_repeat| {
        let generation = Generation {
            prompt: &[TokenId(11)],
            unrolling: None,
            consult: Consult::NEVER,
            chooser: Chooser::Greedy,
            no_repeat,
            endings: &[],
            max_tokens: V,
        };
        let mut tokens = BTreeSet::new();
        block_on(generate(&mut Owner::new(0), &mixer, generation, |chosen| {
            tokens.insert(chosen.token);
            ControlFlow::Continue(())
        }))
        .unwrap();
        tokens.len()
    };
    assert_eq!(different(1), V);
    assert!(different(0) < V);
}

#[test]
fn a_plm_that_is_asked_for_the_first_tokens_learns_all_of_them_but_the_last() {
    let mixer = mixer(config());
    for (consult, told) in [(1, 0), (2, 1)] {
        let mut owner = Owner::new(1);
        let chosen = write(&mut owner, &mixer, Consult::First(consult), 3).unwrap();
        assert!(chosen.len() > consult, "{chosen:?}");
        assert_eq!(owner.told.len(), 1 + told);
        assert_eq!(Consult::First(consult).tells(), told > 0);
        for (step, chosen) in chosen.iter().enumerate() {
            assert_eq!(chosen.p_plm.is_some(), step < consult);
            assert_eq!(chosen.lambda, if step < consult { 0.9 } else { 1.0 });
        }
    }
}

#[test]
fn a_plm_that_is_asked_where_the_adapter_is_unsure_learns_what_was_written_before() {
    let mixer = mixer(config());
    let at = |nats| {
        let mut owner = Owner::new(1);
        let chosen = write(&mut owner, &mixer, Consult::Above(nats), 3).unwrap();
        let asked: Vec<bool> = chosen.iter().map(|chosen| chosen.p_plm.is_some()).collect();
        let last = asked.iter().rposition(|asked| *asked).unwrap_or(0);
        let written: Vec<TokenId> = chosen.iter().map(|chosen| chosen.token).collect();
        assert_eq!(owner.told[1..], written[..last], "above {nats}");
        asked
    };
    // ln 12 is the most that 12 tokens can have.
    assert_eq!(at(2.5), [false; 3]);
    assert_eq!(at(-1.0), [true; 3]);
    // Somewhere between its surest and its least sure token.
    let some = (1..250).map(|i| at(i as f32 / 100.0)).find(|asked| asked.contains(&true) && asked.contains(&false));
    assert!(some.is_some());
    assert!(!Consult::Above(f32::INFINITY).tells() && Consult::Above(2.0).tells());
}

#[test]
fn what_cannot_be_private_is_refused_before_anything_is_sent() {
    let plain = Mixer::new(head(V, D, 1.0, None), None, Device::flex());
    let mut owner = Owner::new(0);
    assert_eq!(write(&mut owner, &plain, Consult::NEVER, 3), Err(Failure::NotPrivate(NotPrivate::NoAdapter)));

    let rows = HostRows::new(D, noise(4 * D, 1.0, 3)).unwrap();
    let steps = Memory::new(rows, vec![TokenId(1); 4], (0..4).collect(), Vec::new()).unwrap();
    let mut trainer = block_on(Trainer::new(small_config(), steps, head(V, D, 1.0, None), model(), Device::flex())).unwrap();
    train(&mut trainer);
    let mixer = Mixer::new(head(V, D, 1.0, None), trainer.adapter(), Device::flex());
    assert_eq!(write(&mut owner, &mixer, Consult::First(1), 3), Err(Failure::NotPrivate(NotPrivate::OfSteps)));
    assert_eq!(owner.told, []);
}
