//! One HTML file that needs no other.

use std::fmt::Write;

use serde_json::Value;

use super::{
    Report, svg,
    tables::{Table, tables},
};

/// The whole document.
pub fn document(report: &Report) -> String {
    let warning = match report.disclosed {
        true => {
            "<p class=\"discloses\">Rows in red learned from contexts along the targets, which tells the targets to the model’s owner.</p>"
        }
        false => "",
    };
    let tables: String = tables(report).iter().map(table).collect();
    let maps: String = report.rows.iter().filter(|row| !row.grid.is_empty()).map(svg::heat_map).collect();
    let of_rows = report.rows.iter().map(|row| repetition(report, &row.id, &row.label, &row.command, &row.settings));
    let of_points = report.curves.iter().flat_map(|curve| {
        curve.points.iter().map(|point| {
            let label = format!("{}, {} {}", curve.title, curve.quantity, point.x);
            repetition(report, &format!("{}-{}", curve.id(), point.x), &label, &point.command, &point.settings)
        })
    });
    let repeats: String = of_rows.chain(of_points).collect();
    let left_out: String = report.left_out.iter().map(|what| format!("<p>Left out: {}</p>", escape(what))).collect();
    let charts = format!("{}{}", svg::dots(report), svg::curves(report));
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Pema evaluation</title><style>{STYLE}</style>\n<main><h1>Evaluation</h1><p>{}</p>{warning}{left_out}\n{charts}{tables}\
         <h2>Weights</h2><p>Perplexity on validation pairs, by mixture and largest weight.</p>{maps}\
         <h2>How to repeat this</h2><p>All of it:</p><pre>{}</pre>{repeats}</main></html>\n",
        escape(&report.about()),
        escape(&report.command)
    )
}

/// Every line's first cell leads to its command, settings and seed.
fn table(table: &Table) -> String {
    let mut rows = String::new();
    for line in &table.lines {
        let class = if line.discloses { " class=\"discloses\"" } else { "" };
        let (label, numbers) = line.cells.split_first().map_or(("", &[][..]), |(label, numbers)| (label.as_str(), numbers));
        let numbers: String = numbers.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        let _ = writeln!(rows, "<tr{class}><th scope=\"row\"><a href=\"#{}\">{}</a></th>{numbers}</tr>", line.id, escape(label));
    }
    let header: String = table.header.iter().map(|title| format!("<th scope=\"col\">{title}</th>")).collect();
    format!(
        "<h2>{}</h2><p>{}</p><div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><thead><tr>{header}</tr></thead><tbody>\n{rows}</tbody></table></div>\n",
        table.title,
        escape(&table.note)
    )
}

fn repetition(report: &Report, id: &str, label: &str, command: &str, settings: &Value) -> String {
    format!(
        "<section id=\"{id}\"><h3>{}</h3><pre>{}</pre><p>Seeds: training {}, bootstrap {}. Settings:</p><pre>{}</pre></section>\n",
        escape(label),
        escape(command),
        report.seed,
        report.bootstrap_seed,
        escape(&settings.to_string())
    )
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2430;--ground:#fff;--line:#d8dde6;--bad:#b3261e;--heat:#2f7d6b}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--ground:#14181f;--line:#343b47;--bad:#ff8a80;--heat:#3fa38c}}\
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}a{color:inherit}\
main{max-width:70rem;margin:auto;padding:2rem 1rem}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th,td{padding:.4rem .6rem;border-bottom:1px solid var(--line);text-align:right;font-weight:inherit}\
thead th{font-weight:600}th:first-child{text-align:left}.discloses{color:var(--bad)}pre{white-space:pre-wrap;overflow-wrap:anywhere}\
section:target{outline:2px solid var(--heat);outline-offset:.5rem}\
svg{width:100%;height:auto;font-size:13px;fill:var(--ink)}rect{fill:var(--heat);stroke:var(--line)}\
.mark{stroke:var(--heat);fill:var(--heat);stroke-width:2}.mark.other{stroke:var(--bad);fill:var(--bad)}\
.axis{stroke:var(--line)}polyline.mark{fill:none}polyline.other{stroke-dasharray:6 4}";
