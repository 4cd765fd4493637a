//! A compiler for `wasm32-unknown-unknown`: rustup's, or Debian's where rustup cannot fetch the target.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{debian_wasm, ready};
use crate::project::Project;
use crate::shell::{Cmd, ask, which};

/// The target triple.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Which Cargo compiles for [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WasmToolchain {
    /// The one that compiles everything else.
    Own,
    /// Debian's, linked into rustup under [`debian_wasm::TOOLCHAIN`].
    Debian,
}

impl WasmToolchain {
    /// `cargo SUBCOMMAND -p pema-web` for the wasm target, in its own target folder.
    ///
    /// The site and the browser tests share one profile, so that Burn is compiled once.
    pub(crate) fn cargo(self, project: &Project, subcommand: &str, why: &str) -> Cmd {
        let cargo = Cmd::new("cargo", why).env("CARGO_TARGET_DIR", project.wasm_target()).dir(&project.root);
        let cargo = match self {
            Self::Own => cargo,
            // `cargo xtask` runs with the native compiler's libraries on this path.
            Self::Debian => cargo.without_env("LD_LIBRARY_PATH").args([format!("+{}", debian_wasm::TOOLCHAIN)]),
        };
        cargo.args([subcommand, "-p", "pema-web", "--target", TARGET, "--profile", "web"])
    }
}

/// Looks for a working compiler, then asks rustup for the target, then builds Debian's.
pub(crate) fn find_or_install(project: &Project) -> Result<WasmToolchain> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    if compiles(Path::new(&rustc), None) {
        ready("wasm target", "installed");
        return Ok(WasmToolchain::Own);
    }
    if debian_wasm::is_installed() {
        ready("wasm target", "Debian's compiler");
        return Ok(WasmToolchain::Debian);
    }
    let add = Cmd::new("rustup", "the site's Rust is compiled for wasm32").args(["target", "add", TARGET]);
    match add.run() {
        Ok(()) if compiles(Path::new(&rustc), None) => return Ok(WasmToolchain::Own),
        Ok(()) => println!("  rustup added the target, but `rustc --target {TARGET}` still fails"),
        Err(problem) => println!("  {problem:#}: trying Debian's compiler"),
    }
    debian_wasm::install()?;
    // Compiled against another standard library, these would fail with "can't find crate".
    let stale = project.wasm_target().join(TARGET);
    if stale.exists() {
        println!("  removing {}: it was compiled against another standard library", stale.display());
        fs::remove_dir_all(stale)?;
    }
    Ok(WasmToolchain::Debian)
}

/// Whether a compiler makes a wasm module that needs the standard library and a linker.
pub(super) fn compiles(rustc: &Path, sysroot: Option<&Path>) -> bool {
    let Ok(scratch) = tempfile::tempdir() else { return false };
    let source = scratch.path().join("probe.rs");
    let probe = "#[unsafe(no_mangle)] pub extern \"C\" fn probe(n: u32) -> usize { format!(\"{n}\").len() }";
    if fs::write(&source, probe).is_err() || (rustc.is_absolute() && !rustc.is_file()) {
        return false;
    }
    let module = scratch.path().join("probe.wasm");
    let mut args = vec!["--edition=2024", "--crate-type=cdylib", "--target", TARGET, "-o"];
    let words = [module.to_string_lossy(), source.to_string_lossy()];
    args.extend(words.iter().map(|word| &**word));
    let sysroot = sysroot.map(|sysroot| format!("--sysroot={}", sysroot.display()));
    args.extend(sysroot.as_deref());
    ask(rustc, &args).is_some() && module.is_file()
}

/// Whether rustup knows a toolchain of this name.
pub(super) fn rustup_has(toolchain: &str) -> bool {
    which("rustup").is_some()
        && ask("rustup", &["toolchain", "list"])
            .is_some_and(|list| list.lines().any(|line| line.split_whitespace().next() == Some(toolchain)))
}
