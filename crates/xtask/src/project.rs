//! Where things are: the checkout, build products, and the user's cache.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders that every subcommand works in.
pub(crate) struct Project {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Cargo's target folder for native code; everything else that is built goes under it too.
    pub(crate) target: PathBuf,
    /// The user's cache: models and tools, and the target folder when `CI` is set.
    pub(crate) cache: PathBuf,
}

impl Project {
    /// Finds them from the environment.
    ///
    /// `CARGO_TARGET_DIR` wins; with `CI` set, build products are kept in the user's cache, because
    /// CI works in a fresh clone and compiling Burn and llama.cpp takes half an hour.
    pub(crate) fn find() -> Result<Self> {
        // Cargo's word at run time: in a target folder that checkouts share, another's may have been built in.
        let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).ancestors().nth(2).context("xtask is not in crates/xtask")?.to_path_buf();
        let cache = user_cache()?.join("pema");
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => root.join(dir),
            None if env::var_os("CI").is_some() => cache.join("target"),
            None => root.join("target"),
        };
        Ok(Self { root, target, cache })
    }

    /// The wasm build's own target folder: it may use another compiler than the native build, and two
    /// compilers in one folder rebuild each other's host artefacts.
    pub(crate) fn wasm_target(&self) -> PathBuf {
        self.target.join("wasm")
    }

    /// The site's sources.
    pub(crate) fn web(&self) -> PathBuf {
        self.root.join("web")
    }

    /// The end-to-end tests.
    pub(crate) fn e2e(&self) -> PathBuf {
        self.root.join("tests/e2e")
    }

    /// The native `pema` binary.
    pub(crate) fn pema(&self) -> PathBuf {
        self.target.join("debug").join(format!("pema{}", env::consts::EXE_SUFFIX))
    }
}

/// `$XDG_CACHE_HOME`, else `~/.cache`: the same rule as `pema serve --model default`.
fn user_cache() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    let home = env::home_dir().context("set HOME, or XDG_CACHE_HOME, so that models and tools have a place")?;
    Ok(home.join(".cache"))
}
