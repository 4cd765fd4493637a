//! The trainer on the devices of a tab, against the reference numbers.

use burn::tensor::Device;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{
    constructors::run_constructors,
    device::Devices,
    protocol::{DeviceChoice, DeviceKind},
};

#[path = "../../../pema-adapter/tests/common/mod.rs"]
mod common;
use common::{
    choosing::{Kind, Writer},
    gpu::assert_gives_the_numbers_of_the_cpu,
    training::{assert_golden_gradients, assert_golden_losses},
};

#[wasm_bindgen_test]
async fn golden_losses_and_gradients_on_the_cpu() {
    assert_golden_losses(&Device::flex(), 1e-5).await;
    assert_golden_gradients(&Device::flex(), 1e-5).await;
}

/// One test for all of WebGPU, because a worker can start it once.
#[wasm_bindgen_test]
async fn webgpu_gives_the_numbers_of_the_cpu() {
    run_constructors();
    let found = Devices::survey().await;
    let (kind, device) = Devices::default().open(DeviceChoice::Webgpu, &found).await.unwrap();
    assert_eq!(kind, DeviceKind::Webgpu);
    // A short vocabulary, because what a step holds does not grow with it, and software is slow.
    assert_gives_the_numbers_of_the_cpu(&device, 4096).await;
    for kind in [Kind::LooksBack, Kind::ContrastLooksBack] {
        assert_few_submissions(&device, kind).await;
    }
}

#[wasm_bindgen(inline_js = "
const submit = GPUQueue.prototype.submit;
let count = 0;
GPUQueue.prototype.submit = function (...commands) {
  count += 1;
  return submit.apply(this, commands);
};
export const submissions = () => count;
")]
extern "C" {
    /// To any queue, since this module was loaded.
    fn submissions() -> u32;
}

/// A token of a mixture that looks back at all there is takes two: its work's, and CubeCL's of the copy that
/// is read.
async fn assert_few_submissions(device: &Device, kind: Kind) {
    let writer = Writer::new(device, kind).await;
    writer.write().await; // Compiles.
    let (before, tokens) = (submissions(), 5);
    for _ in 0..tokens {
        writer.write().await;
    }
    let taken = submissions() - before;
    assert!(taken > 0, "submissions are not seen");
    assert!(taken <= 2 * tokens, "{kind:?}: {taken} submissions for {tokens} tokens");
}

#[wasm_bindgen_test]
async fn a_software_adapter_is_not_chosen_unless_forced() {
    let found = Devices::survey().await;
    let gpu = found.iter().find(|device| device.kind == DeviceKind::Webgpu).unwrap();
    assert!(!gpu.name.is_empty(), "this browser should have been started with WebGPU");
    let (kind, _) = Devices::default().open(DeviceChoice::Auto, &found).await.unwrap();
    assert_eq!(kind == DeviceKind::Webgpu, gpu.recommended);
}
