//! The program, a service of its own, and what they are given.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

pub const SETTINGS: &str = r#"{"rank": 8, "alpha": 8, "reconstruction_epochs": 2, "prediction_epochs": 2, "prediction_batch": 32, "reconstruction_batch": 32}"#;
pub const TEMPLATE: &str = r"Informal: {input}\nFormal:";

/// Eight pairs of a file, two of them to validate on.
pub fn eight_of(file: &str) -> [&str; 8] {
    ["--data", file, "--limit", "8", "--validation-fraction", "0.25", "--template", TEMPLATE]
}

pub struct Service {
    process: Child,
    pub url: String,
}

impl Service {
    pub fn start(data: &Path) -> Self {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_pema"));
        serve.args(["serve", "--model", "default", "--port", "0", "--context", "512", "--data-dir"]).arg(data);
        let mut process = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        Self { process, url: url.expect("the service says where it listens; does `cargo xtask setup` pass?") }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn sample(split: &str) -> String {
    format!("{}/../../web/public/samples/formality.{split}.jsonl", env!("CARGO_MANIFEST_DIR"))
}

pub fn pema(args: &[&str]) -> Result<String, String> {
    pema_with(&[], args)
}

/// The program with variables of its environment.
pub fn pema_with(variables: &[(&str, &str)], args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pema"));
    let out = command.envs(variables.iter().copied()).args(args).output().unwrap();
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
    }
}

pub fn pema_diff(a: &Path, b: &Path) -> String {
    pema(&["report", "diff", a.to_str().unwrap(), b.to_str().unwrap()]).unwrap()
}

pub fn report(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap()
}
