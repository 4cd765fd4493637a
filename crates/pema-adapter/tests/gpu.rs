//! A native GPU, as `pema-web` tests WebGPU: `cargo test -p pema-adapter --features wgpu`, on a machine
//! that has one.
#![cfg(feature = "wgpu")]

mod common;

use burn::tensor::Device;
use common::{
    choosing::assert_same_choices,
    kernels::{assert_same_course, assert_same_head, assert_step_fits},
    training::{assert_golden_gradients, assert_golden_losses, assert_same_distributions},
};

#[test]
fn a_gpu_gives_the_numbers_of_the_cpu() {
    common::block_on(async {
        let device = Device::wgpu_options().init_async().await.unwrap();
        assert_step_fits(&device, 49152).await;
        assert_golden_losses(&device, 1e-3).await;
        assert_golden_gradients(&device, 1e-3).await;
        assert_same_distributions(&device, 1e-3).await;
        assert_same_head(&device).await;
        assert_same_course(&device).await;
        assert_same_choices(&device).await;
    });
}
