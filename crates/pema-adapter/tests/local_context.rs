//! Adapters that see the target's prefix: they learn what the paper's cannot, train and resume the
//! same, and generate from the same input that they learned from.

mod common;

use std::sync::Arc;

use burn::tensor::Device;
use common::{block_on, head, model, noise, small_config, train};
use half::f16;
use pema_adapter::{Adapter, AdapterConfig, Checkpoint, HostRows, Memory, MemoryBuilder, Mixer, Trainer};
use pema_core::align::Targets;
use pema_core::id::TokenId;
use pema_core::memory::Shard;

const V: usize = 12;
const D: usize = 8;

/// Targets that count up, each prompt from its own number, over contexts that say nothing.
fn memory() -> Memory<Arc<HostRows>> {
    let target = |first: u32| (0..6).map(|i| TokenId(1 + (first + i) % 10)).chain([TokenId(0)]).collect();
    let targets = Targets::new((0..20).map(target).collect(), TokenId(0)).unwrap();
    let rows = 20 * 7;
    let shard = Shard {
        h: noise(rows * D, 1.0, 4).into_iter().map(f16::from_f32).collect(),
        hidden_size: D,
        prompt: (0..rows as u32).map(|i| i / 7).collect(),
        step: (0..rows as u32).map(|i| i % 7).collect(),
        token: vec![TokenId(0); rows],
    };
    let mut builder = MemoryBuilder::new(&targets, D, 16);
    builder.add(0, &shard).unwrap();
    builder.finish().unwrap()
}

fn config(prefix: usize) -> AdapterConfig {
    AdapterConfig { prefix, rank: 8, alpha: 8.0, lr: 1e-2, prediction_epochs: 20, patience: 50, kappa: 0.0, ..small_config() }
}

fn trainer(prefix: usize) -> Trainer<Arc<HostRows>> {
    Trainer::new(config(prefix), memory(), head(V, D, 1.0, None), model(), Device::flex()).unwrap()
}

fn best_validation(trainer: &mut Trainer<Arc<HostRows>>) -> f32 {
    train(trainer).iter().filter_map(|p| p.validation).map(|v| v.loss).fold(f32::INFINITY, f32::min)
}

#[test]
fn the_prefix_teaches_what_contexts_do_not_tell() {
    let (without, with) = (best_validation(&mut trainer(0)), best_validation(&mut trainer(1)));
    assert!(with < 0.7 * without, "{with} with the prefix, {without} without");
}

#[test]
fn training_resumes_bit_for_bit() {
    let mut whole = trainer(2);
    train(&mut whole);
    let mut begun = trainer(2);
    for _ in 0..5 {
        block_on(begun.step()).unwrap();
    }
    let saved = block_on(begun.checkpoint()).unwrap().into_bytes();
    let head = head(V, D, 1.0, None);
    let mut resumed = Trainer::resume(&Checkpoint::from_bytes(saved), memory(), head, Device::flex()).unwrap();
    train(&mut resumed);
    let file = |trainer: &Trainer<_>| block_on(trainer.adapter().unwrap().export("x")).unwrap();
    assert!(file(&whole) == file(&resumed));
}

#[test]
fn generation_reads_the_text_so_far() {
    let mut trainer = trainer(1);
    train(&mut trainer);
    let file = block_on(trainer.adapter().unwrap().export("counts")).unwrap();
    let (head, device) = (head(V, D, 1.0, None), Device::flex());
    let (_, adapter) = Adapter::import(&file, head.hash(), &device).unwrap();
    let mixer = Mixer::new(head, Some(adapter), device);
    let h = vec![f16::ZERO; D];
    let after = |token| {
        let next = block_on(mixer.distributions(&h, &[TokenId(7), TokenId(token)], 1.0)).unwrap();
        next.of(TokenId(token + 1))[0]
    };
    for token in 2..6 {
        assert!(after(token) > 0.3, "{token}: {}", after(token));
    }
}

#[test]
fn too_long_a_prefix_is_refused() {
    assert!(config(9).validate().unwrap_err().to_string().contains("at most 8"));
}
