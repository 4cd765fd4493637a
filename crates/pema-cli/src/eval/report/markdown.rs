//! The report's tables as Markdown, for a document.

use std::fmt::Write;

use super::{
    Report,
    tables::{Table, tables},
};

/// The whole document.
pub fn document(report: &Report) -> String {
    let tables: String = tables(report).iter().map(table).collect();
    let left_out: String = report.left_out.iter().map(|what| format!("Left out: {what}\n\n")).collect();
    format!("{}\n\n{tables}{left_out}`{}`\n", report.about(), report.command)
}

fn table(table: &Table) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let header: Vec<String> = table.header.iter().map(|&title| title.to_owned()).collect();
    let mut text = format!("**{}.** {}\n\n", table.title, table.note);
    text += &line(&header);
    let _ = writeln!(text, "| --- |{}", " ---: |".repeat(header.len() - 1));
    for row in &table.lines {
        let mut cells = row.cells.clone();
        if row.discloses {
            cells[0] += " (**tells targets to the model’s owner**)";
        }
        text += &line(&cells);
    }
    text + "\n"
}
