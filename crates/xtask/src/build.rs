//! `cargo xtask build`: the site in `web/dist`, and the native binary.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args as ClapArgs;

use crate::project::Project;
use crate::setup::{self, Tools};
use crate::shell::{Cmd, is_fresh};
use crate::stages::Stages;

/// Options of `cargo xtask build`.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Build the site with planted leaks instead, which the privacy capture must find. For tests alone.
    #[arg(long)]
    leaky: bool,
}

/// Two builds of the site.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// The one to deploy.
    Real,
    /// Betrays targets and adapters when a data file's name asks for it: proves that the privacy
    /// capture would notice. Never deployed.
    Leaky,
    /// Also lets `cargo xtask bench` take training steps. Never deployed.
    Bench,
}

impl Flavour {
    /// Cargo features of `pema-web`; none of them reaches Burn, which is compiled once.
    fn features(self) -> &'static [&'static str] {
        match self {
            Self::Real => &[],
            Self::Leaky => &["--features", "planted-leaks"],
            Self::Bench => &["--features", "bench"],
        }
    }

    /// Where JavaScript and wasm go; the page finds another place than its own by `PEMA_PKG`.
    pub(crate) fn package(self, project: &Project) -> PathBuf {
        match self {
            Self::Real => project.web().join("src/pkg"),
            Self::Leaky => project.target.join("leaky/pkg"),
            Self::Bench => project.target.join("bench/pkg"),
        }
    }

    /// Where the bundled site goes.
    pub(crate) fn site(self, project: &Project) -> PathBuf {
        match self {
            Self::Real => project.web().join("dist"),
            Self::Leaky => project.target.join("leaky/dist"),
            Self::Bench => project.target.join("bench/dist"),
        }
    }
}

/// Runs set-up and builds.
pub(crate) fn run(project: &Project, stages: &mut Stages, args: &Args) -> Result<()> {
    let tools = setup::run(project, stages)?;
    let flavour = if args.leaky { Flavour::Leaky } else { Flavour::Real };
    site(project, stages, &tools, flavour)?;
    if !args.leaky {
        binary(project, stages)?;
    }
    Ok(())
}

/// Builds one flavour of the site.
pub(crate) fn site(project: &Project, stages: &mut Stages, tools: &Tools, flavour: Flavour) -> Result<()> {
    let name = if flavour == Flavour::Leaky { "leaky " } else { "" };
    stages.run(&format!("{name}wasm"), || wasm(project, tools, flavour))?;
    stages.run(&format!("{name}site"), || bundle(project, flavour))
}

/// Builds the `pema` binary.
pub(crate) fn binary(project: &Project, stages: &mut Stages) -> Result<()> {
    stages.run("native binary", || {
        Cmd::new("cargo", "the service and the command line, with llama.cpp (minutes when cold)")
            .env("CARGO_TARGET_DIR", &project.target)
            .args(["build", "--package", "pema-cli"])
            .dir(&project.root)
            .run()
    })
}

/// Builds the `pema` binary that also computes on GPUs, or on what Vulkan gives for one, and says where it
/// is. It has a target directory of its own: its Burn is another build.
pub(crate) fn binary_with_wgpu(project: &Project) -> Result<PathBuf> {
    let target = project.target.join("wgpu");
    Cmd::new("cargo", "the command line with wgpu (a quarter of an hour when cold: another Burn)")
        .env("CARGO_TARGET_DIR", &target)
        .args(["build", "--package", "pema-cli", "--features", "wgpu"])
        .dir(&project.root)
        .run()?;
    Ok(target.join("debug/pema"))
}

/// Builds one flavour's JavaScript and wasm.
pub(crate) fn wasm(project: &Project, tools: &Tools, flavour: Flavour) -> Result<()> {
    let why = "the tab's Rust (half an hour when cold: Burn)";
    tools.wasm.cargo(project, "build", why).args(flavour.features()).run()?;
    let module = project.wasm_target().join("wasm32-unknown-unknown/web/pema_web.wasm");
    let package = flavour.package(project);
    if is_fresh(&package.join("pema_web_bg.wasm"), &module) {
        println!("  {}: up to date", package.display());
        return Ok(());
    }
    Cmd::new(tools.bindgen.program(), "JavaScript and TypeScript declarations for it")
        // The names of functions would be a quarter of what a tab downloads.
        .args(["--remove-name-section", "--remove-producers-section"])
        .args(["--target", "web", "--out-name", "pema_web", "--out-dir"])
        .args([&package, &module])
        .run()
}

fn bundle(project: &Project, flavour: Flavour) -> Result<()> {
    let npm = Cmd::new("npm", "check and bundle the page").dir(project.web());
    match flavour {
        Flavour::Real => npm.args(["run", "build"]).run(),
        // Its types are the real one's, which has been checked.
        Flavour::Leaky | Flavour::Bench => npm
            .env("PEMA_PKG", flavour.package(project))
            .args(["exec", "--", "vite", "build", "--emptyOutDir", "--outDir"])
            .args([flavour.site(project)])
            .run(),
    }
}
