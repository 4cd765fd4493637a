//! `pema report diff A B`: where two reports differ, and whether by more than their intervals.

use std::collections::BTreeMap;

use super::Report;
use crate::eval::bootstrap::Interval;

/// Where two reports differ, as a Markdown table.
pub fn table(a: &Report, b: &Report) -> String {
    differences(&scores(a), &scores(b))
}

/// Every number with an interval, by row or point and score.
type Scores = BTreeMap<(String, &'static str), Interval>;

fn scores(report: &Report) -> Scores {
    let mut all = Scores::new();
    for row in &report.rows {
        all.insert((row.id.clone(), "perplexity"), row.perplexity.interval);
        if let Some(texts) = &row.texts {
            all.insert((row.id.clone(), "chrF"), texts.chrf.interval);
            all.insert((row.id.clone(), "BLEU"), texts.bleu.interval);
            all.insert((row.id.clone(), "exact match"), texts.exact_match.interval);
        }
    }
    for curve in &report.curves {
        for point in &curve.points {
            all.insert((format!("{}-{}", curve.id(), point.x), "perplexity"), point.perplexity);
        }
    }
    all
}

fn differences(a: &Scores, b: &Scores) -> String {
    let mut text = "| Row | Score | A | B | B - A | |\n| --- | --- | ---: | ---: | ---: | --- |\n".to_owned();
    for ((row, score), here) in a {
        let Some(there) = b.get(&(row.clone(), *score)) else {
            text += &format!("| {row} | {score} | {:.2} | | | only in A |\n", here.value);
            continue;
        };
        let is_within = |value: f64, interval: &Interval| (interval.low..=interval.high).contains(&value);
        let flag = if is_within(there.value, here) && is_within(here.value, there) { "" } else { "**outside the interval**" };
        let difference = there.value - here.value;
        text += &format!("| {row} | {score} | {:.2} | {:.2} | {difference:+.2} | {flag} |\n", here.value, there.value);
    }
    for ((row, score), there) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
        text += &format!("| {row} | {score} | | {:.2} | | only in B |\n", there.value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_outside_the_intervals_are_flagged() {
        let scores = |rows: &[(&str, f64)]| -> Scores {
            let one = |(row, value): &(&str, f64)| {
                ((row.to_string(), "perplexity"), Interval { value: *value, low: value - 1.0, high: value + 1.0 })
            };
            rows.iter().map(one).collect()
        };
        let found = differences(
            &scores(&[("same", 5.0), ("far", 5.0), ("gone", 1.0)]),
            &scores(&[("same", 5.5), ("far", 9.0), ("new", 2.0)]),
        );
        assert!(found.contains("| same | perplexity | 5.00 | 5.50 | +0.50 |  |"), "{found}");
        assert!(found.contains("| far | perplexity | 5.00 | 9.00 | +4.00 | **outside the interval** |"), "{found}");
        assert!(found.contains("only in A") && found.contains("only in B"), "{found}");
    }
}
