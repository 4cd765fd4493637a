//! Embeddings, which nothing outside this crate sees.

use burn::tensor::Device;
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
