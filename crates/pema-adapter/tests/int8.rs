//! The int8 head: the numbers of its values in f32, and the name of the f16 head that it rounds.

mod common;

use burn::tensor::Device;
use common::{
    assert_close, block_on, dequantised, head_file, int8_file, model, noise, small_config, small_memory, tensor, train, values,
};
use pema_adapter::{Adapter, FileError, Head, HeadError, Trainer, frozen_head_cross_entropy};
use pema_core::head::{HeadForm, Int8Error};
use pema_core::id::TokenId;

const LOGITS: [(f32, Option<f32>); 2] = [(1.0, None), (0.6, Some(3.0))];

fn read(file: &[u8]) -> Head {
    Head::from_safetensors(file, 1.0, None, &Device::flex()).unwrap()
}

#[test]
fn an_int8_head_has_the_losses_gradients_and_logits_of_its_values_in_f32() {
    // The second shape has two blocks.
    for (n, d, v) in [(5, 16, 40), (3, 8, 16384 + 3)] {
        let int8 = int8_file(&noise(v * d, 0.5, 99), v, d);
        let (h, y) = (noise(n * d, 4.0, 2), (0..n).map(|i| TokenId((v - 1 - i * 7) as u32)).collect::<Vec<_>>());
        for (scale, softcap) in LOGITS {
            let [ours, plain] = [&int8, &dequantised(&int8)].map(|file| {
                let head = Head::from_safetensors(file, scale, softcap, &Device::flex()).unwrap();
                let tracked = tensor(&h, [n, d]).autodiff().require_grad();
                let losses = block_on(frozen_head_cross_entropy(tracked.clone(), &head, &y)).unwrap();
                let gradients = losses.clone().sum().backward();
                let logits = block_on(head.logits(tensor(&h, [n, d]))).unwrap();
                [losses.inner(), tracked.grad(&gradients).unwrap(), logits].map(values)
            });
            for (part, (ours, plain)) in ours.iter().zip(&plain).enumerate() {
                let plain: Vec<f64> = plain.iter().map(|x| f64::from(*x)).collect();
                assert_close(ours, &plain, 1e-4, &format!("{part}, v {v}, softcap {softcap:?}"));
            }
        }
    }
}

#[test]
fn what_is_trained_through_the_int8_head_goes_on_with_the_f16_head() {
    let w = noise(21 * 8, 0.5, 99);
    let (int8, f16) = (read(&int8_file(&w, 21, 8)), read(&head_file(&w, 21, 8)));
    assert_eq!((int8.form(), f16.form()), (HeadForm::Int8, HeadForm::F16));
    assert_eq!(int8.hash(), f16.hash());

    let mut trainer = block_on(Trainer::new(small_config(), small_memory(), int8, model(), Device::flex())).unwrap();
    (0..9).for_each(|_| drop(block_on(trainer.step()).unwrap()));
    let checkpoint = block_on(trainer.checkpoint()).unwrap();
    train(&mut trainer);
    let file = block_on(trainer.adapter().unwrap().export("mine")).unwrap();
    assert!(Adapter::import(&file, f16.hash(), &Device::flex()).is_ok());

    let mut resumed = block_on(Trainer::resume(&checkpoint, small_memory(), f16, Device::flex())).unwrap();
    train(&mut resumed);
    assert!(resumed.adapter().is_some());
}

#[test]
fn an_int8_head_that_cannot_be_used_is_refused() {
    let refuse = |bytes: &[u8]| Head::from_safetensors(bytes, 1.0, None, &Device::flex()).unwrap_err();
    let file = int8_file(&noise(24, 1.0, 1), 3, 8);
    assert!(matches!(refuse(&file[..file.len() - 1]), HeadError::File(FileError::Format(_))));
    let with_last_scale = |scale: f32| [&file[..file.len() - 4], &scale.to_le_bytes()].concat();
    for scale in [f32::NAN, f32::NEG_INFINITY] {
        assert_eq!(refuse(&with_last_scale(scale)), HeadError::Int8(Int8Error::Scale(2)));
    }
    let text = refuse(&with_last_scale(f32::NAN)).to_string();
    assert!(text.contains("scale of row 2 is not finite") && text.contains("download it again"), "{text}");
}
