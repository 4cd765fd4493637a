//! `pema report`: what to do with reports that there are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Report, diff, join::joined};
use crate::folder::read;

/// What to do with reports.
#[derive(clap::Subcommand, Debug)]
pub enum Args {
    /// Compare two reports, number by number.
    Diff {
        /// A report.json, or the folder that holds it.
        a: PathBuf,
        /// Another.
        b: PathBuf,
    },
    /// Put studies of the same pairs into one report, as of two models or of two kinds of contexts.
    Join {
        /// Each a report.json, or the folder that holds it.
        #[arg(required = true, num_args = 2..)]
        reports: Vec<PathBuf>,
        /// The folder for the joint report.json, report.md and report.html.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Does it.
pub fn run(args: &Args) -> Result<()> {
    match args {
        Args::Diff { a, b } => print!("{}", diff::table(&open(a)?, &open(b)?)),
        Args::Join { reports, out } => {
            joined(reports.iter().map(|path| open(path)).collect::<Result<_>>()?)?.write(out)?;
            println!("{}", out.join("report.html").display());
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<Report> {
    let path = if path.is_dir() { path.join("report.json") } else { path.to_owned() };
    serde_json::from_slice(&read(&path)?).with_context(|| format!("{} is no report of `pema eval`", path.display()))
}
