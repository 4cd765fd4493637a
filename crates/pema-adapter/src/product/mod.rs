//! Products of matrices: by Pema's own kernel where WGSL runs, by Burn's elsewhere.
//!
//! What a step multiplies beside the head is thin: `[n, d]` by `[d, r]`, `[n, r]` by `[r, d]`, and their
//! gradients. Burn's kernels are made for large products, and copy what is transposed.

#[cfg(any(feature = "webgpu", feature = "wgpu"))]
mod cube;
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
        return cube::product(a, b, &device, crate::kernel::tile(&device));
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
        return cube::product(a, b, &device, tile);
    }
    a.matmul(b)
}
