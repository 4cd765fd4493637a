//! Pema's own kernels, in WGSL, as CubeCL launches them.

use std::{fmt::Debug, hash::Hash};

use burn::{
    backend::DispatchDevice,
    tensor::{DType, Device, Shape, Tensor},
};
use burn_cubecl::{
    CubeBackend, CubeDevice,
    cubecl::{
        CubeKernel, PrecompiledSource,
        ir::{UIntKind, metadata::Info},
        prelude::*,
        server::{Handle, KernelArguments, MetadataBindingInfo},
    },
    kernel::into_contiguous,
    ops::numeric::empty_device_contiguous_dtype,
    tensor::CubeTensor,
};

use crate::tile::Tile;

/// The device, if it runs WGSL, with autodiff around it or not.
pub(crate) fn device(device: &Device) -> Option<CubeDevice> {
    match device.clone().inner().as_dispatch() {
        DispatchDevice::Cube(device) if device.client().name() == "wgpu<wgsl>" => Some(device.clone()),
        _ => None,
    }
}

/// How kernels sum products on such a device.
pub(crate) fn tile(device: &CubeDevice) -> Tile {
    // No card is behind a CPU, nor behind what a browser calls a fallback adapter.
    match device.client().properties().identity.physical {
        Some(_) => Tile::Gpu,
        None => Tile::Cpu,
    }
}

/// A tensor that lies on such a device, one row after the other.
pub(crate) fn contiguous(tensor: Tensor<2>) -> CubeTensor {
    into_contiguous(tensor.try_into_primitive::<CubeBackend>().expect("what a kernel reads lies on its device"))
}

/// f32, not initialised.
pub(crate) fn empty(device: &CubeDevice, shape: [usize; 2]) -> CubeTensor {
    empty_device_contiguous_dtype(device.client(), device.clone(), Shape::from(shape), DType::F32)
}

/// A kernel's text.
pub(crate) trait Source: Clone + Send + Sync + 'static {
    /// Tells a text apart from the others of this type.
    type Key: Clone + Debug + Eq + Hash + Send + Sync + 'static;

    fn key(&self) -> Self::Key;

    /// WGSL with an entry point `main`.
    fn text(&self) -> String;
}

/// Runs a kernel: its bindings are `buffers`, in order, and then `shape` as u32.
pub(crate) fn launch(client: &Client, source: impl Source, workgroups: [usize; 3], shape: &[usize], buffers: &[&Handle]) {
    let words = shape.chunks(2).map(|pair| pair.iter().rev().fold(0, |word, &x| word << 32 | x as u64));
    let bind = |all: KernelArguments, one: &&Handle| all.with_buffer((*one).clone().binding());
    let arguments = buffers.iter().fold(KernelArguments::new(), bind).with_info(MetadataBindingInfo::custom(words.collect()));
    let [x, y, z] = workgroups.map(|x| x as u32);
    client.launch(Box::new(Kernel(source)), CubeCount::Static(x, y, z), arguments);
}

struct Kernel<S>(S);

impl<S: Source> KernelMetadata for Kernel<S> {
    fn id(&self) -> KernelId {
        KernelId::new::<Self>().info(self.0.key())
    }

    fn address_type(&self) -> ElemType {
        UIntKind::U32.into()
    }
}

impl<S: Source> CubeKernel for Kernel<S> {
    // Only the settings are read: the text below is the kernel.
    fn define(&self) -> KernelDefinition {
        let settings = KernelSettings::new(CubeDim::new_1d(64).into(), ExecutionMode::Checked, AddressType::U32);
        KernelDefinition { body: Scope::root(settings.clone()), settings, info: Info::default() }
    }

    fn source(&self) -> Option<PrecompiledSource> {
        Some(PrecompiledSource { source: self.0.text(), entrypoint_name: "main".into(), lang: "wgsl" })
    }
}
