//! The product by Pema's own kernel, and its gradients.

use burn::{
    backend::{
        Autodiff,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind, binary},
        },
    },
    tensor::Tensor,
};
use burn_cubecl::{CubeBackend, CubeDevice, cubecl::server::Handle, tensor::CubeTensor};

use super::shader::Shader;
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

/// As [`super::product`], on the device of both.
pub(super) fn product(a: Tensor<2>, b: Tensor<2>, device: &CubeDevice, tile: Tile) -> Tensor<2> {
    if ![&a, &b].iter().any(|x| x.device().is_autodiff()) {
        let [a, b] = [a, b].map(|x| Matrix::of(&x.inner().try_into_primitive::<CubeBackend>().expect(SAME_DEVICE)));
        return Tensor::from_primitive::<CubeBackend>(multiply(&a, &b, device, tile));
    }
    let [a, b] = [a, b].map(|x| x.autodiff().try_into_primitive::<Autodiff<CubeBackend>>().expect(SAME_DEVICE).into_parts());
    let [(a, a_node), (b, b_node)] = [a, b].map(|(x, node)| (Matrix::of(&x), node));
    let result = multiply(&a, &b, device, tile);
    let prepared = Product.prepare::<NoCheckpointing>([a_node, b_node]).compute_bound().stateful();
    Tensor::from_primitive::<Autodiff<CubeBackend>>(match prepared {
        OpsKind::Tracked(prepared) => prepared.finish((a, b, device.clone(), tile), result),
        OpsKind::UnTracked(prepared) => prepared.finish(result),
    })
}

const SAME_DEVICE: &str = "both lie on the device of the first";

#[derive(Debug)]
struct Product;

impl Backward<CubeBackend, 2> for Product {
    type State = (Matrix, Matrix, CubeDevice, Tile);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (a, b, device, tile) = ops.state;
        binary::<CubeBackend, _, _>(
            ops.parents,
            ops.node,
            gradients,
            |gradient| multiply(&Matrix::of(&gradient), &b.transposed(), &device, tile),
            |gradient| multiply(&a.transposed(), &Matrix::of(&gradient), &device, tile),
        );
    }
}

/// A matrix of f32 where it lies.
#[derive(Clone, Debug)]
struct Matrix {
    handle: Handle,
    shape: [usize; 2],
    strides: [usize; 2],
}

impl Matrix {
    fn of(tensor: &CubeTensor) -> Self {
        let pair = |values: &[usize]| [values[0], values[1]];
        Self { handle: tensor.handle.clone(), shape: pair(&tensor.meta.shape), strides: pair(&tensor.meta.strides) }
    }

    fn transposed(self) -> Self {
        let swapped = |[rows, columns]: [usize; 2]| [columns, rows];
        Self { handle: self.handle, shape: swapped(self.shape), strides: swapped(self.strides) }
    }
}

fn multiply(a: &Matrix, b: &Matrix, device: &CubeDevice, tile: Tile) -> CubeTensor {
    let ([m, k], [inner, n]) = (a.shape, b.shape);
    assert_eq!(k, inner, "[{m}, {k}] by [{inner}, {n}] is no product");
    let client = device.client();
    let result = empty(device, [m, n]);
    let [columns, rows] = [n.div_ceil(Tile::COLUMNS), m.div_ceil(tile.rows())];
    let wanted = (tile.workgroups_wanted() / (columns * rows)).clamp(1, k.div_ceil(PART_MIN));
    let part = k.div_ceil(wanted).next_multiple_of(Tile::DEPTH);
    let splits = k.div_ceil(part);
    let parts = if splits > 1 { client.empty(splits * m * n * size_of::<f32>()) } else { result.handle.clone() };
    launch(
        &client,
        Shader::Product { tile, high_rows: tile.has_high_rows(m) },
        [columns, rows, splits],
        &[&[m, n, k, part], &a.strides[..], &b.strides[..]].concat(),
        &[&a.handle, &b.handle, &parts],
    );
    if splits > 1 {
        launch(&client, Shader::Sum, [(m * n).div_ceil(64), 1, 1], &[m * n, splits], &[&parts, &result.handle]);
    }
    result
}
