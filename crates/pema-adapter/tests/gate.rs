//! Adapters with a gate: trained after phase 2, whole in files and checkpoints, and the weight of the
//! mixture at every token.

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::tensor::Device;
use common::along::assert_as_one_by_one;
use common::failure::Failure;
use common::{block_on, head, model, noise, small_config, train};
use half::f16;
use pema_adapter::{
    Activity, Adapter, AdapterConfig, AdapterSummary, Checkpoint, Chosen, ConfigError, Consult, ContextStream, FileError,
    Generation, Hidden, HostRows, ImportError, Memory, MemoryBuilder, Mixer, NotMixed, TrainError, Trainer, Vocabulary, generate,
};
use pema_core::align::{Contexts, Targets};
use pema_core::id::TokenId;
use pema_core::memory::Shard;
use pema_core::prepare::Prepared;
use pema_core::sampling::Chooser;
use pema_core::schedule::{GradualUnrolling, Mix, Mixing, Schedule};
use pema_core::wire::frame::{FrameLogits, StepFrame};
use pema_core::wire::{PromptSpec, PromptStates};

const V: usize = 21;
const D: usize = 8;
const PAIRS: u32 = 40;
const EOS: TokenId = TokenId(0);

fn prompt(pair: u32) -> Vec<TokenId> {
    vec![TokenId(1 + pair % 20), TokenId(20), TokenId(3)]
}

/// `validation` pairs of four tokens at the end of 40, in contexts that tell the first of them.
fn memory(contexts: Contexts, validation: u32) -> Memory<Arc<HostRows>> {
    let target = |pair: u32| (0..3).map(|i| TokenId(1 + (pair * 3 + i) % 20)).chain([EOS]).collect();
    let prompts = (0..PAIRS).map(|pair| PromptSpec { tokens: prompt(pair), steps: 4 }).collect();
    let targets = Targets::new((0..PAIRS).map(target).collect(), EOS).unwrap();
    let pairs = Prepared { prompts, targets, source_lens: vec![2; PAIRS as usize] };
    let of_one = 4;
    let rows = PAIRS * of_one;
    let shard = Shard {
        h: (0..rows).flat_map(|row| noise(D, 1.0, u64::from(row % 10))).map(f16::from_f32).collect(),
        hidden_size: D,
        prompt: (0..rows).map(|row| row / of_one).collect(),
        step: (0..rows).map(|row| row % of_one).collect(),
        token: (0..rows).map(|row| TokenId(20 - row % 20)).collect(),
    };
    let mut builder = MemoryBuilder::new(&pairs, contexts, D, PAIRS - validation).keep_runs();
    builder.add(0, &shard).unwrap();
    builder.finish().unwrap()
}

fn config(contexts: Contexts) -> AdapterConfig {
    AdapterConfig { gate: true, kappa: 0.0, lr: 1e-2, prefix: 1, contexts, ..small_config() }
}

fn with_contrast() -> AdapterConfig {
    AdapterConfig { contrast: true, copy: true, ..config(Contexts::Steps) }
}

fn trainer(config: AdapterConfig, memory: Memory<Arc<HostRows>>) -> Trainer<Arc<HostRows>> {
    block_on(Trainer::new(config, memory, head(V, D, 1.0, None), model(), Device::flex())).unwrap()
}

fn file(trainer: &Trainer<Arc<HostRows>>) -> Vec<u8> {
    block_on(trainer.adapter().unwrap().export("x")).unwrap()
}

fn import(bytes: &[u8]) -> Result<Adapter, ImportError> {
    Ok(Adapter::import(bytes, head(V, D, 1.0, None).hash(), &Device::flex())?.1)
}

/// With a trained adapter, by way of its file.
fn mixer(config: AdapterConfig) -> Mixer {
    let contexts = config.contexts;
    let mut trainer = trainer(config, memory(contexts, 20));
    train(&mut trainer);
    Mixer::new(head(V, D, 1.0, None), Some(import(&file(&trainer)).unwrap()), Device::flex())
}

#[test]
fn a_gate_follows_phase_two_and_says_what_it_gives() {
    let all = AdapterConfig { copy: true, recall: true, vocabulary: Vocabulary::Met { top_k: 2 }, ..config(Contexts::Steps) };
    for config in [config(Contexts::Steps), all, with_contrast()] {
        let plain = AdapterConfig { gate: false, ..config.clone() };
        let (mut gated, mut plain) = (trainer(config, memory(Contexts::Steps, 20)), trainer(plain, memory(Contexts::Steps, 20)));
        let progress = train(&mut gated);
        let before = train(&mut plain);
        let (own, turn) = progress.split_at(before.len());
        assert!(own.iter().all(|p| p.activity != Activity::Gating && !p.done && p.gate.is_none()));
        assert!(turn.iter().all(|p| p.activity == Activity::Gating));
        let rows: Vec<_> = turn.iter().map(|p| (p.step, p.steps_in_epoch, p.rows, p.done)).collect();
        assert_eq!(rows, [(1, 3, 32, false), (2, 3, 32, false), (3, 3, 16, false), (3, 3, 80, true)]);
        let fit = turn[3].gate.unwrap();
        assert!(fit.pairs == 80 && fit.loss <= fit.constant_loss && fit.loss == turn[3].loss, "{fit:?}");
        assert_eq!(gated.adapter().unwrap().parameters(), plain.adapter().unwrap().parameters() + D + 4 + 6);
    }
}

#[test]
fn an_adapter_with_a_gate_survives_export_and_import() {
    let mut trainer = trainer(config(Contexts::Steps), memory(Contexts::Steps, 20));
    while block_on(trainer.step()).unwrap().activity != Activity::Gating {}
    let stopped = file(&trainer);
    assert!(!AdapterSummary::read(&stopped).unwrap().has_gate && !import(&stopped).unwrap().has_gate());
    train(&mut trainer);
    let whole = file(&trainer);
    assert!(AdapterSummary::read(&whole).unwrap().has_gate);
    let imported = import(&whole).unwrap();
    assert!(imported.has_gate());
    assert_eq!(block_on(imported.export("x")).unwrap(), whole);

    let replace = |bytes: &[u8], from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        let mut changed = bytes.to_vec();
        changed[at..at + from.len()].copy_from_slice(format!("{to:<width$}", width = from.len()).as_bytes());
        changed
    };
    // As files of before there were gates.
    let older = replace(&replace(&stopped, r#"\"has_gate\":false,"#, ""), r#"\"gate\":true,"#, "");
    assert!(!import(&older).unwrap().has_gate());
    let missing = replace(&whole, r#""gate":{"dtype"#, r#""gone":{"dtype"#);
    assert_eq!(import(&missing).unwrap_err(), FileError::Missing { name: "gate".into() }.into());
}

#[test]
fn training_resumes_bit_for_bit_in_the_gates_turn_too() {
    for config in [config(Contexts::Steps), with_contrast()] {
        let mut straight = trainer(config, memory(Contexts::Steps, 20));
        let checkpoint = |trainer: &Trainer<_>| block_on(trainer.checkpoint()).unwrap();
        let mut stops = vec![checkpoint(&straight)];
        while !straight.is_done() {
            block_on(straight.step()).unwrap();
            stops.push(checkpoint(&straight));
        }
        let end = file(&straight);
        for stop in stops.iter().rev().take(8) {
            let (memory, head) = (memory(Contexts::Steps, 20), head(V, D, 1.0, None));
            let bytes = Checkpoint::from_bytes(stop.as_bytes().to_vec());
            let mut resumed = block_on(Trainer::resume(&bytes, memory, head, Device::flex())).unwrap();
            assert!(checkpoint(&resumed) == *stop);
            train(&mut resumed);
            assert!(file(&resumed) == end && Some(&checkpoint(&resumed)) == stops.last());
        }
    }
}

#[test]
fn too_few_validation_pairs_are_refused_before_training() {
    let memory = memory(Contexts::Steps, 3);
    let new = Trainer::new(config(Contexts::Steps), memory, head(V, D, 1.0, None), model(), Device::flex());
    let refused = block_on(new).unwrap_err();
    assert_eq!(refused, TrainError::TooFewForAGate { pairs: 12, needed: 16 });
    assert!(refused.to_string().contains("set more data aside for validation"), "{refused}");
}

#[test]
fn contexts_of_the_prompt_alone_teach_no_gate() {
    for contexts in [Contexts::Prompt, Contexts::PromptAll] {
        assert_eq!(config(contexts).validate(), Err(ConfigError::NothingToWeigh));
    }
}

#[test]
fn the_weight_is_the_gates_and_at_most_the_largest() {
    let mixer = mixer(config(Contexts::Steps));
    let h: Vec<Vec<f16>> = (0..4).map(|i| noise(D, 1.0, i).into_iter().map(f16::from_f32).collect()).collect();
    let (prompt, written) = (prompt(0), [TokenId(2), TokenId(5)]);
    let hidden = Hidden { prompt: &h[0], current: &h[2] };
    let at = |lambda_max: f32| {
        let unrolling = GradualUnrolling::new(Schedule::Learned, lambda_max, 3).unwrap();
        let weighing = mixer.weighing(&unrolling, 2).unwrap();
        block_on(mixer.distributions(hidden, &prompt, &written, weighing)).unwrap()
    };
    let free = at(1.0);
    assert!(free.lambda > 0.0 && free.lambda < 1.0, "{}", free.lambda);
    let most = free.lambda / 2.0;
    for (next, lambda) in [(&free, free.lambda), (&at(most), most)] {
        let mix = Mix { mixing: Mixing::Arithmetic, lambda };
        let given = block_on(mixer.distributions(hidden, &prompt, &written, mix)).unwrap();
        assert_eq!(*next, given);
    }
    let alone = at(0.0);
    assert!(alone.pema.is_none() && alone.lambda == 0.0 && Some(&alone.mixture) == alone.plm.as_ref());
}

#[test]
fn a_text_is_weighed_at_once_as_token_by_token() {
    let mixer = mixer(config(Contexts::Steps));
    let unrolling = GradualUnrolling::new(Schedule::Learned, 0.9, 3).unwrap();
    assert_as_one_by_one(&mixer, [V, D], &[], &prompt(0), &unrolling);
}

#[test]
fn what_no_gate_can_weigh_is_refused() {
    let learned = GradualUnrolling::new(Schedule::Learned, 1.0, 3).unwrap();
    let gated = mixer(config(Contexts::Steps));
    let geometric = learned.with_mixing(Mixing::Geometric);
    assert_eq!(gated.weighing(&geometric, 0).unwrap_err(), NotMixed::NotArithmetic);
    assert!(gated.has_gate());
    let plain = mixer(AdapterConfig { gate: false, ..config(Contexts::Steps) });
    assert!(!plain.has_gate());
    let refused = plain.weighing(&learned, 0).unwrap_err();
    assert!(refused == NotMixed::NoGate && refused.to_string().contains("setting `gate`"), "{refused}");
    let none = Mixer::new(head(V, D, 1.0, None), None, Device::flex());
    assert_eq!(none.weighing(&learned, 0).unwrap_err(), NotMixed::NoAdapter);
    assert_eq!(write(&mut Owner::default(), &plain, Consult::Always, 1.0), Err(Failure::NotMixed(NotMixed::NoGate)));
}

/// A PLM that gives contexts and notes what it is told.
#[derive(Default)]
struct Owner {
    told: Vec<TokenId>,
}

impl Owner {
    fn frame(&self) -> StepFrame {
        let h = noise(D, 1.0, self.told.len() as u64 % 10).into_iter().map(f16::from_f32).collect();
        StepFrame { step: self.told.len() as u32, greedy: EOS, h, logits: FrameLogits::None, earlier: Vec::new() }
    }
}

impl ContextStream for Owner {
    type Error = Failure;

    async fn start(&mut self, prompt: &[TokenId], _: PromptStates) -> Result<StepFrame, Failure> {
        self.told.extend(prompt);
        Ok(self.frame())
    }

    async fn push(&mut self, token: TokenId) -> Result<StepFrame, Failure> {
        self.told.push(token);
        Ok(self.frame())
    }
}

fn write(owner: &mut Owner, mixer: &Mixer, consult: Consult, lambda_max: f32) -> Result<Vec<Chosen>, Failure> {
    let generation = Generation {
        prompt: &prompt(0),
        unrolling: Some(GradualUnrolling::new(Schedule::Learned, lambda_max, 3).unwrap()),
        consult,
        no_repeat: 0,
        chooser: Chooser::Greedy,
        endings: &[],
        max_tokens: 6,
    };
    let mut all = Vec::new();
    let written = block_on(generate(owner, mixer, generation, |chosen| {
        all.push(chosen);
        ControlFlow::Continue(())
    }));
    assert!(written.is_ok() || owner.told.is_empty());
    written.map(|()| all)
}

/// Writes a text whose mixtures are of the weights that it says.
fn written_as_weighed(mixer: &Mixer) -> Vec<Chosen> {
    let written = write(&mut Owner::default(), mixer, Consult::Always, 1.0).unwrap();
    assert_eq!(written.len(), 6);
    for Chosen { lambda, p_pema, p_plm, p_mixture, .. } in &written {
        let mixed = lambda * p_pema + (1.0 - lambda) * p_plm.unwrap();
        assert!((mixed - p_mixture).abs() < 1e-5, "{mixed} instead of {p_mixture}");
    }
    written
}

#[test]
fn each_token_is_written_with_its_own_weight_and_says_it() {
    let mixer = mixer(config(Contexts::Steps));
    let lambdas: Vec<f32> = written_as_weighed(&mixer).iter().map(|chosen| chosen.lambda).collect();
    assert!(lambdas.iter().any(|&lambda| lambda != lambdas[0]), "{lambdas:?}");
    let alone = write(&mut Owner::default(), &mixer, Consult::Always, 0.0).unwrap();
    assert!(alone.iter().all(|chosen| chosen.lambda == 0.0 && chosen.p_plm == Some(chosen.p_mixture)));
}

#[test]
fn a_gate_weighs_an_adapter_with_contrast() {
    let written = written_as_weighed(&mixer(with_contrast()));
    assert!(written.iter().all(|chosen| chosen.lambda > 0.0 && chosen.p_pema > 0.0));
}
