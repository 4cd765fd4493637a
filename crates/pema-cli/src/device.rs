//! Where tensors live.

use anyhow::{Context, Result};
use burn::tensor::Device;

/// Where to compute.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DeviceArgs {
    /// Where tensors live and the adapter's work is done.
    #[arg(long = "device", value_enum, default_value_t = Place::Cpu)]
    pub place: Place,
}

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Place {
    /// Burn's flex, on every core.
    Cpu,
    /// A GPU, or what Vulkan, Metal or DirectX gives for one; a build with the feature `wgpu` has it.
    Wgpu,
}

impl Place {
    /// Starts the device, once a process.
    pub fn start(self) -> Result<Device> {
        match self {
            Self::Cpu => Some(Device::flex()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Some(
                futures::executor::block_on(Device::wgpu_options().init_async())
                    .map_err(|error| anyhow::anyhow!("wgpu did not start: {error}"))?,
            ),
            #[cfg(not(feature = "wgpu"))]
            Self::Wgpu => None,
        }
        .context("this build has no wgpu: build it with --features wgpu")
    }
}
