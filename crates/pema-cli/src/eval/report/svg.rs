//! Charts, as SVG in the page: colours are the page's, so that they follow light and dark.

use std::fmt::Write;

use super::{Row, html::escape};

/// Schedules down, weights across; fuller is better.
pub fn heat_map(row: &Row) -> String {
    let (cell_width, cell_height, left, top) = (58, 34, 90, 22);
    let mut schedules: Vec<String> = row.grid.iter().map(|cell| cell.mixture.schedule.to_string()).collect();
    schedules.dedup();
    let columns = row.grid.len() / schedules.len().max(1);
    let logs = row.grid.iter().map(|cell| cell.perplexity.ln());
    let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let mut cells = String::new();
    for (i, cell) in row.grid.iter().enumerate() {
        let (x, y) = (left + i % columns * cell_width, top + i / columns * cell_height);
        let share = 1.0 - (cell.perplexity.ln() - low) / (high - low).max(f64::MIN_POSITIVE);
        let (tx, ty) = (x + cell_width / 2, y + cell_height / 2 + 4);
        let _ = write!(
            cells,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{cell_width}\" height=\"{cell_height}\" fill-opacity=\"{share:.2}\"/>\
             <text x=\"{tx}\" y=\"{ty}\" text-anchor=\"middle\">{:.1}</text>",
            cell.perplexity
        );
        if i < columns {
            let _ = write!(cells, "<text x=\"{tx}\" y=\"14\" text-anchor=\"middle\">{}</text>", cell.mixture.lambda_max);
        }
        if i % columns == 0 {
            let _ = write!(cells, "<text x=\"0\" y=\"{ty}\">{}</text>", cell.mixture.schedule);
        }
    }
    let (width, height) = (left + columns * cell_width, top + schedules.len() * cell_height);
    let best = row.grid.iter().min_by(|a, b| a.perplexity.total_cmp(&b.perplexity));
    let said = best.map_or(String::new(), |best| {
        format!("{}, {}: best, with perplexity {:.1}", best.mixture.schedule, best.mixture.lambda_max, best.perplexity)
    });
    let title = format!("Perplexity of {} by schedule and weight", row.title);
    format!("<h3>{}</h3>{}", escape(&row.title), picture(&row.id, width, height, &title, &said, &cells))
}

/// An image that says what it shows.
fn picture(id: &str, width: usize, height: usize, title: &str, description: &str, content: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}</title>\
         <desc id=\"{id}-d\">{}</desc>{content}</svg>\n",
        escape(title),
        escape(description)
    )
}
