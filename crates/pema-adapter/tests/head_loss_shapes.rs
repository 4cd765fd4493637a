//! The head loss against a plain composition of Burn's operations, over shapes: one row and many,
//! short and long vocabularies, targets on the edges of tiles, logits that would overflow.

mod common;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{assert_close, block_on, head_file, noise, tensor, values};
use half::f16;
use pema_adapter::{Head, frozen_head_cross_entropy};
use pema_core::id::TokenId;

/// Rows of the batch: one, few, a tile, and more than the chunk of 256.
const ROWS: [usize; 4] = [1, 3, 64, 257];
const HIDDEN: [usize; 3] = [16, 576, 640];
const SOFTCAPS: [Option<f32>; 2] = [None, Some(5.0)];
/// Largest magnitude of logits without a softcap; `exp(80)` times a vocabulary overflows f32.
const MAGNITUDE: f32 = 80.0;
const TOLERANCE: f64 = 1e-4;

/// Values that f16 holds exactly, as the head's are.
fn halves(count: usize, seed: u64) -> Vec<f32> {
    noise(count, 1.0, seed).into_iter().map(|x| f16::from_f32(x).to_f32()).collect()
}

/// Targets in the first, the last and other places of tiles of 64, chunks of 8192 and blocks of 16384.
fn targets(n: usize, v: usize) -> Vec<TokenId> {
    let edges = [v - 1, 0, 63, 64, 8191, 8192, 16383, 16384, 32767, 32768];
    (0..n).map(|i| TokenId((edges.get(i).copied().unwrap_or(i * 37) % v) as u32)).collect()
}

/// `h` such that the largest logit of the first 1000 tokens has this magnitude.
fn hidden(n: usize, w: &[f32], d: usize, magnitude: f32) -> Vec<f32> {
    let h = noise(n * d, 1.0, 7);
    let product = |h: &[f32], w: &[f32]| h.iter().zip(w).map(|(a, b)| a * b).sum::<f32>().abs();
    let largest = h.chunks(d).flat_map(|h| w.chunks(d).take(1000).map(move |w| product(h, w))).fold(0.0, f32::max);
    h.into_iter().map(|x| x * magnitude / largest).collect()
}

/// Losses `[n]` and the gradient of their sum, `[n, d]`.
fn plainly(h: &[f32], shape: [usize; 2], w: &[f32], y: &[TokenId], softcap: Option<f32>) -> [Vec<f64>; 2] {
    let [n, d] = shape;
    let device = Device::flex().autodiff();
    let h = tensor(h, shape).autodiff().require_grad();
    let products = h.clone().matmul(tensor(w, [w.len() / d, d]).autodiff().transpose());
    let logits = match softcap {
        Some(cap) => products.div_scalar(cap).tanh().mul_scalar(cap),
        None => products,
    };
    let y = y.iter().map(|y| y.0 as i32).collect::<Vec<_>>();
    let y = Tensor::<2, Int>::from_data(TensorData::new(y, [n, 1]), &device);
    let losses = log_softmax(logits, 1).gather(1, y).neg();
    let gradients = losses.clone().sum().backward();
    [losses.inner(), h.grad(&gradients).unwrap()].map(|part| values(part).into_iter().map(f64::from).collect())
}

fn assert_same(v: usize) {
    for d in HIDDEN {
        let w = halves(v * d, 99);
        let file = head_file(&w, v, d);
        for softcap in SOFTCAPS {
            let head = Head::from_safetensors(&file, 1.0, softcap, &Device::flex()).unwrap();
            for n in ROWS {
                let what = format!("n {n}, d {d}, v {v}, softcap {softcap:?}");
                let (h, y) = (hidden(n, &w, d, MAGNITUDE), targets(n, v));
                let [losses, gradient] = plainly(&h, [n, d], &w, &y, softcap);
                let tracked = tensor(&h, [n, d]).autodiff().require_grad();
                let ours = block_on(frozen_head_cross_entropy(tracked.clone(), &head, &y)).unwrap();
                let gradients = ours.clone().sum().backward();
                assert_close(&values(ours.inner()), &losses, TOLERANCE, &format!("losses, {what}"));
                assert_close(&values(tracked.grad(&gradients).unwrap()), &gradient, TOLERANCE, &format!("gradient, {what}"));
            }
        }
    }
}

#[test]
fn head_loss_is_the_plain_one_for_vocabularies_below_a_tile() {
    assert_same(31);
}

#[test]
fn head_loss_is_the_plain_one_for_vocabularies_of_many_tiles() {
    assert_same(1000);
}

#[test]
fn head_loss_is_the_plain_one_for_vocabularies_of_many_blocks() {
    assert_same(49152);
}
