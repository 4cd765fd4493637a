//! Pairs of a data owner: read from JSONL, CSV and TSV, put into a prompt template, split into
//! training and validation.
//!
//! Files are UTF-8, with or without a byte-order mark, with any line ends.
//!
//! - JSONL: one object a line; blank lines are skipped.
//! - CSV: RFC 4180, the first record names the columns.
//! - TSV: the first line names the columns; every tab separates and quotes are plain text.
//!
//! White space around inputs and targets is dropped.

mod columns;
mod error;
mod jsonl;
mod split;
mod table;
mod template;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use columns::Columns;
pub use error::{ImportError, ProblemKind, RowProblem};
pub use split::{Split, SplitError};
pub use template::{Template, TemplateError};

/// Problems that an [`ImportReport`] keeps; the rest are counted.
pub const MAX_PROBLEMS: usize = 20;

/// One example: what goes to the model's owner, and what does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Becomes the prompt.
    pub input: String,
    /// What the adapter learns to answer. It stays here.
    pub target: String,
}

/// How a file's rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values.
    Csv,
    /// Tab-separated values.
    Tsv,
}

impl Format {
    /// The format by the file's extension, else by its content: lines that open with a brace are
    /// JSONL, a tab in the first line is TSV, anything else CSV.
    pub fn detect(file_name: &str, bytes: &[u8]) -> Self {
        let extension = file_name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        match extension.as_deref() {
            Some("jsonl" | "ndjson" | "json") => Self::Jsonl,
            Some("csv") => Self::Csv,
            Some("tsv" | "tab") => Self::Tsv,
            _ => Self::of_content(bytes),
        }
    }

    fn of_content(bytes: &[u8]) -> Self {
        let text = bytes.strip_prefix(BOM).unwrap_or(bytes).trim_ascii_start();
        let first_line = text.split(|b| matches!(b, b'\n' | b'\r')).next().unwrap_or_default();
        match text.first() {
            Some(b'{' | b'[') => Self::Jsonl,
            _ if first_line.contains(&b'\t') => Self::Tsv,
            _ => Self::Csv,
        }
    }
}

/// What a file held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// The rows that could be read, in order.
    pub pairs: Vec<Pair>,
    /// The first [`MAX_PROBLEMS`] of the rows that could not.
    pub problems: Vec<RowProblem>,
    /// How many rows could not be read.
    pub bad_rows: usize,
}

impl ImportReport {
    /// The pairs, if every row could be read.
    ///
    /// # Errors
    /// [`ImportError::Rows`] with the problems.
    pub fn complete(self) -> Result<Vec<Pair>, ImportError> {
        if self.bad_rows == 0 {
            return Ok(self.pairs);
        }
        Err(ImportError::Rows { problems: self.problems, bad_rows: self.bad_rows })
    }

    fn add(&mut self, row: Result<Pair, RowProblem>) {
        match row {
            Ok(pair) => self.pairs.push(pair),
            Err(problem) => {
                self.bad_rows += 1;
                if self.problems.len() < MAX_PROBLEMS {
                    self.problems.push(problem);
                }
            }
        }
    }
}

/// The columns of a file, for the user to choose from: a table's header in its order, or the keys
/// of the first hundred JSONL rows in alphabetical order.
///
/// # Errors
/// [`ImportError`] when the file as a whole cannot be read.
pub fn column_names(bytes: &[u8], format: Format) -> Result<Vec<String>, ImportError> {
    let bytes = check(bytes)?;
    match format {
        Format::Jsonl => jsonl::column_names(bytes),
        Format::Csv | Format::Tsv => table::column_names(bytes, format),
    }
}

/// Reads pairs. Rows that cannot be read are reported with their line and do not stop the rest;
/// [`ImportReport::complete`] insists on all of them.
///
/// # Errors
/// [`ImportError`] when the file as a whole cannot be read: it is empty, not text in UTF-8, or
/// lacks a column.
pub fn import(bytes: &[u8], format: Format, columns: &Columns) -> Result<ImportReport, ImportError> {
    let bytes = check(bytes)?;
    let report = match format {
        Format::Jsonl => jsonl::import(bytes, columns)?,
        Format::Csv | Format::Tsv => table::import(bytes, format, columns)?,
    };
    if report.pairs.is_empty() && report.bad_rows == 0 {
        return Err(ImportError::Empty);
    }
    Ok(report)
}

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Drops a byte-order mark and refuses what no row could be read from.
fn check(bytes: &[u8]) -> Result<&[u8], ImportError> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(ImportError::Utf16);
    }
    let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() { Err(ImportError::Empty) } else { Ok(bytes) }
}

/// Makes a pair of two fields, without white space around them.
fn pair(line: u64, columns: &Columns, input: &str, target: &str) -> Result<Pair, RowProblem> {
    for (column, value) in [(&columns.input, input), (&columns.target, target)] {
        if value.trim().is_empty() {
            return Err(RowProblem { line, column: Some(column.clone()), kind: ProblemKind::EmptyField });
        }
    }
    Ok(Pair { input: input.trim().to_owned(), target: target.trim().to_owned() })
}
