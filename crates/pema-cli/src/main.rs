//! `pema`: serve a model, and run every step of the method natively. One subcommand a file.

mod bench;
mod client;
mod device;
mod eval;
mod extract;
mod folder;
mod generate;
mod pairs;
mod progress;
mod regenerate;
mod serve;
mod tasks;
mod train;
mod writer;

use std::io::IsTerminal;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "pema", version, about = "Adapt a language model that its owner will not hand out")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a model's hidden states to data owners.
    Serve(serve::Args),
    /// Download an external memory of your pairs' prompts.
    Extract(extract::Args),
    /// Train an adapter from a memory and your targets.
    Train(train::Args),
    /// Make a second memory of contexts along the adapted mixture's own words, which tells these to the
    /// model's owner.
    Regenerate(regenerate::Args),
    /// Continue one input, with the model alone and with the adapter.
    Generate(generate::GenerateArgs),
    /// Compare the model alone and the adapter on test pairs.
    Evaluate(generate::EvaluateArgs),
    /// Compare methods by the perplexity that their mixtures give to references, and by their texts.
    Eval(Box<eval::Args>),
    /// Compare the reports of evaluations, or join them.
    #[command(subcommand)]
    Report(eval::report::command::Args),
    /// Time a training step on this machine.
    Bench(bench::Args),
}

fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        // llama.cpp says much about every model, at level warn too; a refused certificate is the command's own error.
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,llama-cpp-2=error,rustls_platform_verifier=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Extract(args) => extract::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Regenerate(args) => regenerate::run(&args),
        Command::Generate(args) => generate::run_generate(&args),
        Command::Evaluate(args) => generate::run_evaluate(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Report(args) => eval::report::command::run(&args),
        Command::Bench(args) => bench::run(&args),
    }
}
