//! `cargo xtask bench`: how fast and how small, beside peers, in one run.

use anyhow::Result;

use crate::build::{self, Flavour};
use crate::project::Project;
use crate::setup;
use crate::shell::Cmd;
use crate::stages::Stages;

/// Whether this machine has a Vulkan driver; Mesa's lavapipe is one for the CPU.
fn has_vulkan() -> bool {
    let folders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    folders.iter().any(|folder| std::fs::read_dir(folder).is_ok_and(|mut drivers| drivers.next().is_some()))
}

/// Runs set-up, builds what is measured and measures it.
pub(crate) fn run(project: &Project, stages: &mut Stages) -> Result<()> {
    let tools = setup::run(project, stages)?;
    build::site(project, stages, &tools, Flavour::Real)?;
    build::binary(project, stages)?;
    stages.run("bench wasm", || build::wasm(project, &tools, Flavour::Bench))?;
    let with_wgpu = match has_vulkan() {
        true => Some(stages.run("bench wgpu", || build::binary_with_wgpu(project))?),
        false => None,
    };
    let folder = project.root.join("tests/bench");
    stages.run("bench packages", || Cmd::new("npm", "TensorFlow.js, to measure beside").args(["ci"]).dir(&folder).run())?;
    let page = Flavour::Bench.site(project);
    stages.run("bench page", || {
        Cmd::new("npm", "the page that takes the steps")
            .args(["run", "build"])
            .env("PEMA_BENCH_PKG", Flavour::Bench.package(project))
            .env("PEMA_BENCH_SITE", &page)
            .dir(&folder)
            .run()
    })?;
    stages.run("bench", || {
        Cmd::new("npm", "measure")
            .args(["run", "bench"])
            .env("PEMA_BIN", project.pema())
            .env("PEMA_WGPU_BIN", with_wgpu.unwrap_or_default())
            .env("PEMA_SITE", Flavour::Real.site(project))
            .env("PEMA_BENCH_SITE", &page)
            .env("PEMA_REPORT", project.target.join("bench"))
            .env("CHROME", &tools.programs.browser)
            .dir(&folder)
            .run()
    })
}
