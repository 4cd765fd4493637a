//! Charts, as SVG in the page: colours are the page's, so that they follow light and dark.

use std::fmt::Write;

use super::{Curve, Report, Row, html::escape};
use crate::eval::bootstrap::Interval;

/// Forms of mixture down, weights across; fuller is better.
pub fn heat_map(row: &Row) -> String {
    let (cell_width, cell_height, left, top) = (58, 34, 90, 22);
    let mut forms: Vec<String> = row.grid.iter().map(|cell| cell.mixture.form.to_string()).collect();
    forms.dedup();
    let columns = row.grid.len() / forms.len().max(1);
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
            let _ = write!(cells, "<text x=\"0\" y=\"{ty}\">{}</text>", cell.mixture.form);
        }
    }
    let (width, height) = (left + columns * cell_width, top + forms.len() * cell_height);
    let best = row.grid.iter().min_by(|a, b| a.perplexity.total_cmp(&b.perplexity));
    let said = best.map_or(String::new(), |best| {
        format!("{}, {}: best, with perplexity {:.1}", best.mixture.form, best.mixture.lambda_max, best.perplexity)
    });
    let title = format!("Perplexity of {} by mixture and weight", row.title);
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

/// Methods down, with their intervals: test perplexity, on a logarithmic axis, and chrF if texts were
/// written.
pub fn dots(report: &Report) -> String {
    let perplexity: Vec<_> = report.rows.iter().map(|row| (row, row.perplexity.interval)).collect();
    let written = report.rows.iter().filter_map(|row| Some((row, row.texts.as_ref()?.chrf.interval)));
    let chrf: Vec<_> = written.collect();
    let perplexity = dot_chart("perplexity", "Test perplexity, less is better", &perplexity, f64::ln);
    perplexity + &dot_chart("chrf", "chrF of greedy texts, more is better", &chrf, |value| value)
}

fn dot_chart(id: &str, title: &str, items: &[(&Row, Interval)], scale: fn(f64) -> f64) -> String {
    let (left, width, line) = (360.0, 900.0, 26.0);
    let Some(range) = Range::of(items.iter().map(|(_, interval)| *interval), scale) else { return String::new() };
    let x = |value: f64| left + range.share(scale(value)) * (width - left - 60.0);
    let mut marks = String::new();
    let mut said = String::new();
    for (i, (row, interval)) in items.iter().enumerate() {
        let y = line * (i as f64 + 0.7);
        let class = if row.discloses { "mark other" } else { "mark" };
        let (low, high, value) = (x(interval.low), x(interval.high), x(interval.value));
        let _ = write!(
            marks,
            "<a href=\"#{}\"><text x=\"0\" y=\"{:.1}\">{}</text></a><line class=\"{class}\" x1=\"{low:.1}\" x2=\"{high:.1}\" \
             y1=\"{y:.1}\" y2=\"{y:.1}\"/><circle class=\"{class}\" cx=\"{value:.1}\" cy=\"{y:.1}\" r=\"4\"/><text x=\"{:.1}\" \
             y=\"{:.1}\">{:.1}</text>",
            row.id,
            y + 4.0,
            escape(&row.label),
            high + 6.0,
            y + 4.0,
            interval.value
        );
        let _ = write!(said, "{}: {:.1} ({:.1} to {:.1}). ", row.label, interval.value, interval.low, interval.high);
    }
    let height = (line * (items.len() as f64 + 0.5)) as usize;
    format!("<h2>{title}</h2>{}", picture(id, width as usize, height, title, &said, &marks))
}

/// One chart for each quantity that was swept, a line for each method.
pub fn curves(report: &Report) -> String {
    let mut all = String::new();
    for (i, curve) in report.curves.iter().enumerate() {
        if report.curves[..i].iter().all(|other| other.quantity != curve.quantity) {
            let same: Vec<&Curve> = report.curves.iter().filter(|other| other.quantity == curve.quantity).collect();
            all += &line_chart(&same);
        }
    }
    all
}

fn line_chart(curves: &[&Curve]) -> String {
    let (width, height, left, bottom) = (900.0, 320.0, 60.0, 60.0);
    let Some(quantity) = curves.first().map(|curve| curve.quantity) else { return String::new() };
    // Kappas begin at 0; ranks and numbers of pairs double.
    let x_scale = |x: f64| if quantity == crate::eval::sweeps::Quantity::Kappa { x } else { x.ln() };
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let Some(ys) = Range::of(points().map(|point| point.perplexity), f64::ln) else { return String::new() };
    let xs = points().map(|point| x_scale(point.x));
    let Some(xs) = Range::over(xs) else { return String::new() };
    let x = |value: f64| left + 30.0 + xs.share(x_scale(value)) * (width - left - 60.0);
    let y = |value: f64| 20.0 + (1.0 - ys.share(value.ln())) * (height - bottom - 40.0);
    let (mut marks, mut said) = (String::new(), String::new());
    for (number, curve) in curves.iter().enumerate() {
        let class = if number == 0 { "mark" } else { "mark other" };
        let line: Vec<String> =
            curve.points.iter().map(|point| format!("{:.1},{:.1}", x(point.x), y(point.perplexity.value))).collect();
        let _ = write!(marks, "<polyline class=\"{class}\" points=\"{}\"/>", line.join(" "));
        let _ = write!(said, "{}: ", curve.title);
        for point in &curve.points {
            let Interval { value, low, high } = point.perplexity;
            let px = x(point.x);
            let _ = write!(
                marks,
                "<line class=\"{class}\" x1=\"{px:.1}\" x2=\"{px:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/><circle class=\"{class}\" \
                 cx=\"{px:.1}\" cy=\"{:.1}\" r=\"4\"/><text x=\"{:.1}\" y=\"{:.1}\">{value:.1}</text><text x=\"{px:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>",
                y(low),
                y(high),
                y(value),
                px + 7.0,
                y(value) - 6.0,
                height - bottom + 10.0,
                point.x
            );
            let _ = write!(said, "{} {}: {value:.1} ({low:.1} to {high:.1}); ", quantity, point.x);
        }
        let key = height - 22.0 + 16.0 * number as f64;
        let _ = write!(
            marks,
            "<line class=\"{class}\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/><text x=\"{:.1}\" y=\"{key:.1}\">{}</text>",
            left + 24.0,
            key - 4.0,
            key - 4.0,
            left + 32.0,
            escape(&curve.title)
        );
    }
    let title = format!("Test perplexity by {quantity}");
    let height = height as usize + 16 * curves.len();
    format!("<h2>{title}</h2>{}", picture(&format!("curve-{quantity}"), width as usize, height, &title, &said, &marks))
}

/// What an axis spans.
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn of(intervals: impl Iterator<Item = Interval>, scale: fn(f64) -> f64) -> Option<Self> {
        Self::over(intervals.flat_map(|interval| [scale(interval.low), scale(interval.value), scale(interval.high)]))
    }

    fn over(values: impl Iterator<Item = f64>) -> Option<Self> {
        values.filter(|value| value.is_finite()).fold(None, |range, value| {
            let Self { low, high } = range.unwrap_or(Self { low: value, high: value });
            Some(Self { low: low.min(value), high: high.max(value) })
        })
    }

    /// Where a value lies, in `[0, 1]`.
    fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
    }
}
