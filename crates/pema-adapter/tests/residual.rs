//! Residual adapters: `h + z B_pd`, a change to what the PLM itself predicts.

mod common;

use std::sync::Arc;

use burn::tensor::Device;
use common::{assert_close, block_on, head, model, noise, small_config, tensor, train, values};
use half::f16;
use pema_adapter::{
    Activation, Adapter, AdapterConfig, Batch, ConfigError, Encoder, Head, Hidden, HostRows, Memory, MemoryBuilder, Mixer,
    Objective, Trainer, Vocabulary, Weights,
};
use pema_core::align::{Contexts, Pairing, Targets};
use pema_core::id::TokenId;
use pema_core::memory::Shard;
use pema_core::prepare::Prepared;
use pema_core::schedule::{Mix, Mixing, log_softmax};
use pema_core::wire::PromptSpec;

const V: usize = 21;
const D: usize = 8;
const PAIRS: u32 = 12;
const VALIDATION_FROM: u32 = 10;
const STEPS: u32 = 5;

fn lm_head() -> Head {
    head(V, D, 1.0, None)
}

fn h(pair: u32, step: u32) -> Vec<f16> {
    noise(D, 1.0, u64::from(1 + pair * STEPS + step)).into_iter().map(f16::from_f32).collect()
}

fn memory() -> Memory<Arc<HostRows>> {
    let target = |pair: u32| (1..STEPS).map(|step| TokenId(1 + (pair + step) % 7)).chain([TokenId(0)]).collect();
    let pairs = Prepared {
        prompts: (0..PAIRS).map(|_| PromptSpec { tokens: vec![TokenId(3), TokenId(5)], steps: STEPS }).collect(),
        targets: Targets::new((0..PAIRS).map(target).collect(), TokenId(0)).unwrap(),
        source_lens: vec![2; PAIRS as usize],
    };
    let places = || (0..PAIRS).flat_map(|pair| (0..STEPS).map(move |step| (pair, step)));
    let shard = Shard {
        h: places().flat_map(|(pair, step)| h(pair, step)).collect(),
        hidden_size: D,
        prompt: places().map(|(pair, _)| pair).collect(),
        step: places().map(|(_, step)| step).collect(),
        token: places().map(|(pair, step)| TokenId(1 + (pair * step) % 9)).collect(),
    };
    let mut builder = MemoryBuilder::new(&pairs, Contexts::Steps, D, VALIDATION_FROM);
    builder.add(0, &shard).unwrap();
    builder.finish().unwrap()
}

fn config() -> AdapterConfig {
    AdapterConfig {
        residual: true,
        kappa: 0.0,
        rank: 4,
        alpha: 4.0,
        lr: 3e-2,
        prediction_epochs: 5,
        patience: 50,
        ..small_config()
    }
}

fn trained(config: AdapterConfig) -> Adapter {
    let mut trainer = block_on(Trainer::new(config, memory(), lm_head(), model(), Device::flex())).unwrap();
    train(&mut trainer);
    trainer.adapter().unwrap()
}

/// The adapter's distribution and the PLM's after the second of a pair's steps.
fn distributions(adapter: Adapter, mix: Mix) -> [Vec<f32>; 3] {
    let mixer = Mixer::new(lm_head(), Some(adapter), Device::flex());
    let (first, current, prompt) = (h(3, 0), h(3, 1), [TokenId(3), TokenId(5)]);
    let hidden = Hidden { prompt: &first, current: &current };
    let found = block_on(mixer.distributions(hidden, &prompt, &[TokenId(2)], mix)).unwrap();
    [found.pema.unwrap(), found.plm.unwrap(), found.mixture]
}

const EVEN: Mix = Mix { mixing: Mixing::Geometric, lambda: 0.5 };

fn exact(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| x.into()).collect()
}

#[test]
fn before_it_has_learned_anything_it_is_the_model() {
    let trainer = block_on(Trainer::new(config(), memory(), lm_head(), model(), Device::flex())).unwrap();
    let [pema, plm, mixture] = distributions(trainer.adapter().unwrap(), EVEN);
    assert_close(&pema, &exact(&plm), 1e-5, "the adapter");
    assert_close(&mixture, &exact(&plm), 1e-5, "the mixture");
}

#[test]
fn its_loss_is_that_of_the_changed_hidden_state() {
    let r = 4;
    let (a, b, h) = (noise(D * r, 0.5, 1), noise(r * D, 0.5, 2), noise(D, 1.0, 3));
    let (weights, y) = (Weights::new(tensor(&a, [D, r]), tensor(&b, [r, D])), TokenId(6));
    let encoder = Encoder { scale: 1.0, activation: Activation::Linear, residual: true };
    let objective = Objective::Prediction { encoder, kappa: 0.0, b_rct: None, head: lm_head() };
    let batch = Batch::new(tensor(&h, [1, D]), vec![y]);
    let (losses, gradients) = block_on(objective.gradients(&batch, &weights)).unwrap();
    let z: Vec<f32> = (0..r).map(|k| (0..D).map(|i| h[i] * a[i * r + k]).sum()).collect();
    let changed: Vec<f32> = (0..D).map(|j| h[j] + (0..r).map(|k| z[k] * b[k * D + j]).sum::<f32>()).collect();
    let loss = |changed: &[f32]| -log_softmax(&values(block_on(lm_head().logits(tensor(changed, [1, D]))).unwrap()))[6];
    assert_close(&[losses.loss], &[loss(&changed).into()], 1e-4, "the loss");
    // By a difference: B's first entry moves the first entry of the hidden state by z.
    let moved = |by: f32| loss(&[&[changed[0] + by * z[0]], &changed[1..]].concat());
    let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
    let found = values(gradients.b)[0];
    assert!((found - slope).abs() < 1e-3, "{found} {slope}");
}

#[test]
fn it_predicts_every_token_though_it_has_learned_over_few() {
    let few = AdapterConfig { vocabulary: Vocabulary::Met { top_k: 1 }, ..config() };
    let adapter = trained(few.clone());
    let changed = adapter.h_pd(tensor(&h(3, 1).iter().map(|x| x.to_f32()).collect::<Vec<_>>(), [1, D]));
    let expected = log_softmax(&values(block_on(lm_head().logits(changed)).unwrap()));
    let [pema, plm, _] = distributions(adapter, EVEN);
    assert_close(&pema, &exact(&expected), 1e-4, "the adapter");
    assert!(pema.iter().zip(&plm).any(|(pema, plm)| (pema - plm).abs() > 0.1), "it has learned nothing");
    let [other, ..] = distributions(trained(AdapterConfig { residual: false, ..few }), EVEN);
    let (unmet, of_others) = (|log_p: &&f32| **log_p < -1e3, other.iter());
    assert!(pema.iter().filter(unmet).count() == 0 && of_others.filter(unmet).count() > 0, "{other:?}");
}

#[test]
fn its_file_says_that_it_is_one() {
    let adapter = trained(config());
    let file = block_on(adapter.export("change")).unwrap();
    let (_, read) = Adapter::import(&file, lm_head().hash(), &Device::flex()).unwrap();
    assert!(read.origin().config.residual);
    assert_eq!(distributions(read, EVEN), distributions(adapter, EVEN));
}

#[test]
fn it_needs_a_context_of_every_step() {
    let of_prompts = AdapterConfig { contexts: Contexts::Prompt, ..config() };
    for refused in [of_prompts, AdapterConfig { pairing: Pairing::Prompt, ..config() }] {
        assert_eq!(refused.validate(), Err(ConfigError::NothingToChange));
    }
    assert_eq!(AdapterConfig { pairing: Pairing::Alignment, ..config() }.validate(), Ok(()));
}
