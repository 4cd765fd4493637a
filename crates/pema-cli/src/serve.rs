//! `pema serve`.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::value_parser;
use pema_service::config::{LimitsConfig, ModelConfig, ServeConfig};
use pema_service::model::{ModelSource, default_cache_dir};
use pema_service::{CancellationToken, Server};

/// Arguments of `pema serve`.
#[derive(clap::Args)]
pub struct Args {
    /// FILE.gguf, hf:OWNER/REPO/FILE.gguf, or `default` (SmolLM2-135M-Instruct, from `cargo xtask setup`).
    #[arg(long, default_value = "default")]
    model: ModelSource,
    /// The model's own tokenizer.json, where the one in the GGUF cannot be exported.
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Address to listen on. Other machines reach all but loopback, and then a key is needed.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8321)]
    port: u16,
    /// Origin of a page that may call, such as http://localhost:5173; may be repeated.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// API key of a data owner; may be repeated. Memories belong to the key that made them.
    /// PEMA_KEY holds one or several with commas, and is not seen in the list of processes.
    #[arg(long, env = "PEMA_KEY", value_delimiter = ',', hide_env_values = true)]
    key: Vec<String>,
    /// Where memories are kept [default: ~/.local/share/pema].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where models and what is exported from them are kept [default: ~/.cache/pema].
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// CPU threads [default: half of the processors].
    #[arg(long, value_parser = value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Longest sequence in tokens, if the model's own limit is not shorter. Memory grows with it.
    #[arg(long, default_value_t = 2048, value_parser = value_parser!(u32).range(32..))]
    context: u32,
    /// Prompts extracted side by side. Memory grows with it; GPUs want more.
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u32).range(1..=128))]
    parallel: u32,
    /// Generation streams open at once.
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u32).range(1..=128))]
    max_streams: u32,
    /// Most prompts in one memory.
    #[arg(long, default_value_t = LimitsConfig::default().max_prompts)]
    max_prompts: u32,
    /// Most steps of one prompt.
    #[arg(long, default_value_t = LimitsConfig::default().max_steps)]
    max_steps: u32,
    /// Base URL for hf: models.
    #[arg(long, env = "HF_ENDPOINT", default_value = "https://huggingface.co")]
    hf_endpoint: String,
}

impl Args {
    fn into_config(self) -> ServeConfig {
        let usual = ModelConfig::new(self.model);
        let model = ModelConfig {
            tokenizer: self.tokenizer,
            hf_endpoint: self.hf_endpoint,
            cache_dir: self.cache_dir.unwrap_or_else(default_cache_dir),
            context_length: self.context,
            parallel: self.parallel,
            threads: self.threads.unwrap_or(usual.threads),
            ..usual
        };
        let limits = LimitsConfig {
            max_prompts: self.max_prompts,
            max_steps: self.max_steps,
            max_streams: self.max_streams,
            ..LimitsConfig::default()
        };
        ServeConfig {
            model,
            host: self.host,
            port: self.port,
            allow_origins: self.allow_origin,
            keys: self.key,
            data_dir: self.data_dir.unwrap_or_else(default_data_dir),
            limits,
        }
    }
}

/// `$XDG_DATA_HOME/pema`, else `~/.local/share/pema`.
fn default_data_dir() -> PathBuf {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share"))).unwrap_or_default().join("pema")
}

/// Serves until SIGINT or SIGTERM.
pub fn run(args: Args) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(args.into_config()))
}

async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    tokio::spawn(stop_at_signal(stop.clone()));
    let server = tokio::select! {
        server = Server::start(&config, stop.clone()) => server?,
        // Loading blocks a thread that cannot be stopped: leave it to the process's end.
        () = stop.cancelled() => std::process::exit(130),
    };
    let card = &server.model().card;
    // A line for people and for scripts, flushed because a pipe would hold it back.
    let mut out = std::io::stdout().lock();
    writeln!(out, "serving {} (d {}, v {})", card.name, card.hidden_size, card.vocab_size)?;
    writeln!(out, "listening on http://{}", server.local_addr()?)?;
    out.flush()?;
    drop(out);
    server.run().await?;
    Ok(())
}

async fn stop_at_signal(stop: CancellationToken) {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            },
            Err(_) => drop(interrupt.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupt.await);
    tracing::info!("stopping: finishing the current shards");
    stop.cancel();
}
