//! The head loss against finite differences, against a plain composition, and at its edges.

mod common;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{assert_close, block_on, head, head_file, noise, tensor, values};
use pema_adapter::{Head, LossError, frozen_head_cross_entropy};
use pema_core::id::TokenId;

/// No softcap; one; one with a scale. Logits stay small, so that f32 differences are smooth.
const SHAPES: [(f32, Option<f32>); 3] = [(1.0, None), (1.0, Some(2.0)), (0.6, Some(3.0))];

fn loss(h: &[f32], shape: [usize; 2], head: &Head, y: &[TokenId]) -> f64 {
    let loss = block_on(frozen_head_cross_entropy(tensor(h, shape), head, y)).unwrap().mean();
    f64::from(values(loss)[0])
}

fn loss_and_gradient(h: &[f32], shape: [usize; 2], head: &Head, y: &[TokenId]) -> (f32, Vec<f32>) {
    let h = tensor(h, shape).autodiff().require_grad();
    let loss = block_on(frozen_head_cross_entropy(h.clone(), head, y)).unwrap().mean();
    let gradients = loss.backward();
    (values(loss.inner())[0], values(h.grad(&gradients).unwrap()))
}

fn targets(n: usize, v: usize) -> Vec<TokenId> {
    (0..n).map(|i| TokenId((i * 5 % v) as u32)).collect()
}

#[test]
fn head_loss_gradient_agrees_with_finite_differences() {
    // Central differences at 1e-2: truncation about 1e-4, rounding about 1e-5 of the gradient.
    let (n, d, v, step) = (2, 5, 11, 1e-2_f32);
    let (h, y) = (noise(n * d, 1.0, 1), targets(n, v));
    for (scale, softcap) in SHAPES {
        let head = head(v, d, scale, softcap);
        let at = |i: usize, by: f32| {
            let mut moved = h.clone();
            moved[i] += by;
            loss(&moved, [n, d], &head, &y)
        };
        let slope = |i| (at(i, step) - at(i, -step)) / (2.0 * f64::from(step));
        let expected: Vec<f64> = (0..n * d).map(slope).collect();
        let (_, gradient) = loss_and_gradient(&h, [n, d], &head, &y);
        assert_close(&gradient, &expected, 1e-3, &format!("scale {scale}, softcap {softcap:?}"));
    }
}

#[test]
fn head_loss_agrees_with_the_plain_composition() {
    // More rows than one chunk.
    let (n, d, v) = (300, 6, 40);
    let (h, y) = (noise(n * d, 2.0, 2), targets(n, v));
    for (scale, softcap) in SHAPES {
        let head = head(v, d, scale, softcap);
        let tracked = tensor(&h, [n, d]).autodiff().require_grad();
        let index = y.iter().map(|y| y.0 as i32).collect::<Vec<_>>();
        let index = Tensor::<2, Int>::from_data(TensorData::new(index, [n, 1]), &Device::flex().autodiff());
        let logits = tracked.clone().matmul(tensor(&noise(v * d, 0.5, 99), [v, d]).autodiff().transpose()).mul_scalar(scale);
        let logits = match softcap {
            Some(cap) => logits.div_scalar(cap).tanh().mul_scalar(cap),
            None => logits,
        };
        let plain = log_softmax(logits, 1).gather(1, index).mean().neg();
        let gradients = plain.backward();
        let expected: Vec<f64> = values(tracked.grad(&gradients).unwrap()).into_iter().map(f64::from).collect();

        let (loss, gradient) = loss_and_gradient(&h, [n, d], &head, &y);
        assert_close(&[loss], &[f64::from(values(plain.inner())[0])], 1e-6, "loss");
        assert_close(&gradient, &expected, 1e-5, "gradient");
    }
}

#[test]
fn head_loss_is_the_same_with_and_without_a_gradient() {
    let (n, d, v) = (7, 6, 40);
    let (h, y, head) = (noise(n * d, 2.0, 2), targets(n, v), head(v, d, 1.0, Some(4.0)));
    let (with, _) = loss_and_gradient(&h, [n, d], &head, &y);
    assert_eq!(f64::from(with), loss(&h, [n, d], &head, &y));
}

#[test]
fn head_loss_stays_finite_for_huge_logits() {
    let (n, d, v) = (3, 4, 9);
    let h = noise(n * d, 1e6, 4);
    let (loss, gradient) = loss_and_gradient(&h, [n, d], &head(v, d, 1.0, None), &targets(n, v));
    assert!(loss.is_finite() && gradient.iter().all(|g| g.is_finite()), "{loss} {gradient:?}");
}

#[test]
fn head_loss_spans_vocabulary_blocks() {
    // Two blocks, the second with 3 rows; targets in both.
    let (n, d, v) = (4, 2, 16384 + 3);
    let y = [5, 16383, 16384, 16386].map(TokenId);
    let (w, h) = (noise(v * d, 0.5, 6), noise(n * d, 1.0, 7));
    let head = Head::from_safetensors(&head_file(&w, v, d), 1.0, None, &Device::flex()).unwrap();
    assert_eq!(block_on(head.logits(tensor(&h, [n, d]))).unwrap().dims(), [n, v]);

    let mut expected = 0.0;
    let mut slopes = vec![0.0; n * d];
    for (i, y) in y.iter().enumerate() {
        let dot = |row: usize| (0..d).map(|k| f64::from(h[i * d + k]) * f64::from(w[row * d + k])).sum::<f64>();
        let mass: f64 = (0..v).map(|row| dot(row).exp()).sum();
        expected += (mass.ln() - dot(y.0 as usize)) / n as f64;
        for row in 0..v {
            let p = dot(row).exp() / mass - f64::from(u8::from(row == y.0 as usize));
            (0..d).for_each(|k| slopes[i * d + k] += p * f64::from(w[row * d + k]) / n as f64);
        }
    }
    let (loss, gradient) = loss_and_gradient(&h, [n, d], &head, &y);
    assert_close(&[loss], &[expected], 1e-6, "loss");
    assert_close(&gradient, &slopes, 1e-5, "gradient");
}

#[test]
fn head_loss_refuses_batches_without_a_loss() {
    let head = head(9, 4, 1.0, None);
    let refuse = |h: Tensor<2>, y: &[TokenId]| block_on(frozen_head_cross_entropy(h, &head, y)).unwrap_err();
    let empty = Tensor::<2>::zeros([0, 4], &Device::flex());
    assert_eq!(refuse(empty, &[]), LossError::EmptyBatch);
    let one = tensor(&[0.0; 4], [1, 4]);
    let outside = LossError::Target { target: TokenId(9), v: 9 };
    assert_eq!(refuse(one.clone(), &[TokenId(9)]), outside);
    assert!(matches!(refuse(one, &[TokenId(1), TokenId(2)]), LossError::Shape { .. }));
    assert!(matches!(refuse(tensor(&[0.0; 5], [1, 5]), &[TokenId(1)]), LossError::Shape { .. }));
}
