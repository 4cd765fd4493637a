//! A native GPU, as `pema-web` tests WebGPU: `cargo test -p pema-adapter --features wgpu`, on a machine
//! that has one.
#![cfg(feature = "wgpu")]

mod common;

use burn::tensor::Device;
use common::gpu::assert_gives_the_numbers_of_the_cpu;

#[test]
fn a_gpu_gives_the_numbers_of_the_cpu() {
    common::block_on(async {
        let device = Device::wgpu_options().init_async().await.unwrap();
        assert_gives_the_numbers_of_the_cpu(&device, 49152).await;
    });
}
