//! Contexts of all the prompt's tokens: an adapter may attend over them, and still tells the PLM's owner
//! nothing of what it writes.

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::tensor::Device;
use common::along::assert_as_one_by_one;
use common::failure::Failure;
use common::{assert_close, block_on, head, model, noise, small_config, tensor, train, values};
use half::f16;
use pema_adapter::{
    Activation, Adapter, AdapterConfig, AdapterSummary, AttendContext, Batch, Checkpoint, CheckpointError, ConfigError, Consult,
    ContextStream, Encoder, Extra, Generation, Hidden, HostRows, Memory, MemoryBuilder, MemoryError, Mixer, Objective,
    Regeneration, RehearsalError, TrainError, Trainer, Weights, Who, generate,
};
use pema_core::align::{AlignError, Contexts, Targets};
use pema_core::id::TokenId;
use pema_core::memory::Shard;
use pema_core::overlap::Told;
use pema_core::prepare::Prepared;
use pema_core::sampling::Chooser;
use pema_core::schedule::{GradualUnrolling, Mix, Schedule};
use pema_core::wire::frame::{FrameLogits, StepFrame};
use pema_core::wire::{PromptSpec, PromptStates};

const V: usize = 12;
const D: usize = 8;
const PAIRS: u32 = 20;
const VALIDATION_FROM: u32 = 16;
const EOS: TokenId = TokenId(0);

/// What the second token's state tells, and no other.
fn word(pair: u32) -> TokenId {
    TokenId(1 + pair % 5)
}

/// Of 3 to 6 tokens.
fn prompt(pair: u32) -> Vec<TokenId> {
    vec![TokenId(11); 3 + (pair % 4) as usize]
}

fn row(seed: u32) -> Vec<f16> {
    noise(D, 1.0, u64::from(seed) + 7).into_iter().map(f16::from_f32).collect()
}

/// `[tokens, D]`.
fn states(pair: u32) -> Vec<f16> {
    let of_token = |at| if at == 1 { row(word(pair).0) } else { row(100) };
    (0..prompt(pair).len()).flat_map(of_token).collect()
}

fn pairs() -> Prepared {
    let prompts = (0..PAIRS).map(|pair| PromptSpec { tokens: prompt(pair), steps: 16 }).collect();
    let targets = (0..PAIRS).map(|pair| vec![word(pair), TokenId(6), EOS]).collect();
    let source_lens = vec![1; PAIRS as usize];
    Prepared { prompts, targets: Targets::new(targets, EOS).unwrap(), source_lens }
}

fn shard(contexts: Contexts, pairs: std::ops::Range<u32>) -> Shard {
    let tokens = |pair| if contexts == Contexts::PromptAll { prompt(pair).len() } else { 1 };
    let places = || pairs.clone().flat_map(|pair| (0..tokens(pair) as u32).map(move |step| (pair, step)));
    let of_pair = |pair| states(pair)[(prompt(pair).len() - tokens(pair)) * D..].to_vec();
    Shard {
        h: pairs.clone().flat_map(of_pair).collect(),
        hidden_size: D,
        prompt: places().map(|(pair, _)| pair).collect(),
        step: places().map(|(_, step)| step).collect(),
        token: vec![EOS; places().count()],
    }
}

fn memory(contexts: Contexts) -> Memory<Arc<HostRows>> {
    let pairs = pairs();
    let mut builder = MemoryBuilder::new(&pairs, contexts, D, VALIDATION_FROM);
    builder.add(0, &shard(contexts, 0..9)).unwrap();
    builder.add(1, &shard(contexts, 9..PAIRS)).unwrap();
    builder.finish().unwrap()
}

fn config(attend: bool) -> AdapterConfig {
    AdapterConfig {
        contexts: Contexts::PromptAll,
        attend,
        prefix: 1,
        rank: 8,
        alpha: 8.0,
        lr: 1e-2,
        kappa: 0.0,
        dropout: 0.0,
        prediction_epochs: 60,
        patience: 50,
        ..small_config()
    }
}

fn new_trainer(config: AdapterConfig, memory: Memory<Arc<HostRows>>) -> Result<Trainer<Arc<HostRows>>, TrainError> {
    block_on(Trainer::new(config, memory, head(V, D, 1.0, None), model(), Device::flex()))
}

fn trainer(config: AdapterConfig) -> Trainer<Arc<HostRows>> {
    new_trainer(config, memory(Contexts::PromptAll)).unwrap()
}

/// A finished training's adapter, by way of its file.
fn mixer(config: AdapterConfig) -> Mixer {
    let mut trainer = trainer(config);
    train(&mut trainer);
    let file = block_on(trainer.adapter().unwrap().export("x")).unwrap();
    assert_eq!(AdapterSummary::read(&file).unwrap().contexts, Contexts::PromptAll);
    let (head, device) = (head(V, D, 1.0, None), Device::flex());
    let (_, adapter) = Adapter::import(&file, head.hash(), &device).unwrap();
    Mixer::new(head, Some(adapter), device)
}

#[test]
fn all_rows_are_kept_and_the_last_meets_every_token_of_its_target() {
    let memory = memory(Contexts::PromptAll);
    assert_eq!(memory.rows(), (0..PAIRS).map(|pair| prompt(pair).len()).sum::<usize>());
    assert_eq!((memory.train().len(), memory.valid().len()), (3 * 16, 3 * 4));
    let (h, _) = memory.training_rows().unwrap();
    let last = (0..VALIDATION_FROM).flat_map(|_| row(100).repeat(3)).map(f16::to_f32);
    assert_eq!(h, last.collect::<Vec<f32>>());
}

#[test]
fn a_shard_whose_rows_are_not_those_of_the_prompts_tokens_is_refused() {
    let pairs = pairs();
    let add = |shard: &Shard| {
        let mut builder = MemoryBuilder::new(&pairs, Contexts::PromptAll, D, VALIDATION_FROM);
        builder.add(0, shard)?;
        builder.finish().map(drop)
    };
    let of_last_tokens = shard(Contexts::Prompt, 0..PAIRS);
    let refused = AlignError::PromptRows { prompt: 0, tokens: 3, rows: 1 };
    assert_eq!(add(&of_last_tokens).unwrap_err(), MemoryError::Align(refused));
    // The next prompt's rows, one more than there are tokens.
    let mut of_others = shard(Contexts::PromptAll, 1..2);
    of_others.prompt.fill(0);
    let refused = AlignError::PromptRows { prompt: 0, tokens: 3, rows: 4 };
    assert_eq!(add(&of_others).unwrap_err(), MemoryError::Align(refused));
    assert!(add(&shard(Contexts::PromptAll, 0..PAIRS)).is_ok());
}

#[test]
fn without_attention_it_is_the_memory_of_last_rows() {
    let h_pd = |contexts| {
        let config = AdapterConfig { contexts, kappa: 0.2, dropout: 0.2, ..config(false) };
        let mut trainer = new_trainer(AdapterConfig { prefix: 0, ..config }, memory(contexts)).unwrap();
        train(&mut trainer);
        values(trainer.adapter().unwrap().h_pd(tensor(&noise(3 * D, 1.0, 5), [3, D])))
    };
    assert_eq!(h_pd(Contexts::PromptAll), h_pd(Contexts::Prompt));
    assert_eq!(mixer(AdapterConfig { prediction_epochs: 1, ..config(false) }).prompt_states(), PromptStates::Last);
}

#[test]
fn attention_teaches_what_the_last_row_does_not_tell() {
    let best = |attend| {
        let losses = train(&mut trainer(config(attend))).into_iter().filter_map(|progress| progress.validation);
        losses.map(|validation| validation.loss).fold(f32::INFINITY, f32::min)
    };
    let (without, with) = (best(false), best(true));
    assert!(with < 0.5 * without, "{with} with attention, {without} without");
}

#[test]
fn attention_where_there_is_nothing_to_attend_over_is_refused() {
    for contexts in [Contexts::Steps, Contexts::Prompt] {
        let config = AdapterConfig { contexts, ..config(true) };
        assert_eq!(config.validate(), Err(ConfigError::NothingToAttend));
        assert!(ConfigError::NothingToAttend.to_string().contains("prompt-all"));
        let refused = new_trainer(config, memory(Contexts::PromptAll)).unwrap_err();
        assert_eq!(refused, TrainError::Config(ConfigError::NothingToAttend));
    }
    let refused = new_trainer(config(true), memory(Contexts::Prompt)).unwrap_err();
    assert_eq!(refused, TrainError::OtherContexts { asked: Contexts::PromptAll, held: Contexts::Prompt });
}

/// A batch of these rows' prompts, by their lengths; rows' own contexts and all states are noise.
fn batch(h: &[f32], lengths: &[usize], states: &[f32], prompt_of: &[usize]) -> Batch {
    let n = prompt_of.len();
    let attend = AttendContext::new(states.to_vec(), D, lengths, prompt_of, &Device::flex());
    let y = (0..n).map(|row| TokenId(1 + row as u32)).collect();
    Batch { attend: Some(attend), ..Batch::new(tensor(h, [n, D]), y) }
}

fn objective() -> Objective {
    let encoder = Encoder { scale: 1.0, activation: Activation::Silu, residual: false };
    Objective::Prediction { encoder, kappa: 0.0, b_rct: None, head: head(V, D, 1.0, None) }
}

const R: usize = 4;
const SHAPES: [[usize; 2]; 3] = [[D, R], [R, D], [2 * D + R + 1, R]];

fn weights(values: &[Vec<f32>; 3]) -> Weights {
    let [a, b, attend] = [0, 1, 2].map(|which| tensor(&values[which], SHAPES[which]));
    Weights { extras: [(Extra::Attend, attend)].into(), ..Weights::new(a, b) }
}

fn start() -> [Vec<f32>; 3] {
    SHAPES.map(|[rows, columns]| noise(rows * columns, 0.5, (rows * columns) as u64))
}

#[test]
fn gradients_of_attention_agree_with_finite_differences() {
    let step = 1e-2;
    // Prompts of different lengths, one of them of two rows, which do not follow each other.
    let batch = batch(&noise(4 * D, 1.0, 1), &[3, 1, 2], &noise(6 * D, 2.0, 2), &[0, 1, 0, 2]);
    let (objective, start) = (objective(), start());
    let (_, Weights { a, b, mut extras }) = block_on(objective.gradients(&batch, &weights(&start))).unwrap();
    for (which, gradient) in [a, b, extras.remove(&Extra::Attend).unwrap()].into_iter().enumerate() {
        let at = |i: usize, by: f32| {
            let mut moved = start.clone();
            moved[which][i] += by;
            f64::from(block_on(objective.losses(&batch, &weights(&moved))).unwrap().loss)
        };
        let expected: Vec<f64> =
            (0..start[which].len()).map(|i| (at(i, step) - at(i, -step)) / (2.0 * f64::from(step))).collect();
        assert_close(&values(gradient), &expected, 5e-3, &format!("matrix {which}"));
    }
}

#[test]
fn each_row_attends_over_its_own_prompt_alone() {
    // More states than lie in one tensor.
    let lengths = [6000, 5, 4000];
    let states = noise(10_005 * D, 2.0, 2);
    let h = noise(4 * D, 1.0, 1);
    let (objective, weights) = (objective(), weights(&start()));
    let loss = |batch: &Batch| f64::from(block_on(objective.losses(batch, &weights)).unwrap().loss);
    let prompt_of = [2, 0, 1, 2];
    let together = loss(&batch(&h, &lengths, &states, &prompt_of));
    let alone = prompt_of.iter().enumerate().map(|(row, &prompt)| {
        let first: usize = lengths[..prompt].iter().sum();
        let states = &states[first * D..(first + lengths[prompt]) * D];
        let one = batch(&h[row * D..(row + 1) * D], &[lengths[prompt]], states, &[0]);
        loss(&Batch { y: vec![TokenId(1 + row as u32)], ..one })
    });
    let mean = alone.sum::<f64>() / 4.0;
    assert!((together - mean).abs() < 1e-5, "{together} together, {mean} alone");
}

#[test]
fn training_resumes_bit_for_bit() {
    // 20 steps are inside phase 1 with kappa, inside phase 2 without.
    for kappa in [0.0, 0.2] {
        let config = AdapterConfig {
            kappa,
            dropout: 0.2,
            activation: Activation::Silu,
            recall: true,
            copy: true,
            reconstruction_epochs: 10,
            prediction_epochs: 10,
            ..config(true)
        };
        let mut whole = trainer(config.clone());
        train(&mut whole);
        let mut begun = trainer(config);
        for _ in 0..20 {
            block_on(begun.step()).unwrap();
        }
        let saved = Checkpoint::from_bytes(block_on(begun.checkpoint()).unwrap().into_bytes());
        let resume = |contexts| block_on(Trainer::resume(&saved, memory(contexts), head(V, D, 1.0, None), Device::flex()));
        let mut resumed = resume(Contexts::PromptAll).unwrap();
        train(&mut resumed);
        let file = |trainer: &Trainer<_>| block_on(trainer.adapter().unwrap().export("x")).unwrap();
        assert!(file(&whole) == file(&resumed), "kappa {kappa}");
        let refused = TrainError::OtherContexts { asked: Contexts::PromptAll, held: Contexts::Prompt };
        assert_eq!(resume(Contexts::Prompt).unwrap_err(), CheckpointError::Train(refused));
    }
}

/// A PLM that gives contexts and notes what it is told and asked for.
struct Owner {
    pair: u32,
    told: Vec<TokenId>,
    asked: Vec<PromptStates>,
}

impl ContextStream for Owner {
    type Error = Failure;

    async fn start(&mut self, prompt: &[TokenId], states: PromptStates) -> Result<StepFrame, Failure> {
        self.told.extend(prompt);
        self.asked.push(states);
        let mut earlier = self::states(self.pair);
        let h = earlier.split_off((prompt.len() - 1) * D);
        earlier.truncate(states.earlier(prompt.len()) * D);
        Ok(StepFrame { step: 0, greedy: EOS, h, earlier, logits: FrameLogits::None })
    }

    async fn push(&mut self, token: TokenId) -> Result<StepFrame, Failure> {
        self.told.push(token);
        // Later contexts are of no use to the adapter.
        let h = noise(D, 9.0, self.told.len() as u64).into_iter().map(f16::from_f32).collect();
        Ok(StepFrame { step: self.told.len() as u32, greedy: EOS, h, earlier: Vec::new(), logits: FrameLogits::None })
    }
}

/// What is written after a pair's prompt, and the owner who was asked.
fn write(pair: u32, mixer: &Mixer, unrolling: Option<GradualUnrolling>, consult: Consult) -> (Vec<TokenId>, Owner) {
    let prompt = prompt(pair);
    let generation = Generation {
        prompt: &prompt,
        unrolling,
        consult,
        chooser: Chooser::Greedy,
        no_repeat: 0,
        endings: &[EOS],
        max_tokens: 4,
    };
    let mut owner = Owner { pair, told: Vec::new(), asked: Vec::new() };
    let mut tokens = Vec::new();
    block_on(generate(&mut owner, mixer, generation, |chosen| {
        tokens.push(chosen.token);
        ControlFlow::Continue(())
    }))
    .unwrap();
    (tokens, owner)
}

#[test]
fn an_adapter_attends_in_generation_and_tells_nothing() {
    let mixer = mixer(config(true));
    let unrolling = GradualUnrolling::new(Schedule::Constant, 1.0, 1).unwrap();
    for pair in 0..5 {
        let (tokens, owner) = write(pair, &mixer, None, Consult::NEVER);
        assert_eq!(tokens, [word(pair), TokenId(6), EOS], "pair {pair}");
        assert_eq!((owner.told, owner.asked), (prompt(pair), vec![PromptStates::All]));

        let (mixed, owner) = write(pair, &mixer, Some(unrolling), Consult::Always);
        assert_eq!(mixed, tokens);
        assert_eq!(owner.told[prompt(pair).len()..], tokens[..2]);
    }
    // The model alone has no use for them.
    let (_, owner) = write(0, &mixer, None, Consult::Always);
    assert_eq!(owner.asked, [PromptStates::Last]);
}

#[test]
fn a_rehearsal_gives_the_adapter_what_the_stream_would() {
    let (pairs, mixer) = (pairs(), mixer(config(true)));
    let unrollings = vec![GradualUnrolling::new(Schedule::Constant, 1.0, 1).unwrap(); PAIRS as usize];
    let regeneration = Regeneration { mixer: &mixer, pairs: &pairs, unrollings: &unrollings, no_repeat: 0, endings: &[EOS] };
    let mut told = Told::nothing(&pairs.targets);
    let all = shard(Contexts::PromptAll, 0..PAIRS);
    for (prompt, rows) in all.prompt_rows() {
        block_on(regeneration.rehearse(Who::Adapter, prompt, &all, rows, &mut told)).unwrap();
    }
    assert!(told.tokens() > 0.6, "{}", told.tokens());

    let last = shard(Contexts::Prompt, 0..PAIRS);
    let refused = block_on(regeneration.rehearse(Who::Adapter, 0, &last, 0..1, &mut told)).unwrap_err();
    assert_eq!(refused, RehearsalError::OtherPairs);
}

#[test]
fn a_text_has_at_once_the_distributions_that_it_has_token_by_token() {
    let unrolling = GradualUnrolling::new(Schedule::Linear, 0.8, 60).unwrap();
    for attend in [false, true] {
        assert_as_one_by_one(&mixer(config(attend)), [V, D], &states(1), &prompt(1), &unrolling);
    }
}

#[test]
fn distributions_follow_the_states_and_sum_to_one() {
    let mixer = mixer(config(true));
    let of = |pair: u32| {
        let (states, current) = (states(pair), [f16::ZERO; D]);
        let hidden = Hidden { prompt: &states, current: &current };
        block_on(mixer.distributions(hidden, &prompt(pair), &[], Mix::ADAPTER)).unwrap()
    };
    for pair in 0..5 {
        let next = of(pair);
        let mass: f32 = next.mixture.iter().map(|log_p| log_p.exp()).sum();
        assert!((mass - 1.0).abs() < 1e-4, "{mass}");
        assert!(next.of(word(pair))[0] > 0.5, "pair {pair}: {:?}", next.of(word(pair)));
    }
}
