//! Devices, apart from their kernels.

use burn::{backend::DispatchDevice, tensor::Device};

/// Whether it is the CPU, with autodiff around it or not.
pub(crate) fn is_cpu(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}
