//! Shaders as CubeCL launches them.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use burn_cubecl::cubecl::{
    CubeKernel, PrecompiledSource,
    ir::{UIntKind, metadata::Info},
    prelude::*,
    server::{Handle, KernelArguments},
};

use super::shader::{Constants, Shader};

struct Kernel {
    shader: Shader,
    constants: Constants,
}

/// Shapes of launches on the device, kept because an upload sends off all launches before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shapes(Rc<RefCell<HashMap<Vec<u32>, Handle>>>);

impl Shapes {
    fn on_device(&self, shape: Vec<u32>, client: &Client) -> Handle {
        let mut known = self.0.borrow_mut();
        let upload = |shape: &Vec<u32>| client.create_from_slice(bytemuck::cast_slice(shape));
        known.entry(shape).or_insert_with_key(upload).clone()
    }
}

/// Where kernels run, and what for.
pub(super) struct Launcher {
    pub(super) client: Client,
    pub(super) constants: Constants,
    pub(super) shapes: Shapes,
}

impl Launcher {
    /// Runs a kernel: `shape` becomes its first binding, `buffers` the others, in order.
    pub(super) fn run(&self, shader: Shader, workgroups: [usize; 3], shape: &[usize], buffers: &[&Handle]) {
        let shape = self.shapes.on_device(shape.iter().map(|&x| x as u32).collect(), &self.client);
        let buffers = [&shape].into_iter().chain(buffers.iter().copied());
        let arguments = buffers.fold(KernelArguments::new(), |all, one| all.with_buffer(one.clone().binding()));
        let [x, y, z] = workgroups.map(|x| x as u32);
        let kernel = Kernel { shader, constants: self.constants };
        self.client.launch(Box::new(kernel), CubeCount::Static(x, y, z), arguments);
    }
}

impl KernelMetadata for Kernel {
    fn id(&self) -> KernelId {
        let Constants { d, form, scale, softcap, wants_gradient, high_rows } = self.constants;
        let numbers = (d, form, scale.to_bits(), softcap.map(f32::to_bits), wants_gradient, high_rows);
        KernelId::new::<Self>().info((self.shader, numbers))
    }

    fn address_type(&self) -> ElemType {
        UIntKind::U32.into()
    }
}

impl CubeKernel for Kernel {
    // Only the settings are read: the text below is the kernel.
    fn define(&self) -> KernelDefinition {
        let settings = KernelSettings::new(CubeDim::new_1d(64).into(), ExecutionMode::Checked, AddressType::U32);
        KernelDefinition { body: Scope::root(settings.clone()), settings, info: Info::default() }
    }

    fn source(&self) -> Option<PrecompiledSource> {
        Some(PrecompiledSource { source: self.shader.text(self.constants), entrypoint_name: "main".into(), lang: "wgsl" })
    }
}
