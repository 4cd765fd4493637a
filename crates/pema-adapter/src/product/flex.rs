//! The product on a tab's CPU, by `pema-head`, whose blocks are four times as fast there as what Burn has.

use burn::{
    backend::{Flex, flex::FlexTensor},
    tensor::TensorData,
};
use pema_head::{Matrix, add_product};

use super::op::Multiply;

/// In blocks.
#[derive(Clone, Debug)]
pub(super) struct InBlocks;

impl Multiply for InBlocks {
    type Backend = Flex;

    fn multiply(&self, a: &FlexTensor, b: &FlexTensor) -> FlexTensor {
        let [a, b] = [a, b].map(with_strides);
        let [m, n] = [a.layout().shape()[0], b.layout().shape()[1]];
        let mut product = vec![0.0; m * n];
        add_product(matrix(&a.transpose(0, 1)), matrix(&b), &mut product);
        FlexTensor::from_data(TensorData::new(product, [m, n]))
    }
}

/// The same where its strides are positive; a copy that has such strides where they are not.
fn with_strides(tensor: &FlexTensor) -> FlexTensor {
    let is_strided = tensor.layout().strides().iter().all(|stride| *stride > 0);
    if is_strided { tensor.clone() } else { tensor.to_contiguous() }
}

fn matrix(tensor: &FlexTensor) -> Matrix<'_> {
    let layout = tensor.layout();
    let pair = |f: &dyn Fn(usize) -> usize| [f(0), f(1)];
    Matrix {
        entries: &tensor.storage()[layout.start_offset()..],
        shape: pair(&|i| layout.shape()[i]),
        strides: pair(&|i| layout.strides()[i].unsigned_abs()),
    }
}
