//! The head's own kernels against Burn's operations on the CPU, on the same values: a head in f16, or one
//! in int8 there and in f32 here.

use burn::tensor::Device;
use half::f16;
use pema_adapter::{
    Activation, AdapterConfig, Head, MemoryBuilder, Tile, Trainer, Vocabulary,
    bench::{Step, StepShape},
    frozen_head_cross_entropy,
};
use pema_core::{
    align::{Contexts, Targets},
    id::{ContentHash, TokenId},
    memory::Shard,
    prepare::Prepared,
    wire::PromptSpec,
};

use super::{assert_close, dequantised, head_file, int8_file, noise, read, tensor_on};

/// `n, d, v`, and the logits' largest magnitude. Together: one row and many, one tile and many,
/// several chunks, ends that fall on tiles and between them.
const SHAPES: [(usize, usize, usize, f32); 7] = [
    (1, 16, 31, 1.0),
    (3, 16, 1000, 80.0),
    (64, 576, 1000, 8.0),
    (257, 16, 31, 1.0),
    (257, 640, 192, 3.0),
    (65, 80, 1000, 20.0),
    (3, 16, 49152, 3.0),
];

const LOGITS: [(f32, Option<f32>); 2] = [(1.0, None), (0.6, Some(5.0))];

/// Values that f16 holds exactly.
fn halves(count: usize, width: f32, seed: u64) -> Vec<f32> {
    noise(count, width, seed).into_iter().map(|x| f16::from_f32(x).to_f32()).collect()
}

/// Targets in the first, the last and other places of tiles.
fn targets(n: usize, v: usize) -> Vec<TokenId> {
    let edges = [0, 63, 64, v - 1, 8191, 8192];
    (0..n).map(|i| TokenId((edges.get(i).copied().unwrap_or(i * 37) % v) as u32)).collect()
}

/// Files of one head: for the device, and for the CPU. In f16, then in int8.
fn files(v: usize, d: usize, width: f32) -> [[Vec<u8>; 2]; 2] {
    let w = halves(v * d, width, 99);
    let (f16, int8) = (head_file(&w, v, d), int8_file(&w, v, d));
    let plain = dequantised(&int8);
    [[f16.clone(), f16], [int8, plain]]
}

struct Numbers {
    losses: Vec<f32>,
    untracked: Vec<f32>,
    gradient: Vec<f32>,
    logits: Vec<f32>,
}

async fn numbers(head: &Head, h: &[f32], shape: [usize; 2], y: &[TokenId], device: &Device) -> Numbers {
    let h = tensor_on(device, h, shape);
    let tracked = h.clone().autodiff().require_grad();
    let losses = frozen_head_cross_entropy(tracked.clone(), head, y).await.unwrap();
    let gradients = losses.clone().sum().backward();
    Numbers {
        losses: read(losses.inner()).await,
        untracked: read(frozen_head_cross_entropy(h.clone(), head, y).await.unwrap()).await,
        gradient: read(tracked.grad(&gradients).unwrap()).await,
        logits: read(head.logits(h.slice([0..shape[0].min(2), 0..shape[1]])).await.unwrap()).await,
    }
}

/// Losses, gradients and logits are those of the CPU within 1e-4, whichever the tile of the device's kernels.
pub async fn assert_same_head(device: &Device) {
    for (n, d, v, magnitude) in SHAPES {
        for (form, files) in ["f16", "int8"].into_iter().zip(files(v, d, 1.0)) {
            // The forms differ in how weights are read alone.
            let is_enough = |(_, softcap): &(f32, Option<f32>)| form == "f16" || (n < 100 && softcap.is_some());
            for (scale, softcap) in LOGITS.into_iter().filter(is_enough) {
                let what = format!("{form}, n {n}, d {d}, v {v}, softcap {softcap:?}");
                // A product of d such pairs has about this standard deviation over width.
                let width = magnitude / (d as f32).sqrt();
                let (h, y) = (noise(n * d, width, 7), targets(n, v));
                let [ours, plain] = [device.clone(), Device::flex()];
                let load = |file, device| Head::from_safetensors(file, scale, softcap, device).unwrap();
                let [ours_head, plain_head] = [load(&files[0], &ours), load(&files[1], &plain)];
                let expected = numbers(&plain_head, &h, [n, d], &y, &plain).await;
                let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
                let with = |tile| (format!("{what}, {tile:?}"), ours_head.clone().with_tile(tile));
                // A softcap is the same in either tile.
                let heads = match softcap {
                    None => vec![with(Tile::Gpu), with(Tile::Cpu)],
                    Some(_) => vec![(what.clone(), ours_head.clone())],
                };
                for (what, head) in heads {
                    let found = numbers(&head, &h, [n, d], &y, &ours).await;
                    assert_close(&found.losses, &wide(&expected.losses), 1e-4, &format!("losses, {what}"));
                    assert_close(&found.untracked, &wide(&expected.losses), 1e-4, &format!("losses alone, {what}"));
                    assert_close(&found.gradient, &wide(&expected.gradient), 1e-4, &format!("gradient, {what}"));
                    assert_close(&found.logits, &wide(&expected.logits), 1e-4, &format!("logits, {what}"));
                }
            }
        }
    }
}

/// A step of the paper's batch holds at most 64 MiB beside a head of `v` rows; with plain logits it would
/// be over 1 GiB for 49152. Nothing else may have used the device.
pub async fn assert_step_fits(device: &Device, v: usize) {
    let shape = StepShape { n: 2048, d: 576, v, r: 128 };
    let step = Step::new(shape, device).unwrap();
    assert!(step.take().await.unwrap().is_finite());
    let held = device.memory_pool_usage().unwrap().bytes_reserved;
    let head = (shape.v * shape.d * size_of::<f16>()) as u64;
    assert!(held <= head + (64 << 20), "{held} bytes are held, {head} of them the head");
}

/// Training with local context, recall and copying, which read rows of the head, takes the CPU's course.
pub async fn assert_same_course(device: &Device) {
    for files in files(100, 16, 0.5) {
        let courses = courses(files, device).await;
        let plain: Vec<f64> = courses[1].iter().map(|x| f64::from(*x)).collect();
        assert_close(&courses[0], &plain, 1e-3, "losses of a course");
    }
}

async fn courses(files: [Vec<u8>; 2], device: &Device) -> Vec<Vec<f32>> {
    let (pairs, steps, d, v) = (8, 5, 16, 100);
    let config = AdapterConfig {
        rank: 4,
        alpha: 4.0,
        dropout: 0.0,
        prefix: 2,
        activation: Activation::Silu,
        recall: true,
        copy: true,
        vocabulary: Vocabulary::Met { top_k: 1 },
        reconstruction_batch: 16,
        reconstruction_epochs: 1,
        prediction_batch: 16,
        prediction_epochs: 2,
        validate_every: 2,
        seed: 5,
        ..AdapterConfig::default()
    };
    let word = |pair: u32, i: u32| TokenId(1 + (pair * 7 + i * 13) % (v as u32 - 1));
    let target = |pair| (1..steps).map(|i| word(pair, i)).chain([TokenId(0)]).collect();
    let prompt = |pair| PromptSpec { tokens: (0..4).map(|i| word(pair, 3 - i)).collect(), steps };
    let prepared = Prepared {
        prompts: (0..pairs).map(prompt).collect(),
        targets: Targets::new((0..pairs).map(target).collect(), TokenId(0)).unwrap(),
        source_lens: vec![1; pairs as usize],
    };
    let rows = pairs * steps;
    let shard = Shard {
        h: noise(rows as usize * d, 1.0, 4).into_iter().map(f16::from_f32).collect(),
        hidden_size: d,
        prompt: (0..rows).map(|i| i / steps).collect(),
        step: (0..rows).map(|i| i % steps).collect(),
        token: vec![TokenId(0); rows as usize],
    };
    let mut courses = Vec::new();
    for (file, device) in files.iter().zip([device.clone(), Device::flex()]) {
        let mut memory = MemoryBuilder::new(&prepared, Contexts::Steps, d, pairs - 2);
        memory.add(0, &shard).unwrap();
        let head = Head::from_safetensors(file, 1.0, None, &device).unwrap();
        let model = ContentHash::of(b"a model");
        let mut trainer = Trainer::new(config.clone(), memory.finish().unwrap(), head, model, device).await.unwrap();
        let mut losses = Vec::new();
        while !trainer.is_done() {
            losses.push(trainer.step().await.unwrap().loss);
        }
        courses.push(losses);
    }
    courses
}
