//! Products by code of Pema's own, as an operation that autodiff knows.

use std::fmt::Debug;

use burn::{
    backend::{
        Autodiff, Backend, DispatchKindConversion, DispatchTensor,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind, binary},
        },
        ops::FloatTensorOps,
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

/// How matrices are multiplied on a backend.
pub(super) trait Multiply: Clone + Debug + Send + Sync + 'static {
    /// Where they lie.
    type Backend: Backend;

    /// `a b`: `[m, k], [k, n] -> [m, n]`, f32, either in any strides.
    fn multiply(&self, a: &FloatTensor<Self::Backend>, b: &FloatTensor<Self::Backend>) -> FloatTensor<Self::Backend>;
}

/// As [`super::product`], of tensors that lie on that backend.
pub(super) fn product<M: Multiply>(a: Tensor<2>, b: Tensor<2>, by: M) -> Tensor<2>
where
    DispatchTensor: DispatchKindConversion<M::Backend> + DispatchKindConversion<Autodiff<M::Backend>>,
{
    if ![&a, &b].iter().any(|x| x.device().is_autodiff()) {
        let [a, b] = [a, b].map(|x| x.inner().try_into_primitive::<M::Backend>().expect(SAME_DEVICE));
        return Tensor::from_primitive::<M::Backend>(by.multiply(&a, &b));
    }
    let [a, b] = [a, b].map(|x| x.autodiff().try_into_primitive::<Autodiff<M::Backend>>().expect(SAME_DEVICE));
    let [(a, a_node), (b, b_node)] = [a, b].map(|x| x.into_parts());
    let result = by.multiply(&a, &b);
    let prepared = Product(by.clone()).prepare::<NoCheckpointing>([a_node, b_node]).compute_bound().stateful();
    Tensor::from_primitive::<Autodiff<M::Backend>>(match prepared {
        OpsKind::Tracked(prepared) => prepared.finish((a, b), result),
        OpsKind::UnTracked(prepared) => prepared.finish(result),
    })
}

const SAME_DEVICE: &str = "both lie on the device of the first";

#[derive(Debug)]
struct Product<M>(M);

impl<M: Multiply> Backward<M::Backend, 2> for Product<M> {
    type State = (FloatTensor<M::Backend>, FloatTensor<M::Backend>);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (a, b) = ops.state;
        binary::<M::Backend, _, _>(
            ops.parents,
            ops.node,
            gradients,
            |gradient| self.0.multiply(&gradient, &M::Backend::float_transpose(b)),
            |gradient| self.0.multiply(&M::Backend::float_transpose(a), &gradient),
        );
    }
}
