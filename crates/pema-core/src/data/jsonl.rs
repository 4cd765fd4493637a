//! JSON lines.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Columns, ImportError, ImportReport, ProblemKind, RowProblem};

/// Rows that are looked at to find a file's columns.
const COLUMN_ROWS: usize = 100;

pub(super) fn column_names(bytes: &[u8]) -> Result<Vec<String>, ImportError> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(ImportError::JsonArray);
    }
    let mut names = BTreeSet::new();
    for (line, row) in rows(bytes).take(COLUMN_ROWS) {
        // A row that cannot be read is reported by the import.
        if let Ok(object) = object(line, row) {
            names.extend(object.into_iter().map(|(name, _)| name));
        }
    }
    Ok(names.into_iter().collect())
}

pub(super) fn import(bytes: &[u8], columns: &Columns) -> Result<ImportReport, ImportError> {
    let available = column_names(bytes)?;
    let mut found = [false; 2];
    let mut report = ImportReport::default();
    for (line, row) in rows(bytes) {
        report.add(object(line, row).and_then(|object| {
            found[0] |= object.contains_key(&columns.input);
            found[1] |= object.contains_key(&columns.target);
            let text = |column: &str| text(line, column, &object);
            let (input, target) = (text(&columns.input)?, text(&columns.target)?);
            super::pair(line, columns, input, target)
        }));
    }
    // A column that no row has was not chosen well; one that some rows lack is theirs to mend.
    for (found, column) in found.iter().zip([&columns.input, &columns.target]) {
        if !found && !available.is_empty() {
            let line = rows(bytes).next().map_or(1, |(line, _)| line);
            return Err(ImportError::MissingColumn { line, column: column.clone(), available });
        }
    }
    Ok(report)
}

/// Lines that are not blank, with their numbers from 1.
fn rows(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    (1..).zip(bytes.split(|&b| b == b'\n')).map(|(line, row)| (line, row.trim_ascii())).filter(|(_, row)| !row.is_empty())
}

fn object(line: u64, row: &[u8]) -> Result<Map<String, Value>, RowProblem> {
    let problem = |kind| RowProblem { line, column: None, kind };
    let row = str::from_utf8(row).map_err(|_| problem(ProblemKind::Encoding))?;
    match serde_json::from_str(row) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(problem(ProblemKind::NotAnObject(type_name(&other)))),
        Err(error) => {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            Err(problem(ProblemKind::Json { message, character: error.column() }))
        }
    }
}

fn text<'o>(line: u64, column: &str, object: &'o Map<String, Value>) -> Result<&'o str, RowProblem> {
    let kind = match object.get(column) {
        Some(Value::String(text)) => return Ok(text),
        Some(other) => ProblemKind::NotText(type_name(other)),
        None => ProblemKind::Missing { available: object.keys().cloned().collect() },
    };
    Err(RowProblem { line, column: Some(column.to_owned()), kind })
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
