//! Adapters that see the target's prefix and the prompt: they learn what the paper's cannot, train
//! and resume the same, and generate from the same input that they learned from.

mod common;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use common::along::assert_as_one_by_one;
use common::{assert_close, block_on, head, model, noise, small_config, small_memory, tensor, train, values};
use half::f16;
use pema_adapter::{
    Activation, Adapter, AdapterConfig, Batch, Checkpoint, CopyBatch, Encoder, Extra, Hidden, HostRows, Memory, MemoryBuilder,
    Mixer, Objective, RecallContext, TrainError, Trainer, Weights,
};
use pema_core::align::{Contexts, Targets};
use pema_core::id::TokenId;
use pema_core::memory::Shard;
use pema_core::prepare::Prepared;
use pema_core::schedule::{GradualUnrolling, Mix, Schedule};
use pema_core::wire::PromptSpec;

const V: usize = 12;
const D: usize = 8;
/// Hidden states that say nothing.
const NOTHING: Hidden<'static> = Hidden { prompt: &[f16::ZERO; D], current: &[f16::ZERO; D] };

/// Targets that count up, each prompt from its own number, over contexts that say nothing.
fn counting() -> Memory<Arc<HostRows>> {
    memory(Contexts::Steps, 1.0, |pair| {
        let target = (0..6).map(|i| TokenId(1 + (pair + i) % 10)).chain([TokenId(0)]);
        (vec![TokenId(11)], target.collect())
    })
}

/// Prompts in no order, and targets that repeat them.
fn repeating() -> Memory<Arc<HostRows>> {
    memory(Contexts::Steps, 1.0, |pair| {
        let words = (0..6).map(|i| TokenId(1 + (pair * 7 + i * i * (pair + 3)) % 10)).collect::<Vec<_>>();
        let prompt = [&[TokenId(11)], words.as_slice(), &[TokenId(0)]].concat();
        (prompt.clone(), prompt[1..].to_vec())
    })
}

/// Targets that end with their first token, which neither prompts nor contexts nor the last tokens tell.
fn returning() -> Memory<Arc<HostRows>> {
    memory(Contexts::Steps, 0.0, |pair| {
        let first = TokenId(1 + pair % 5);
        (vec![TokenId(11)], [&[first][..], &[TokenId(6); 4], &[first, TokenId(0)]].concat())
    })
}

/// 20 pairs of a prompt and a target of 7 tokens, the last 4 for validation; contexts of noise, `said` times as much
/// as hidden states have.
fn memory(contexts: Contexts, said: f32, pair: impl Fn(u32) -> (Vec<TokenId>, Vec<TokenId>)) -> Memory<Arc<HostRows>> {
    let (prompts, targets): (Vec<_>, Vec<_>) = (0..20).map(pair).unzip();
    let prompts = prompts.into_iter().map(|tokens| PromptSpec { tokens, steps: 7 }).collect();
    let pairs = Prepared { prompts, targets: Targets::new(targets, TokenId(0)).unwrap(), source_lens: vec![1; 20] };
    let of_one = if contexts == Contexts::Prompt { 1 } else { 7 };
    let rows = 20 * of_one;
    let shard = Shard {
        h: noise(rows * D, said, 4).into_iter().map(f16::from_f32).collect(),
        hidden_size: D,
        prompt: (0..rows).map(|i| (i / of_one) as u32).collect(),
        step: (0..rows).map(|i| (i % of_one) as u32).collect(),
        token: vec![TokenId(0); rows],
    };
    let mut builder = MemoryBuilder::new(&pairs, contexts, D, 16);
    builder.add(0, &shard).unwrap();
    assert_eq!(builder.pairs(), 20 * 7);
    builder.finish().unwrap()
}

fn config(prefix: usize, copy: bool) -> AdapterConfig {
    AdapterConfig {
        prefix,
        copy,
        rank: 8,
        alpha: 8.0,
        lr: 1e-2,
        prediction_epochs: 20,
        patience: 50,
        kappa: 0.0,
        ..small_config()
    }
}

fn returning_config(recall: bool) -> AdapterConfig {
    AdapterConfig { recall, dropout: 0.1, lr_decay: true, prediction_epochs: 200, ..config(2, false) }
}

fn trainer(config: AdapterConfig, memory: Memory<Arc<HostRows>>) -> Trainer<Arc<HostRows>> {
    block_on(Trainer::new(config, memory, head(V, D, 1.0, None), model(), Device::flex())).unwrap()
}

fn best_validation(trainer: &mut Trainer<Arc<HostRows>>) -> f32 {
    train(trainer).iter().filter_map(|p| p.validation).map(|v| v.loss).fold(f32::INFINITY, f32::min)
}

#[test]
fn the_prefix_teaches_what_contexts_do_not_tell() {
    let best = |prefix| best_validation(&mut trainer(config(prefix, false), counting()));
    let (without, with) = (best(0), best(1));
    assert!(with < 0.7 * without, "{with} with the prefix, {without} without");
}

#[test]
fn recall_teaches_what_the_last_tokens_do_not_tell() {
    let best = |recall| best_validation(&mut trainer(returning_config(recall), returning()));
    let (without, with) = (best(false), best(true));
    assert!(with < 0.7 * without, "{with} with recall, {without} without");
}

#[test]
fn an_activation_teaches_what_a_sum_cannot_tell() {
    let best = |activation| best_validation(&mut trainer(AdapterConfig { activation, ..config(2, false) }, counting()));
    let (linear, silu) = (best(Activation::Linear), best(Activation::Silu));
    assert!(silu < linear, "{silu} through SiLU, {linear} through nothing");
}

#[test]
fn copying_teaches_what_the_prefix_does_not_tell() {
    let best = |copy| best_validation(&mut trainer(config(1, copy), repeating()));
    let (without, with) = (best(false), best(true));
    assert!(with < 0.5 * without, "{with} with copying, {without} without");
}

#[test]
fn gradients_of_copying_agree_with_finite_differences() {
    let (n, p, r, step) = (2, 3, 4, 1e-2);
    let head = head(V, D, 1.0, None);
    let tokens = |ids: [u32; 3]| ids.map(TokenId).to_vec();
    let (prompts, texts) = ([tokens([3, 5, 7]), tokens([2, 3, 2])], [tokens([9, 8, 3]), tokens([5, 4, 2])]);
    let rows: Vec<_> = prompts.iter().zip(&texts).map(|(prompt, text)| (&prompt[..p], &text[..])).collect();
    let batch = CopyBatch::new(&head, &rows, &[TokenId(5), TokenId(2)]);
    let (z, head_losses) = (noise(n * r, 1.0, 1), tensor(&[2.0, 1.5], [n, 1]));
    let loss = |weights: Tensor<2>, z: Tensor<2>| batch.losses(&weights, z, head_losses.clone()).mean();

    let weights = noise((D + 10) * r, 0.5, 2);
    let shapes = [[D + 10, r], [n, r]];
    let tracked =
        [&weights, &z].map(|x| tensor(x, if x.len() == z.len() { shapes[1] } else { shapes[0] }).autodiff().require_grad());
    let gradients = loss(tracked[0].clone(), tracked[1].clone()).backward();
    for (which, x) in [&weights, &z].into_iter().enumerate() {
        let at = |i: usize, by: f32| {
            let mut moved = [weights.clone(), z.clone()];
            moved[which][i] += by;
            f64::from(values(loss(tensor(&moved[0], shapes[0]), tensor(&moved[1], shapes[1])))[0])
        };
        let expected: Vec<f64> = (0..x.len()).map(|i| (at(i, step) - at(i, -step)) / (2.0 * f64::from(step))).collect();
        let gradient = values(tracked[which].grad(&gradients).unwrap());
        assert_close(&gradient, &expected, 2e-3, &format!("argument {which}"));
    }
}

#[test]
fn the_head_learns_where_copying_explains_everything() {
    let (n, r) = (2, 4);
    let head = head(V, D, 1.0, None);
    let y = [TokenId(3), TokenId(5)];
    let prompts = y.map(|y| [y; 3]);
    let rows: Vec<_> = prompts.iter().map(|prompt| (&prompt[..], &[TokenId(9)][..])).collect();
    let encoder = Encoder { scale: 1.0, activation: Activation::Silu, residual: false };
    let objective = Objective::Prediction { encoder, kappa: 0.0, b_rct: None, head: head.clone() };
    let plain = Batch::new(tensor(&noise(n * D, 1.0, 1), [n, D]), y.to_vec());
    let copying = Batch { copy: Some(CopyBatch::new(&head, &rows, &y)), ..plain.clone() };
    // The last row says how likely the head is, before any copy is.
    let never_the_head = [vec![0.0; (D + 9) * r], vec![-50.0; r]].concat();
    let weights = Weights {
        extras: [(Extra::Copy, tensor(&never_the_head, [D + 10, r]))].into(),
        ..Weights::new(tensor(&noise(D * r, 0.5, 2), [D, r]), tensor(&noise(r * D, 0.5, 3), [r, D]))
    };
    let [plain, copying] = [plain, copying].map(|batch| block_on(objective.gradients(&batch, &weights)).unwrap());
    assert!(copying.0.loss.abs() < 1e-6, "{}", copying.0.loss);
    let tenth: Vec<f64> = values(plain.1.b).into_iter().map(|x| 0.1 * f64::from(x)).collect();
    assert_close(&values(copying.1.b), &tenth, 1e-4, "B");
}

#[test]
fn gradients_of_recall_agree_with_finite_differences() {
    let (n, r, step) = (3, 4, 1e-2);
    let head = head(V, D, 1.0, None);
    let tokens = |ids: &[u32]| ids.iter().copied().map(TokenId).collect::<Vec<_>>();
    // Of different lengths, one of them empty.
    let texts = [tokens(&[9, 8, 3]), tokens(&[]), tokens(&[5, 4, 2, 5, 1])];
    let recall = Some(RecallContext::new(&head, &texts.each_ref().map(|text| text.as_slice())));
    let batch = Batch { recall, ..Batch::new(tensor(&noise(n * D, 1.0, 1), [n, D]), tokens(&[1, 2, 3])) };
    let encoder = Encoder { scale: 1.0, activation: Activation::Silu, residual: false };
    let objective = Objective::Prediction { encoder, kappa: 0.0, b_rct: None, head };

    let shapes = [[D, r], [r, D], [2 * D + r + 2, r]];
    let start = shapes.map(|[rows, columns]| noise(rows * columns, 0.5, (rows * columns) as u64));
    let weights = |values: &[Vec<f32>; 3]| {
        let [a, b, recall] = [0, 1, 2].map(|which| tensor(&values[which], shapes[which]));
        Weights { extras: [(Extra::Recall, recall)].into(), ..Weights::new(a, b) }
    };
    let (_, Weights { a, b, mut extras }) = block_on(objective.gradients(&batch, &weights(&start))).unwrap();
    for (which, gradient) in [a, b, extras.remove(&Extra::Recall).unwrap()].into_iter().enumerate() {
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
fn an_adapter_that_copies_needs_prompts() {
    let refused =
        block_on(Trainer::new(config(1, true), small_memory(), head(21, 8, 1.0, None), model(), Device::flex())).unwrap_err();
    assert_eq!(refused, TrainError::NothingToCopy);
}

#[test]
fn training_resumes_bit_for_bit() {
    // 5 steps are inside phase 1 with kappa, inside phase 2 without.
    for kappa in [0.0, 0.2] {
        let config = AdapterConfig { kappa, activation: Activation::Silu, recall: true, ..config(2, true) };
        let mut whole = trainer(config.clone(), repeating());
        train(&mut whole);
        let mut begun = trainer(config, repeating());
        for _ in 0..5 {
            block_on(begun.step()).unwrap();
        }
        let saved = block_on(begun.checkpoint()).unwrap().into_bytes();
        let head = head(V, D, 1.0, None);
        let mut resumed = block_on(Trainer::resume(&Checkpoint::from_bytes(saved), repeating(), head, Device::flex())).unwrap();
        train(&mut resumed);
        let file = |trainer: &Trainer<_>| block_on(trainer.adapter().unwrap().export("x")).unwrap();
        assert!(file(&whole) == file(&resumed), "kappa {kappa}");
    }
}

/// A mixer with the adapter of a finished training, by way of its file.
fn mixer(mut trainer: Trainer<Arc<HostRows>>) -> Mixer {
    train(&mut trainer);
    let file = block_on(trainer.adapter().unwrap().export("x")).unwrap();
    let (head, device) = (head(V, D, 1.0, None), Device::flex());
    let (_, adapter) = Adapter::import(&file, head.hash(), &device).unwrap();
    Mixer::new(head, Some(adapter), device)
}

#[test]
fn generation_reads_the_text_so_far() {
    let mixer = mixer(trainer(AdapterConfig { prediction_epochs: 40, ..config(1, false) }, counting()));
    let after = |token| {
        let written = [TokenId(7), TokenId(token)];
        let next = block_on(mixer.distributions(NOTHING, &[TokenId(11)], &written, Mix::ADAPTER)).unwrap();
        next.of(TokenId(token + 1))[0]
    };
    for token in 2..6 {
        assert!(after(token) > 0.3, "{token}: {}", after(token));
    }
}

#[test]
fn generation_recalls_the_text_so_far() {
    let mixer = mixer(trainer(returning_config(true), returning()));
    for first in 1..6 {
        let written = [first, 6, 6, 6, 6].map(TokenId);
        let next = block_on(mixer.distributions(NOTHING, &[TokenId(11)], &written, Mix::ADAPTER)).unwrap();
        let likeliest = (1..6).max_by(|a, b| next.of(TokenId(*a))[0].total_cmp(&next.of(TokenId(*b))[0]));
        assert_eq!(likeliest, Some(first));
    }
}

#[test]
fn generation_copies_from_the_prompt() {
    let mixer = mixer(trainer(config(1, true), repeating()));
    let prompt = [11, 4, 9, 2, 6, 1, 0].map(TokenId);
    for at in 1..5 {
        let next = block_on(mixer.distributions(NOTHING, &prompt, &prompt[1..=at], Mix::ADAPTER)).unwrap();
        let pema = next.pema.as_ref().unwrap();
        let mass: f32 = pema.iter().map(|log_p| log_p.exp()).sum();
        assert!((mass - 1.0).abs() < 1e-4, "{mass}");
        assert!(next.of(prompt[at + 1])[0] > 0.5, "{at}: {:?}", next.of(prompt[at + 1]));
    }
}

#[test]
fn a_text_has_at_once_the_distributions_that_it_has_token_by_token() {
    let mixer = mixer(trainer(AdapterConfig { recall: true, ..config(2, true) }, repeating()));
    let prompt = [11, 4, 9, 2, 6, 1, 0].map(TokenId);
    let unrolling = GradualUnrolling::new(Schedule::Constant, 0.5, 7).unwrap();
    assert_as_one_by_one(&mixer, [V, D], &[f16::ZERO; D], &prompt, &unrolling);
}

#[test]
fn too_long_a_prefix_is_refused() {
    assert!(config(9, false).validate().unwrap_err().to_string().contains("at most 8"));
}
