//! Debian's compiler with a wasm standard library built from Debian's own sources, for machines
//! whose rustup has no server to ask for a target.
//!
//! `rustc-web` (for browsers in stable) brings a recent compiler and `rust-web-src` the matching
//! sources of the standard library, but no package has that library compiled for
//! `wasm32-unknown-unknown`. Building it takes a minute.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::apt;
use super::wasm::{TARGET, compiles, rustup_has};
use crate::shell::{Cmd, ask, which};

/// Its name in rustup.
pub(super) const TOOLCHAIN: &str = "debian";
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const SYSROOT: &str = "/usr";
/// rustc 1.96's LLVM is 22; its linker for wasm is that lld.
const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22"];
const WHY: &str = "rustup could not fetch the wasm target, so it is built with Debian's compiler";
const BY_HAND: &str =
    "Otherwise give rustup a server that has its targets: `rustup target add wasm32-unknown-unknown` must work.";

/// Whether everything is in place, proven by compiling something.
pub(super) fn is_installed() -> bool {
    rustup_has(TOOLCHAIN) && Path::new(CARGO).is_file() && compiles(Path::new(RUSTC), None)
}

/// Installs the compiler, builds its wasm library, and gives rustup its name.
pub(super) fn install() -> Result<()> {
    if which("rustup").is_none() {
        bail!("rustup is needed beside Debian's compiler. Install it from https://rustup.rs. {BY_HAND}");
    }
    let there = || [RUSTC, CARGO].iter().all(|path| Path::new(path).is_file()) && library_sources().is_ok_and(|dir| dir.is_dir());
    if !there() || which("rust-lld").is_none() {
        apt::install(&PACKAGES, WHY, BY_HAND)?;
    }
    install_std(Path::new(SYSROOT))?;
    if !compiles(Path::new(RUSTC), None) {
        bail!("{RUSTC} still compiles nothing for {TARGET}: see shared notes or `rustc --print target-libdir --target {TARGET}`");
    }
    if !rustup_has(TOOLCHAIN) {
        Cmd::new("rustup", "so that `cargo +debian` means this compiler")
            .args(["toolchain", "link", TOOLCHAIN, SYSROOT])
            .run()?;
    }
    Ok(())
}

/// Builds the standard library and puts its rlibs where a compiler with this sysroot looks.
fn install_std(sysroot: &Path) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let library = scratch.path().join("library");
    Cmd::new("cp", "its lock file is written while building").args(["-r"]).args([&library_sources()?, &library]).run()?;
    let target = scratch.path().join("target");
    // As the compiler's own bootstrap builds it: unstable features, and crates marked as the library's.
    Cmd::new(CARGO, "build the standard library for wasm32 (about a minute)")
        .without_env("LD_LIBRARY_PATH")
        .without_env("RUSTUP_TOOLCHAIN")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", RUSTC)
        .env("__CARGO_DEFAULT_LIB_METADATA", "std")
        .env("RUSTFLAGS", "-Zforce-unstable-if-unmarked")
        .env("CARGO_TARGET_DIR", &target)
        .args(["build", "--release", "--manifest-path", "sysroot/Cargo.toml", "--target", TARGET, "--features", "panic-unwind"])
        .dir(&library)
        .run()?;
    let to = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&to).with_context(|| format!("could not make {}", to.display()))?;
    for old in rlibs(&to)? {
        fs::remove_file(old)?;
    }
    for new in rlibs(&target.join(TARGET).join("release/deps"))? {
        fs::copy(&new, to.join(new.file_name().context("an rlib has a name")?))?;
    }
    println!("  its rlibs are in {}", to.display());
    Ok(())
}

/// Sources of the library that belongs to the installed compiler.
fn library_sources() -> Result<PathBuf> {
    let said = ask(RUSTC, &["-V"]).context("Debian's rustc does not run")?;
    let version = said.split_whitespace().nth(1).context("rustc -V names no version")?;
    Ok(PathBuf::from(format!("/usr/src/rustc-{version}/library")))
}

fn rlibs(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = dir.read_dir().with_context(|| format!("could not read {}", dir.display()))?;
    Ok(files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "rlib")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "takes a minute and needs Debian's compiler: `cargo test -p xtask -- --ignored`"]
    fn the_recipe_makes_a_standard_library_from_nothing() -> Result<()> {
        let sysroot = tempfile::tempdir()?;
        assert!(!compiles(Path::new(RUSTC), Some(sysroot.path())));
        install_std(sysroot.path())?;
        assert!(compiles(Path::new(RUSTC), Some(sysroot.path())));
        Ok(())
    }
}
