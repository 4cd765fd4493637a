//! Embeddings, and the head on a CPU beside Burn's operations, which nothing outside this crate sees.

use burn::tensor::{Device, TensorData};
use futures::executor::block_on;
use pema_core::head::{HEAD_TENSOR, Int8Head, int8_header};
use safetensors::{Dtype, tensor::TensorView};

use super::*;
use crate::tensor_file::read_f32;

#[test]
fn embeddings_of_an_int8_head_are_those_of_its_values_in_f32() {
    let (v, d) = (5, 4);
    let entries: Vec<i8> = (0..v * d).map(|i| (i * 37 % 255) as i8).map(|entry| entry.max(-127)).collect();
    let mut int8 = int8_header([v, d], &ContentHash::of(b"f16"));
    int8.extend_from_slice(bytemuck::cast_slice(&entries));
    int8.extend_from_slice(bytemuck::cast_slice(&[0.1_f32, 0.02, 0.3, 0.0, 1e-3]));
    let values = Int8Head::open(&int8).unwrap().rows(0..v).to_f32();
    let plain = TensorView::new(Dtype::F32, vec![v, d], bytemuck::cast_slice(&values)).unwrap();
    let plain = safetensors::serialize([(HEAD_TENSOR, plain)], None).unwrap();

    let tokens = [Some(TokenId(4)), None, Some(TokenId(0)), Some(TokenId(1))];
    let [ours, expected] = [&int8, &plain].map(|file| {
        let head = Head::from_safetensors(file, 1.0, None, &Device::flex()).unwrap();
        block_on(read_f32(head.tokens(&tokens).embeddings())).unwrap()
    });
    assert!(ours.iter().all(|x| x.is_finite()) && ours[4..8] == [0.0; 4], "{ours:?}");
    for (ours, expected) in ours.iter().zip(&expected) {
        assert!((ours - expected).abs() <= 1e-6 * expected.abs(), "{ours} instead of {expected}");
    }
}

/// Of each row: loss, then gradient; and all logits.
type Numbers = (Vec<f32>, Vec<f32>, Vec<f32>);

#[test]
fn the_pass_over_a_cpus_rows_gives_what_burns_operations_give() {
    let device = Device::flex();
    // One row and many, more than go together; one tile and many, several parts.
    for (n, d, v, magnitude) in [(1, 16, 31, 1.0), (3, 16, 1000, 80.0), (65, 48, 2100, 20.0), (257, 16, 129, 3.0)] {
        for (scale, softcap) in [(1.0, None), (0.6, Some(5.0))] {
            let noise =
                |count: usize, width: f32| (0..count).map(move |i| width * ((i * i * 31 + i * 17) % 1009) as f32 / 504.5 - width);
            let (w, shape): (Vec<f32>, _) = (noise(v * d, 0.5).collect(), LogitShape { scale, softcap });
            let h = TensorData::new(noise(n * d, magnitude / (d as f32).sqrt()).collect::<Vec<_>>(), [n, d]);
            let y: Vec<TokenId> = (0..n).map(|i| TokenId((i * 37 % v) as u32)).collect();
            let plain = PlainHead::upload([v, d], shape, &device, |rows| Ok(w[rows.start * d..rows.end * d].to_vec())).unwrap();
            let h = || Tensor::<2>::from_data(h.clone(), &device);
            let read = |tensor: Tensor<2>| block_on(read_f32(tensor)).unwrap();
            let numbers =
                |(losses, gradient): (_, Option<_>), logits| -> Numbers { (read(losses), read(gradient.unwrap()), read(logits)) };
            let expected = numbers(plain.losses(h(), &y, true), plain.logits(h()));

            let cpu = CpuHead::new(HeadRows::new(w.clone(), d, shape), &device);
            let ours = numbers(block_on(cpu.losses(h(), &y, true)).unwrap(), block_on(cpu.logits(h())).unwrap());
            let what = format!("n {n}, d {d}, v {v}, softcap {softcap:?}");
            for (ours, expected) in [(&ours.0, &expected.0), (&ours.1, &expected.1), (&ours.2, &expected.2)] {
                let largest = expected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                for (ours, expected) in ours.iter().zip(expected) {
                    assert!((ours - expected).abs() <= 2e-5 * largest, "{what}: {ours} instead of {expected}");
                }
            }
            let (untracked, none) = block_on(cpu.losses(h(), &y, false)).unwrap();
            assert!(none.is_none() && read(untracked) == ours.0, "{what}");
        }
    }
}
