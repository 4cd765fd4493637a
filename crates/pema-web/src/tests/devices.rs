//! The trainer on the devices of a tab, against the reference numbers.

use burn::tensor::Device;
use pema_adapter::{Adapter, Hidden, Mixer, Phase};
use pema_core::schedule::{Mix, Mixing};
use wasm_bindgen_test::wasm_bindgen_test;

use super::head::{assert_same_course, assert_same_head, assert_step_fits};
use crate::{
    device::Devices,
    protocol::{DeviceChoice, DeviceKind},
};

#[path = "../../../pema-adapter/tests/common/mod.rs"]
pub mod common;
use common::{Golden, assert_close, choosing::assert_same_choices};

fn golden() -> [Golden; 2] {
    macro_rules! case {
        ($name:literal) => {
            Golden::parse(
                $name,
                include_str!(concat!("../../../../tests/golden/", $name, ".json")),
                include_bytes!(concat!("../../../../tests/golden/", $name, ".safetensors")),
            )
        };
    }
    [case!("plain"), case!("softcap")]
}

/// Losses of every step of both phases, through the trainer.
async fn assert_golden_losses(device: &Device, tolerance: f64) {
    for golden in golden() {
        let mut trainer = golden.trainer(device).await;
        let mut progress = Vec::new();
        while !trainer.is_done() {
            progress.push(trainer.step().await.unwrap());
        }
        for (phase, name) in [(Phase::Reconstruction, "/phase1_loss"), (Phase::Prediction, "/phase2_loss")] {
            let losses: Vec<f32> = progress.iter().filter(|p| p.phase == phase).map(|p| p.loss).collect();
            assert_close(&losses, &golden.list(name), tolerance, &format!("{}{name}", golden.name));
        }
    }
}

/// Losses and gradients of phase 2's first step.
async fn assert_golden_gradients(device: &Device, tolerance: f64) {
    for golden in golden() {
        golden.assert_first_prediction_step(device, tolerance).await;
    }
}

/// An adapter trained on a device gives, after export and import, the distributions that the CPU
/// computes from the same file.
async fn assert_same_distributions(device: &Device, tolerance: f64) {
    let [golden, _] = golden();
    let mut trainer = golden.trainer(device).await;
    while !trainer.is_done() {
        trainer.step().await.unwrap();
    }
    let file = trainer.adapter().unwrap().export("golden").await.unwrap();
    let h: Vec<half::f16> = golden.tensor("h")[..golden.size("d")].iter().map(|x| half::f16::from_f32(*x)).collect();
    let hidden = Hidden { prompt: &h, current: &h };
    let mix = Mix { mixing: Mixing::Geometric, lambda: 0.6 };
    let mut mixtures = Vec::new();
    for device in [device.clone(), Device::flex()] {
        let head = golden.head(&device);
        let (_, adapter) = Adapter::import(&file, head.hash(), &device).unwrap();
        let mixed = Mixer::new(head, Some(adapter), device).distributions(hidden, &[], &[], mix).await.unwrap();
        mixtures.push(mixed.mixture);
    }
    let expected: Vec<f64> = mixtures[1].iter().map(|x| f64::from(*x)).collect();
    assert_close(&mixtures[0], &expected, tolerance, "mixture");
}

#[wasm_bindgen_test]
async fn golden_losses_and_gradients_on_the_cpu() {
    assert_golden_losses(&Device::flex(), 1e-5).await;
    assert_golden_gradients(&Device::flex(), 1e-5).await;
}

/// One test for all of WebGPU, because a worker can start it once.
#[wasm_bindgen_test]
async fn webgpu_gives_the_numbers_of_the_cpu() {
    let found = Devices::survey().await;
    let (kind, device) = Devices::default().open(DeviceChoice::Webgpu, &found).await.unwrap();
    assert_eq!(kind, DeviceKind::Webgpu);
    assert_step_fits(&device).await;
    assert_golden_losses(&device, 1e-3).await;
    assert_golden_gradients(&device, 1e-3).await;
    assert_same_distributions(&device, 1e-3).await;
    assert_same_head(&device).await;
    assert_same_course(&device).await;
    assert_same_choices(&device).await;
}

#[wasm_bindgen_test]
async fn a_software_adapter_is_not_chosen_unless_forced() {
    let found = Devices::survey().await;
    let gpu = found.iter().find(|device| device.kind == DeviceKind::Webgpu).unwrap();
    assert!(!gpu.name.is_empty(), "this browser should have been started with WebGPU");
    let (kind, _) = Devices::default().open(DeviceChoice::Auto, &found).await.unwrap();
    assert_eq!(kind == DeviceKind::Webgpu, gpu.recommended);
}
