//! `pema report join`: studies of the same pairs on one page.

use anyhow::{Context, Result, ensure};

use super::Report;

/// One report of all, each study's rows under its own name.
pub fn joined(reports: Vec<Report>) -> Result<Report> {
    let pairs = |report: &Report| (report.training_pairs, report.validation_pairs, report.test_pairs);
    let seeds = |report: &Report| (report.seed, report.bootstrap_seed);
    let mut studies = reports.into_iter().zip(1..).map(|(report, number)| renamed(report, number));
    let mut all = studies.next().context("no report to join")?;
    for study in studies {
        ensure!(
            pairs(&all) == pairs(&study) && seeds(&all) == seeds(&study),
            "these are no studies of the same pairs and seeds: {} {}",
            all.about(),
            study.about()
        );
        ensure!(
            all.texts.is_none() || study.texts.is_none() || all.texts == study.texts,
            "their texts were written within different bounds: give all studies the same --max-tokens and --no-repeat"
        );
        all.studies.extend(study.studies);
        all.model = format!("{}; {}", all.model, study.model);
        all.command = format!("{}\n{}", all.command, study.command);
        all.texts = all.texts.or(study.texts);
        all.disclosed |= study.disclosed;
        all.left_out.extend(study.left_out);
        all.rows.extend(study.rows);
        all.curves.extend(study.curves);
    }
    Ok(all)
}

/// A study whose rows cannot be taken for another's.
fn renamed(mut report: Report, number: usize) -> Report {
    if report.studies.is_empty() {
        report.studies.push(report.about());
    }
    let name = |text: &mut String| *text = format!("{number}: {text}");
    let id = |text: &mut String| *text = format!("{number}-{text}");
    for row in &mut report.rows {
        [&mut row.title, &mut row.label].into_iter().for_each(name);
        [&mut row.id, &mut row.method].into_iter().for_each(id);
    }
    for curve in &mut report.curves {
        name(&mut curve.title);
        id(&mut curve.method);
    }
    report.studies.iter_mut().for_each(name);
    report
}
