//! The head in a CPU's memory, which `pema-head` computes with, as tensors see it.

use burn::tensor::{Device, Tensor, TensorData};
use pema_core::id::TokenId;
use pema_head::{HeadRows, LogitShape};

use crate::tensor_file::{ReadError, read_f32};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct CpuHead {
    rows: HeadRows,
    device: Device,
}

impl CpuHead {
    pub(super) fn new(rows: HeadRows, device: &Device) -> Self {
        Self { rows, device: device.clone() }
    }

    pub(super) fn shape(&self) -> LogitShape {
        self.rows.shape()
    }

    /// `[n, d] -> [n, v]`
    pub(super) async fn logits(&self, h: Tensor<2>) -> Result<Tensor<2>, ReadError> {
        let [n, _] = h.dims();
        Ok(self.tensor(self.rows.logits(&read_f32(h).await?), [n, self.rows.count()]))
    }

    /// `W_hd[y]`: `[n, d]`. Every target must be less than `v`.
    pub(super) fn rows_of(&self, y: &[TokenId]) -> Tensor<2> {
        let rows: Vec<&[f32]> = y.iter().map(|y| self.rows.row(y.0 as usize)).collect();
        self.tensor(rows.concat(), [y.len(), self.rows.d()])
    }

    /// As [`super::Head::losses`].
    pub(super) async fn losses(
        &self,
        h: Tensor<2>,
        y: &[TokenId],
        wants_gradient: bool,
    ) -> Result<(Tensor<2>, Option<Tensor<2>>), ReadError> {
        let [n, d] = h.dims();
        let h = read_f32(h).await?;
        let softmax = self.rows.softmax(&h, wants_gradient);
        let (losses, gradient) = softmax.losses(&h, self.rows.shape(), |i| self.rows.row(y[i].0 as usize));
        Ok((self.tensor(losses, [n, 1]), wants_gradient.then(|| self.tensor(gradient, [n, d]))))
    }

    fn tensor(&self, values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }
}
