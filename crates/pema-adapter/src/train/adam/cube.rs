//! Adam's step by Pema's own kernel: one launch a matrix, where Burn's operations take thirteen.

use burn::tensor::Tensor;
use burn_cubecl::{CubeBackend, CubeDevice};

use super::{BETAS, EPSILON, Moving, shader};
use crate::kernel::{Source, contiguous, empty, launch};

/// Invocations of a workgroup.
const LANES: usize = 256;

/// Most workgroups: for more entries each goes on.
const WORKGROUPS_MAX: usize = 4096;

#[derive(Clone)]
struct AdamKernel;

impl Source for AdamKernel {
    type Key = ();

    fn key(&self) {}

    fn text(&self) -> String {
        shader::text()
    }
}

/// As [`super::one`], on the device of all.
pub(super) fn one(
    lr: f64,
    time: usize,
    w: &Tensor<2>,
    gradient: Tensor<2>,
    moments: Moving,
    device: &CubeDevice,
) -> (Tensor<2>, Moving) {
    let [beta_1, beta_2] = BETAS.map(f64::from);
    let time = time as i32 + 1;
    let begun = (1.0 - beta_2.powi(time)).sqrt();
    let rate = lr * begun / (1.0 - beta_1.powi(time));
    let bits = |x: f64| (x as f32).to_bits() as usize;

    let Moving { first, second } = moments;
    let shape = w.dims();
    let entries = shape.iter().product::<usize>();
    let read = [w.clone(), gradient, first, second].map(contiguous);
    let write = [(); 3].map(|()| empty(device, shape));
    let buffers: Vec<_> = read.iter().chain(&write).map(|tensor| &tensor.handle).collect();
    let workgroups = entries.div_ceil(LANES).min(WORKGROUPS_MAX);
    let numbers = [entries, bits(rate), bits(f64::from(EPSILON) * begun)];
    launch(&device.client(), AdamKernel, [workgroups, 1, 1], &numbers, &buffers);
    let [w, first, second] = write.map(Tensor::from_primitive::<CubeBackend>);
    (w, Moving { first, second })
}
