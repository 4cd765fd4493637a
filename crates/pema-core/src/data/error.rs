//! What can be wrong with a file of pairs.

use std::fmt;

use thiserror::Error;

/// Why a file gives no pairs.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ImportError {
    /// No rows.
    #[error("the file holds no pairs: it is empty, or has a header and nothing below it")]
    Empty,
    /// Another encoding.
    #[error("the file is UTF-16: save it again as UTF-8 (in Excel, \"CSV UTF-8\")")]
    Utf16,
    /// The header cannot be read.
    #[error("the header in line {line} is not valid UTF-8: save the file again as UTF-8")]
    HeaderEncoding {
        /// Line, from 1.
        line: u64,
    },
    /// One JSON document, or arrays for rows.
    #[error(
        "the file begins with a JSON array and should hold JSON lines: write one object a line, such as \
         {{\"input\": \"…\", \"target\": \"…\"}}, without brackets and commas around them"
    )]
    JsonArray,
    /// A column that is not there.
    #[error("line {line} has no column {column:?}; the columns are {}: choose one of them", List(.available))]
    MissingColumn {
        /// Line of the header; for JSONL, of the first row.
        line: u64,
        /// The column asked for.
        column: String,
        /// The columns there are.
        available: Vec<String>,
    },
    /// Two columns of one name.
    #[error("line {line} names the column {column:?} twice: rename one of them")]
    DuplicateColumn {
        /// Line of the header.
        line: u64,
        /// The name.
        column: String,
    },
    /// Rows that cannot be read, see [`super::ImportReport::complete`].
    #[error("{bad_rows} rows cannot be read:{}", Lines(.problems, *.bad_rows))]
    Rows {
        /// The first of them.
        problems: Vec<RowProblem>,
        /// How many.
        bad_rows: usize,
    },
}

/// Why a row gives no pair, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}{}: {kind}", Place(.column.as_deref()))]
pub struct RowProblem {
    /// Where the row begins, from 1.
    pub line: u64,
    /// The column, if one column is at fault.
    pub column: Option<String>,
    /// What is wrong.
    pub kind: ProblemKind,
}

/// What is wrong with a row.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProblemKind {
    /// Nothing but white space.
    #[error("is empty: fill it in or remove the row")]
    EmptyField,
    /// Bytes of another encoding.
    #[error("is not valid UTF-8: save the file again as UTF-8")]
    Encoding,
    /// The row is not JSON.
    #[error("is not JSON: {message} at character {character}")]
    Json {
        /// What the parser says.
        message: String,
        /// Byte in the line, from 1.
        character: usize,
    },
    /// JSON of another type.
    #[error("is {0} and should be an object such as {{\"input\": \"…\", \"target\": \"…\"}}")]
    NotAnObject(&'static str),
    /// A value of another type.
    #[error("is {0} and should be text: put it in quotes")]
    NotText(&'static str),
    /// This row alone lacks the column.
    #[error("is missing in this row, which has {}", List(.available))]
    Missing {
        /// The columns of the row.
        available: Vec<String>,
    },
    /// Too few or too many fields.
    #[error(
        "has {found} fields and the header {expected}: put fields that hold the separator in quotes (CSV) or remove it (TSV)"
    )]
    Fields {
        /// Columns of the header.
        expected: usize,
        /// Fields of the row.
        found: usize,
    },
    /// A quote that runs to the end of the file.
    #[error("opens a quote that is never closed: close it, or write a quote inside a quoted field as \"\"")]
    OpenQuote,
}

struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no columns");
        }
        for (i, name) in self.0.iter().enumerate() {
            write!(f, "{}{name:?}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

struct Place<'a>(Option<&'a str>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |column| write!(f, ", column {column:?}"))
    }
}

struct Lines<'a>(&'a [RowProblem], usize);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.0 {
            write!(f, "\n  {problem}")?;
        }
        match self.1 - self.0.len().min(self.1) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}
