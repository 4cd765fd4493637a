//! Products of matrices: by Pema's own code where WGSL runs and in wasm, by Burn's elsewhere.
//!
//! What a step multiplies beside the head is thin: `[n, d]` by `[d, r]`, `[n, r]` by `[r, d]`, and their
//! gradients. Burn's kernels for GPUs are made for large products, and copy what is transposed.

#[cfg(any(feature = "webgpu", feature = "wgpu"))]
mod cube;
#[cfg(any(test, target_family = "wasm"))]
mod flex;
#[cfg(any(test, target_family = "wasm", feature = "webgpu", feature = "wgpu"))]
mod op;
#[cfg(any(test, feature = "webgpu", feature = "wgpu"))]
mod shader;

use burn::tensor::Tensor;

use crate::tile::Tile;

/// `a b`: `[m, k], [k, n] -> [m, n]`, f32; differentiable in each that is tracked by autodiff.
///
/// # Panics
///
/// If the shapes do not fit each other, or the devices differ.
pub fn product(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    #[cfg(any(feature = "webgpu", feature = "wgpu"))]
    if let Some(device) = crate::kernel::device(&a.device()) {
        let tile = crate::kernel::tile(&device);
        return op::product(a, b, cube::ByKernel { device, tile });
    }
    // A single row waits for memory, whoever multiplies it.
    #[cfg(target_family = "wasm")]
    if crate::device::is_cpu(&a.device()) && a.dims()[0] > 1 {
        return op::product(a, b, flex::InBlocks);
    }
    a.matmul(b)
}

/// The same; the kernel sums products in this tile rather than in the device's.
///
/// # Panics
///
/// As [`product`].
#[cfg_attr(not(any(feature = "webgpu", feature = "wgpu")), expect(unused_variables, reason = "no kernel has a tile"))]
pub fn product_with_tile(a: Tensor<2>, b: Tensor<2>, tile: Tile) -> Tensor<2> {
    #[cfg(any(feature = "webgpu", feature = "wgpu"))]
    if let Some(device) = crate::kernel::device(&a.device()) {
        return op::product(a, b, cube::ByKernel { device, tile });
    }
    a.matmul(b)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// Both products and all gradients, of operands in these layouts.
    fn assert_like_burn_s([m, k, n]: [usize; 3], layout: impl Fn(Tensor<2>) -> Tensor<2>) {
        let device = Device::flex().autodiff();
        device.seed(7);
        let of = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device).require_grad();
        let [a, b] = [of([k, m]), of([n, k])];
        let results = [true, false].map(|ours| {
            let [x, y] = [&a, &b].map(|x| layout(x.clone()).transpose());
            let product = if ours { op::product(x, y, flex::InBlocks) } else { x.matmul(y) };
            let gradients = (product.clone() * product.clone()).mean().backward();
            [product.inner(), a.grad(&gradients).unwrap(), b.grad(&gradients).unwrap()]
        });
        let [ours, burns] = results;
        for (ours, burns) in ours.into_iter().zip(burns) {
            let difference: f32 = (ours - burns).abs().max().into_scalar();
            assert!(difference < 1e-4, "[{m}, {k}] by [{k}, {n}]: {difference}");
        }
    }

    #[test]
    fn blocks_multiply_like_burn() {
        for shape in [[2, 1, 1], [5, 16, 3], [64, 129, 31], [8, 8, 8]] {
            assert_like_burn_s(shape, |x| x);
            assert_like_burn_s(shape, |x| (x.clone() + 1.0).transpose().mul_scalar(0.5).transpose());
            assert_like_burn_s(shape, |x| x.flip([0, 1]));
        }
    }

    #[test]
    fn blocks_multiply_what_is_expanded() {
        let device = Device::flex();
        let a = Tensor::<2>::from_data([[1.0], [2.0], [3.0]], &device).expand([3, 4]);
        let b = Tensor::<2>::from_data([[1.0, 2.0]], &device).expand([4, 2]);
        let product: Vec<f32> = op::product(a, b, flex::InBlocks).into_data().try_into_vec().unwrap();
        assert_eq!(product, [4.0, 8.0, 8.0, 16.0, 12.0, 24.0]);
    }

    #[test]
    fn blocks_multiply_nothing() {
        let device = Device::flex();
        let product = op::product(Tensor::zeros([2, 0], &device), Tensor::zeros([0, 3], &device), flex::InBlocks);
        assert_eq!(product.into_data().try_into_vec::<f32>().unwrap(), [0.0; 6]);
    }
}
