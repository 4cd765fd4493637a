//! `wasm-bindgen` and its test runner, at the version that `Cargo.lock` has: the two must agree.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::ready;
use crate::project::Project;
use crate::shell::{Cmd, ask, path_with, which};

/// Where the tools are.
pub(crate) struct Bindgen {
    dir: PathBuf,
}

impl Bindgen {
    /// The program that makes JavaScript.
    pub(crate) fn program(&self) -> PathBuf {
        self.dir.join(format!("wasm-bindgen{}", env::consts::EXE_SUFFIX))
    }

    /// A `PATH` on which Cargo finds the test runner that `.cargo/config.toml` names.
    pub(crate) fn path(&self) -> Result<std::ffi::OsString> {
        path_with(&self.dir)
    }
}

/// Takes the installed one when its version is right, else keeps one of that version in our cache:
/// another project on this machine may need the other.
pub(crate) fn find_or_install(project: &Project) -> Result<Bindgen> {
    let lock = fs::read_to_string(project.root.join("Cargo.lock"))?;
    let version = locked_version(&lock, "wasm-bindgen").context("Cargo.lock has no wasm-bindgen")?;
    let own = project.cache.join("tools").join(format!("wasm-bindgen-{version}"));
    let on_path = which("wasm-bindgen").and_then(|program| program.parent().map(Path::to_path_buf));
    for dir in on_path.into_iter().chain([own.join("bin")]) {
        let found = Bindgen { dir };
        if is_version(&found, version) {
            ready("wasm-bindgen", format_args!("{} ({version})", found.dir.display()));
            return Ok(found);
        }
    }
    // Without `--locked`: 0.2.130's own lock file names a yanked crate.
    Cmd::new("cargo", "the site's wasm needs the bindgen of the lock file's version")
        .without_env("CARGO_TARGET_DIR")
        .args(["install", "wasm-bindgen-cli", "--version", version, "--root"])
        .args([&own])
        .run()?;
    let installed = Bindgen { dir: own.join("bin") };
    if !is_version(&installed, version) {
        bail!("{} is not version {version}", installed.program().display());
    }
    Ok(installed)
}

fn is_version(bindgen: &Bindgen, version: &str) -> bool {
    let runner = bindgen.dir.join(format!("wasm-bindgen-test-runner{}", env::consts::EXE_SUFFIX));
    runner.is_file() && ask(bindgen.program(), &["--version"]).is_some_and(|said| said.ends_with(&format!(" {version}")))
}

fn locked_version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, package) = lock.split_once(&format!("\nname = \"{name}\"\n"))?;
    package.lines().next()?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::locked_version;

    #[test]
    fn the_version_is_the_lock_files() {
        let lock = "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"9\"\n\n[[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.1\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen"), Some("0.2.1"));
        assert_eq!(locked_version(lock, "missing"), None);
    }
}
