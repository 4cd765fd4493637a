//! The trainer on the devices of a tab, against the reference numbers.

use burn::tensor::Device;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{
    device::Devices,
    protocol::{DeviceChoice, DeviceKind},
};

#[path = "../../../pema-adapter/tests/common/mod.rs"]
mod common;
use common::{
    choosing::assert_same_choices,
    kernels::{assert_same_course, assert_same_head, assert_step_fits},
    training::{assert_golden_gradients, assert_golden_losses, assert_same_distributions},
};

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
    // A short vocabulary, because what a step holds does not grow with it, and software is slow.
    assert_step_fits(&device, 4096).await;
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
