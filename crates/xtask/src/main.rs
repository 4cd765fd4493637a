//! `cargo xtask <subcommand>`: all of the project's automation, one subcommand a file.
//!
//! Each step prints the command it runs and why, so that whoever would rather type can.

mod bench;
mod build;
mod demo;
mod project;
mod setup;
mod shell;
mod stages;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set up, build, show and test Pema.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the build and the tests need; repeating it is cheap.
    Setup,
    /// Build the site into `web/dist` and the `pema` binary.
    Build(build::Args),
    /// Serve the default model and the site on this machine.
    Demo(demo::Args),
    /// Run every test, cheap ones first.
    Test(test::Args),
    /// Measure speed and size beside peers; the report goes to `target/bench`.
    Bench,
}

fn main() -> ExitCode {
    match run(Args::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    let project = project::Project::find()?;
    let mut stages = stages::Stages::default();
    let outcome = match task {
        Task::Setup => setup::run(&project, &mut stages).map(drop),
        Task::Build(args) => build::run(&project, &mut stages, &args),
        Task::Demo(args) => demo::run(&project, &mut stages, &args),
        Task::Test(args) => test::run(&project, &mut stages, &args),
        Task::Bench => bench::run(&project, &mut stages),
    };
    stages.print_table();
    outcome
}
