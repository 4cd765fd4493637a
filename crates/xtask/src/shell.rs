//! Running other programs, each printed with the reason for it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail};

/// A program to run, and why.
pub(crate) struct Cmd {
    command: Command,
    why: String,
}

impl Cmd {
    /// Runs `program` because of `why`.
    pub(crate) fn new(program: impl AsRef<OsStr>, why: impl Into<String>) -> Self {
        Self { command: Command::new(program), why: why.into() }
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Unsets a variable.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it in a folder.
    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started or fails.
    pub(crate) fn run(mut self) -> Result<()> {
        let line = self.announce();
        let status = self.command.stdin(Stdio::null()).status().with_context(|| format!("could not start `{line}`"))?;
        if !status.success() {
            bail!("`{line}` failed ({status})");
        }
        Ok(())
    }

    /// Starts it and leaves it running; its standard output can be read.
    pub(crate) fn spawn(mut self) -> Result<Child> {
        let line = self.announce();
        self.command.stdin(Stdio::null()).stdout(Stdio::piped());
        self.command.spawn().with_context(|| format!("could not start `{line}`"))
    }

    fn announce(&self) -> String {
        let line = self.line();
        println!("  $ {line}\n      # {}", self.why);
        line
    }

    /// The command as one would type it.
    fn line(&self) -> String {
        let mut line = String::new();
        if let Some(dir) = self.command.get_current_dir() {
            let _ = write!(line, "cd {} && ", dir.display());
        }
        for (name, value) in self.command.get_envs() {
            if let Some(value) = value {
                let _ = write!(line, "{}={} ", name.display(), quoted(value));
            }
        }
        line.push_str(&quoted(self.command.get_program()));
        for arg in self.command.get_args() {
            line.push(' ');
            line.push_str(&quoted(arg));
        }
        line
    }
}

/// What a program prints, or nothing when it is missing or fails: for looking around, unannounced.
pub(crate) fn ask(program: impl AsRef<OsStr>, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Finds a program on `PATH`.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let name = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(&name)).find(|path| path.is_file())
}

/// `PATH` with a folder before the rest.
pub(crate) fn path_with(dir: &Path) -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths([dir.to_path_buf()].into_iter().chain(env::split_paths(&path)))?)
}

/// Whether `product` exists and is at least as new as `source`.
pub(crate) fn is_fresh(product: &Path, source: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified());
    matches!((modified(product), modified(source)), (Ok(product), Ok(source)) if product >= source)
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./=:+@,".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_prints_as_one_would_type_it() {
        let cmd = Cmd::new("npm", "").args(["run", "build it"]).env("PEMA_PKG", "out/a b").dir("web");
        assert_eq!(cmd.line(), "cd web && PEMA_PKG='out/a b' npm run 'build it'");
    }
}
