//! Stages of a task and how long each took.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The stages so far.
#[derive(Default)]
pub(crate) struct Stages {
    done: Vec<Stage>,
}

struct Stage {
    name: String,
    took: Duration,
    passed: bool,
}

impl Stages {
    /// Runs one stage; its failure is the task's.
    pub(crate) fn run<T>(&mut self, name: &str, stage: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = stage();
        self.done.push(Stage { name: name.to_owned(), took: start.elapsed(), passed: outcome.is_ok() });
        outcome
    }

    /// Prints what ran, how it ended and how long it took.
    pub(crate) fn print_table(&self) {
        print!("{}", self.table());
    }

    fn table(&self) -> String {
        let width = self.done.iter().map(|stage| stage.name.len()).max().unwrap_or(0).max("total".len());
        let mut table = format!("\n{:<width$}  {:>8}\n", "stage", "time");
        for Stage { name, took, passed } in &self.done {
            let end = if *passed { "" } else { "  FAILED" };
            table += &format!("{name:<width$}  {:>8}{end}\n", clock(*took));
        }
        let total = self.done.iter().map(|stage| stage.took).sum();
        table + &format!("{:<width$}  {:>8}\n", "total", clock(total))
    }
}

/// Minutes and seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    format!("{}:{:04.1}", (seconds / 60.0) as u64, seconds % 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_stages_their_times_and_the_failed_one() {
        let stage = |name: &str, seconds, passed| Stage { name: name.into(), took: Duration::from_secs_f64(seconds), passed };
        let stages = Stages { done: vec![stage("setup", 3.25, true), stage("wasm tests", 61.5, false)] };
        let table = stages.table();
        assert!(table.contains("setup         0:03.2\n"), "{table}");
        assert!(table.contains("wasm tests    1:01.5  FAILED\n"), "{table}");
        assert!(table.contains("total         1:04.8\n"), "{table}");
    }
}
