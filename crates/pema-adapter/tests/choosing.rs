//! Choosing on a native GPU, as `pema-web` tests it on WebGPU.
#![cfg(feature = "wgpu")]

mod common;

use burn::tensor::Device;

#[test]
fn a_gpu_chooses_as_the_cpu() {
    let device = Device::wgpu_options().init().unwrap();
    common::block_on(common::choosing::assert_same_choices(&device));
}
