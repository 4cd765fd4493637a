//! `cargo xtask setup`: everything that the build and the tests need and Cargo does not bring.
//!
//! Each step looks first and does nothing when its thing is there, so that repeating is cheap.

mod apt;
mod bindgen;
mod debian_wasm;
mod model;
mod node;
mod programs;
mod wasm;

pub(crate) use bindgen::Bindgen;
pub(crate) use programs::Programs;
pub(crate) use wasm::WasmToolchain;

use anyhow::Result;

use crate::project::Project;
use crate::stages::Stages;

/// What set-up found or installed.
pub(crate) struct Tools {
    /// Compiles the site's Rust.
    pub(crate) wasm: WasmToolchain,
    /// Makes JavaScript of it, and runs its tests.
    pub(crate) bindgen: Bindgen,
    /// The browser, its driver, and what llama.cpp is built with.
    pub(crate) programs: Programs,
}

/// Runs the whole set-up.
pub(crate) fn run(project: &Project, stages: &mut Stages) -> Result<Tools> {
    stages.run("setup", || {
        let programs = programs::find_or_install()?;
        let wasm = wasm::find_or_install(project)?;
        let bindgen = bindgen::find_or_install(project)?;
        node::install(&project.web())?;
        node::install(&project.e2e())?;
        model::fetch(project)?;
        Ok(Tools { wasm, bindgen, programs })
    })
}

/// Says that a step has nothing to do.
fn ready(what: &str, detail: impl std::fmt::Display) {
    println!("  {what}: {detail}");
}
