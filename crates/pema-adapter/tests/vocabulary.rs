//! Phase 2 over the tokens that a memory meets: the same as over all where these are all, nothing for
//! others, and the same again after a file.

mod common;

use std::sync::Arc;

use burn::tensor::Device;
use common::{block_on, head, model, noise, small_config, train, values};
use half::f16;
use pema_adapter::{Adapter, AdapterConfig, Checkpoint, Hidden, HostRows, Memory, Mixer, Trainer, Vocabulary};
use pema_core::id::TokenId;
use pema_core::schedule::{Mix, Mixing};

const V: usize = 30;
const D: usize = 8;

/// Rows whose targets are tokens 3, 7 and 12 (or all, one after the other).
fn memory(all: bool) -> Memory<Arc<HostRows>> {
    let n = 2 * V;
    let rows = HostRows::new(D, noise(n * D, 1.0, 4).into_iter().map(f16::from_f32).collect()).unwrap();
    let y = (0..n).map(|i| TokenId(if all { i % V } else { [3, 7, 12][i % 3] } as u32)).collect();
    Memory::new(Arc::new(rows), y, (0..n - 6).collect(), (n - 6..n).collect()).unwrap()
}

fn trainer(vocabulary: Vocabulary, all: bool) -> Trainer<Arc<HostRows>> {
    let config = AdapterConfig { vocabulary, ..small_config() };
    block_on(Trainer::new(config, memory(all), head(V, D, 1.0, None), model(), Device::flex())).unwrap()
}

fn met(top_k: usize) -> Vocabulary {
    Vocabulary::Met { top_k }
}

/// The adapter by way of its file.
fn trained(mut trainer: Trainer<Arc<HostRows>>) -> Adapter {
    train(&mut trainer);
    let file = block_on(trainer.adapter().unwrap().export("x")).unwrap();
    Adapter::import(&file, head(V, D, 1.0, None).hash(), &Device::flex()).unwrap().1
}

fn distributions(adapter: Adapter, mix: Mix) -> pema_adapter::Distributions {
    let mixer = Mixer::new(head(V, D, 1.0, None), Some(adapter), Device::flex());
    let h: Vec<f16> = noise(D, 1.0, 9).into_iter().map(f16::from_f32).collect();
    block_on(mixer.distributions(Hidden { prompt: &h, current: &h }, &[TokenId(1)], &[], mix)).unwrap()
}

#[test]
fn a_vocabulary_that_is_met_whole_is_the_full_one() {
    let h_pd = |vocabulary| values(trained(trainer(vocabulary, true)).h_pd(common::tensor(&[1.0; D], [1, D])));
    assert_eq!(h_pd(Vocabulary::Full), h_pd(met(0)));
}

#[test]
fn what_was_not_met_is_left_to_the_model() {
    let next = distributions(trained(trainer(met(0), false)), Mix { mixing: Mixing::Arithmetic, lambda: 0.5 });
    let all: Vec<[f32; 3]> = (0..V as u32).map(|id| next.of(TokenId(id))).collect();
    assert!((all.iter().map(|[pema, ..]| pema).sum::<f32>() - 1.0).abs() < 1e-5);
    for (id, [pema, plm, mixture]) in all.into_iter().enumerate() {
        assert_eq!(pema > 0.0, [3, 7, 12].contains(&id), "{id}: {pema}");
        assert!((mixture - 0.5 * (pema + plm)).abs() < 1e-6, "{id}");
    }
}

#[test]
fn the_models_likeliest_tokens_are_kept_too() {
    let kept = |top_k| {
        let next = distributions(trained(trainer(met(top_k), false)), Mix::ADAPTER);
        (0..V as u32).filter(|id| next.of(TokenId(*id))[0] > 0.0).count()
    };
    assert_eq!(kept(0), 3);
    assert!(kept(1) > 3 && kept(1) < V, "{}", kept(1));
    assert_eq!(kept(V), V);
}

#[test]
fn training_resumes_bit_for_bit() {
    let mut whole = trainer(met(1), false);
    train(&mut whole);
    // Both inside phase 1 and inside phase 2.
    for steps in [1, 9] {
        let mut begun = trainer(met(1), false);
        for _ in 0..steps {
            block_on(begun.step()).unwrap();
        }
        let saved = block_on(begun.checkpoint()).unwrap();
        let head = head(V, D, 1.0, None);
        let mut resumed = block_on(Trainer::resume(&saved, memory(false), head, Device::flex())).unwrap();
        train(&mut resumed);
        let file = |trainer: &Trainer<_>| block_on(trainer.adapter().unwrap().export("x")).unwrap();
        assert!(file(&whole) == file(&resumed), "after {steps} steps");
    }
}

#[test]
fn a_file_whose_vocabulary_is_not_its_memorys_is_refused() {
    let saved = block_on(trainer(met(0), false).checkpoint()).unwrap().into_bytes();
    let (from, to) = (br#"[3,7,12]"#, br#"[3,8,12]"#);
    let at = saved.windows(from.len()).position(|bytes| bytes == from).unwrap();
    let mut changed = saved;
    changed[at..at + to.len()].copy_from_slice(to);
    let changed = Checkpoint::from_bytes(changed);
    let refused = block_on(Trainer::resume(&changed, memory(false), head(V, D, 1.0, None), Device::flex())).unwrap_err();
    let refused = refused.to_string();
    assert!(refused.contains("its vocabulary"), "{refused}");
}
