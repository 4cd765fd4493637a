//! Launches of the head's kernels.

use burn_cubecl::cubecl::{prelude::Client, server::Handle};

use super::shader::{Constants, Shader};
use crate::kernel::{Source, launch};
use crate::tile::Tile;

/// Where the head's kernels run, and what for.
pub(super) struct Launcher {
    pub(super) client: Client,
    pub(super) constants: Constants,
}

impl Launcher {
    /// Runs a kernel on these buffers, its first bindings in order.
    pub(super) fn run(&self, shader: Shader, workgroups: [usize; 3], shape: &[usize], buffers: &[&Handle]) {
        launch(&self.client, HeadKernel(shader, self.constants), workgroups, shape, buffers);
    }
}

#[derive(Clone, Copy)]
struct HeadKernel(Shader, Constants);

impl Source for HeadKernel {
    type Key = (Shader, [u32; 3], pema_core::head::HeadForm, [bool; 3], Tile);

    fn key(&self) -> Self::Key {
        let Self(shader, Constants { d, form, scale, softcap, wants_gradient, tile, high_rows }) = *self;
        let cap = softcap.unwrap_or(0.0).to_bits();
        (shader, [d as u32, scale.to_bits(), cap], form, [softcap.is_some(), wants_gradient, high_rows], tile)
    }

    fn text(&self) -> String {
        self.0.text(self.1)
    }
}
