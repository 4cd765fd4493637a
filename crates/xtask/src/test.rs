//! `cargo xtask test`: every test, cheap ones first, ending at the first stage that fails.

use anyhow::Result;
use clap::{Args as ClapArgs, ValueEnum};

use crate::build::{self, Flavour};
use crate::project::Project;
use crate::setup::{self, Tools};
use crate::shell::{Cmd, which};
use crate::stages::Stages;

/// Options of `cargo xtask test`.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Only these parts.
    parts: Vec<Part>,
}

/// Parts of the tests.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Rust, natively: units, golden numbers, the service with the default model.
    Native,
    /// Rust, in headless Chromium.
    Wasm,
    /// The page's own units, and the privacy checker's.
    Web,
    /// The whole job in Chromium with the real service; the privacy capture.
    E2e,
}

/// One wasm test may compile WebGPU pipelines in software; the runner's own limit is 20 s.
const WASM_TEST_SECONDS: &str = "1500";

/// Runs set-up and the tests.
pub(crate) fn run(project: &Project, stages: &mut Stages, args: &Args) -> Result<()> {
    let wanted = |part| args.parts.is_empty() || args.parts.contains(&part);
    let tools = setup::run(project, stages)?;
    if wanted(Part::Native) {
        stages.run("native tests", || native(project))?;
    }
    // The page's TypeScript is checked against declarations that the wasm build writes.
    if wanted(Part::Web) || wanted(Part::E2e) {
        build::site(project, stages, &tools, Flavour::Real)?;
    }
    if wanted(Part::Web) {
        stages.run("web tests", || web(project))?;
    }
    if wanted(Part::Wasm) {
        stages.run("wasm tests", || wasm(project, &tools))?;
    }
    if wanted(Part::E2e) {
        build::site(project, stages, &tools, Flavour::Leaky)?;
        build::binary(project, stages)?;
        stages.run("end to end", || end_to_end(project, &tools))?;
    }
    Ok(())
}

fn native(project: &Project) -> Result<()> {
    let cargo = Cmd::new("cargo", "units, golden numbers, the service with the default model")
        .env("CARGO_TARGET_DIR", &project.target)
        .dir(&project.root);
    let args: &[&str] =
        if which("cargo-nextest").is_some() { &["nextest", "run"] } else { &["test", "--lib", "--bins", "--tests"] };
    cargo.args(args).args(["--workspace"]).run()
}

fn web(project: &Project) -> Result<()> {
    Cmd::new("npm", "the page's units").args(["test"]).dir(project.web()).run()?;
    Cmd::new("npm", "types of the end-to-end tests").args(["run", "check"]).dir(project.e2e()).run()?;
    playwright(project, "units of the recording proxy and the privacy checker", "unit").run()
}

fn wasm(project: &Project, tools: &Tools) -> Result<()> {
    tools
        .wasm
        .cargo(project, "test", "the tab's Rust in headless Chromium, on CPU and WebGPU")
        .args(["--tests"])
        .env("PATH", tools.bindgen.path()?)
        .env("CHROMEDRIVER", &tools.programs.driver)
        .env("WASM_BINDGEN_TEST_TIMEOUT", WASM_TEST_SECONDS)
        .run()
}

fn end_to_end(project: &Project, tools: &Tools) -> Result<()> {
    playwright(project, "the whole job in Chromium, and the privacy capture", "e2e")
        .env("PEMA_BIN", project.pema())
        .env("PEMA_SITE", Flavour::Real.site(project))
        .env("PEMA_LEAKY_SITE", Flavour::Leaky.site(project))
        .env("CHROME", &tools.programs.browser)
        .run()
}

/// Runs one Playwright project of `tests/e2e`.
pub(crate) fn playwright(project: &Project, why: &str, name: &str) -> Cmd {
    Cmd::new("npm", why).args(["exec", "--", "playwright", "test", &format!("--project={name}")]).dir(project.e2e())
}
