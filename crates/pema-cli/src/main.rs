//! `pema`: serve a model, and run every step of the method natively. One subcommand a file.

mod serve;

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
}

fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        // llama.cpp says much about every model at level info.
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,llama-cpp-2=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
    }
}
