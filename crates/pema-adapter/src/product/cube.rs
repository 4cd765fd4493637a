//! The product by Pema's own kernel.

use burn_cubecl::{CubeBackend, CubeDevice, tensor::CubeTensor};

use super::{op::Multiply, shader::Shader};
use crate::kernel::{Source, empty, launch};
use crate::tile::Tile;

/// Least of `k` that is worth a part of its own.
const PART_MIN: usize = 64;

impl Source for Shader {
    type Key = Self;

    fn key(&self) -> Self {
        *self
    }

    fn text(&self) -> String {
        (*self).text()
    }
}

/// By the kernel, on a device that runs WGSL.
#[derive(Clone, Debug)]
pub(super) struct ByKernel {
    pub(super) device: CubeDevice,
    pub(super) tile: Tile,
}

impl Multiply for ByKernel {
    type Backend = CubeBackend;

    fn multiply(&self, a: &CubeTensor, b: &CubeTensor) -> CubeTensor {
        let Self { device, tile } = self;
        let [[m, k], [inner, n]] = [a, b].map(|x| pair(&x.meta.shape));
        assert_eq!(k, inner, "[{m}, {k}] by [{inner}, {n}] is no product");
        let client = device.client();
        let result = empty(device, [m, n]);
        let [columns, rows] = [n.div_ceil(Tile::COLUMNS), m.div_ceil(tile.rows())];
        let wanted = (tile.workgroups_wanted() / (columns * rows)).clamp(1, k.div_ceil(PART_MIN));
        let part = k.div_ceil(wanted).next_multiple_of(Tile::DEPTH);
        let splits = k.div_ceil(part);
        let parts = if splits > 1 { client.empty(splits * m * n * size_of::<f32>()) } else { result.handle.clone() };
        let [a_strides, b_strides] = [a, b].map(|x| pair(&x.meta.strides));
        launch(
            &client,
            Shader::Product { tile: *tile, high_rows: tile.has_high_rows(m) },
            [columns, rows, splits],
            &[&[m, n, k, part][..], &a_strides, &b_strides].concat(),
            &[&a.handle, &b.handle, &parts],
        );
        if splits > 1 {
            launch(&client, Shader::Sum, [(m * n).div_ceil(64), 1, 1], &[m * n, splits], &[&parts, &result.handle]);
        }
        result
    }
}

fn pair(values: &[usize]) -> [usize; 2] {
    [values[0], values[1]]
}
