use super::*;
use serde::Deserialize;

/// sacrebleu and this module must agree to this.
const TOLERANCE: f64 = 0.01;

#[derive(Deserialize)]
struct Sample {
    sacrebleu: String,
    outputs: Vec<String>,
    references: Vec<String>,
    subsets: Vec<Subset>,
}

#[derive(Deserialize)]
struct Subset {
    name: String,
    lines: Vec<usize>,
    bleu: f64,
    chrf: f64,
}

fn sample() -> Sample {
    serde_json::from_str(include_str!("../../tests/samples/metrics.json")).unwrap()
}

#[test]
fn bleu_and_chrf_agree_with_sacrebleu() {
    let sample = sample();
    assert!(sample.sacrebleu.starts_with("2."));
    for subset in &sample.subsets {
        let pick = |from: &[String]| subset.lines.iter().map(|&i| from[i].clone()).collect::<Vec<_>>();
        let (outputs, references) = (pick(&sample.outputs), pick(&sample.references));
        for (metric, ours, theirs) in [
            ("BLEU", bleu(&outputs, &references).unwrap(), subset.bleu),
            ("chrF", chrf(&outputs, &references).unwrap(), subset.chrf),
        ] {
            assert!((ours - theirs).abs() < TOLERANCE, "{metric} of {}: {ours}, sacrebleu {theirs}", subset.name);
        }
    }
}

#[test]
fn identical_texts_score_a_hundred() {
    let texts = ["I would be grateful for a prompt reply.", "Thank you very much indeed."];
    assert!((bleu(&texts, &texts).unwrap() - 100.0).abs() < 1e-9);
    assert!((chrf(&texts, &texts).unwrap() - 100.0).abs() < 1e-9);
    assert_eq!(exact_match(&texts, &texts).unwrap(), 100.0);
}

#[test]
fn exact_match_ignores_white_space_at_the_ends_alone() {
    assert_eq!(exact_match(&[" yes", "y es", "no", "No"], &["yes ", "yes", "no", "no"]).unwrap(), 50.0);
}

#[test]
fn unpaired_or_absent_outputs_are_errors() {
    assert_eq!(bleu(&["a"], &["a", "b"]), Err(MetricError::Length { outputs: 1, references: 2 }));
    assert_eq!(chrf::<&str, &str>(&[], &[]), Err(MetricError::Empty));
}

proptest::proptest! {
    #[test]
    fn scores_stay_in_range(pairs in proptest::collection::vec((".{0,20}", ".{0,20}"), 1..6)) {
        let (outputs, references): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        for score in [bleu(&outputs, &references).unwrap(), chrf(&outputs, &references).unwrap()] {
            proptest::prop_assert!((0.0..=100.0 + 1e-9).contains(&score));
        }
    }
}
