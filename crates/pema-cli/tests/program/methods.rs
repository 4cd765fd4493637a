//! Every method and every sweep of `pema eval`, and what it sends.

use std::path::Path;

use serde_json::Value;

use crate::running::{SETTINGS, Service, eight_of, pema, pema_diff, report, sample};

/// Of rows of the report below, from a run; the engine's kernels differ a little between processors.
const PERPLEXITIES: [(&str, f64); 48] = [
    ("plm", 19.45),
    ("knn-constant", 19.54),
    ("pema-constant", 20.36),
    ("pema-linear", 19.82),
    ("pema-quadratic", 19.46),
    ("pema-geometric", 19.58),
    ("pema-kappa-0-constant", 20.35),
    ("pema-kappa-0-linear", 19.81),
    ("pema-kappa-0-quadratic", 19.46),
    ("pema-kappa-0-geometric", 19.58),
    ("window-constant", 20.39),
    ("window-linear", 19.83),
    ("window-quadratic", 19.46),
    ("window-geometric", 19.52),
    ("copy-constant", 20.10),
    ("copy-linear", 19.90),
    ("copy-quadratic", 19.93),
    ("copy-geometric", 19.63),
    ("context-constant", 20.09),
    ("context-linear", 19.90),
    ("context-quadratic", 19.93),
    ("context-geometric", 19.63),
    ("short-constant", 20.47),
    ("short-linear", 20.09),
    ("short-quadratic", 20.28),
    ("short-geometric", 19.65),
    ("contrast-constant", 20.09),
    ("contrast-linear", 20.59),
    ("contrast-quadratic", 20.39),
    ("contrast-geometric", 20.48),
    ("contrast-contrast", 19.32),
    ("residual-constant", 19.67),
    ("residual-linear", 19.74),
    ("residual-quadratic", 19.94),
    ("residual-geometric", 19.15),
    ("gated-constant", 20.05),
    ("gated-linear", 19.85),
    ("gated-quadratic", 19.86),
    ("gated-geometric", 20.38),
    ("gated-learned", 20.05),
    ("disclosed-constant", 20.37),
    ("disclosed-linear", 19.83),
    ("disclosed-quadratic", 19.46),
    ("disclosed-geometric", 19.57),
    ("deep-constant", 20.27),
    ("deep-linear", 19.77),
    ("deep-quadratic", 19.46),
    ("deep-geometric", 19.60),
];

#[test]
fn every_method_is_measured_on_one_memory() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("service"));
    let (memory, out) = (folder.path().join("memory"), folder.path().join("out"));
    let (memory, test, train) = (memory.to_str().unwrap(), sample("test"), sample("train"));
    let pairs = [&["--service", &service.url][..], &eight_of(&train)].concat();
    pema(&[&["extract", "--out", memory], &pairs[..]].concat()).unwrap();

    let measure = ["eval", "--from", memory, "--test", &test, "--test-limit", "3", "--settings", SETTINGS];
    let how = ["--out", out.to_str().unwrap(), "--disclose-targets", "--method", r#"deep={"prefix": 4, "pairing": "alignment"}"#];
    let texts = ["--texts=constant,geometric,contrast", "--max-tokens", "4", "--streams", "3"];
    let sweeps =
        ["--sweep", "rank=4,8", "--sweep", "kappa=0,0.4", "--sweep", "memory=0.5,1", "--sweep-methods", "pema", "--jobs", "2"];
    let measure = [&measure[..], &pairs, &how, &texts, &sweeps].concat();
    pema(&measure).unwrap();
    let first = report(&out);
    let rows = first["rows"].as_array().unwrap();
    let methods: Vec<&str> = rows.iter().map(|row| row["method"].as_str().unwrap()).collect();
    assert_eq!(methods.len(), 2 + 4 * 11 + 2, "{methods:?}");
    let perplexity = |row: &Value| row["perplexity"]["value"].as_f64().unwrap();
    let found = PERPLEXITIES.map(|(id, expected)| (id, expected, rows.iter().find(|row| row["id"] == id).map(perplexity)));
    let is_wrong =
        |(_, expected, found): &(&str, f64, Option<f64>)| found.is_none_or(|found| (found / expected - 1.0).abs() >= 0.01);
    let wrong: Vec<_> = found.into_iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "perplexities, expected and found: {wrong:?}");
    for row in rows {
        let [low, high] = [0, 1].map(|i| row["perplexity"][["low", "high"][i]].as_f64().unwrap());
        assert!(low <= perplexity(row) && perplexity(row) <= high, "{row}");
        assert_eq!(row["discloses"].as_bool().unwrap(), row["method"] == "disclosed", "{row}");
        assert_eq!(row["perplexity"]["p_plm"].is_null(), row["method"] == "plm", "{row}");
        let trains = !matches!(row["method"].as_str(), Some("plm" | "knn"));
        assert_eq!(row["costs"]["training_seconds"].as_f64().is_some(), trains, "{row}");
        assert_eq!(row["costs"]["bytes_sent"].as_u64() > Some(0), row["method"] != "plm", "{row}");
        let is_constant = row["mixture"].is_null() || row["mixture"]["schedule"] == "constant";
        assert_eq!(row["texts"]["outputs"].as_array().map(Vec::len), is_constant.then_some(3), "{row}");
        let method = row["method"].as_str().unwrap();
        assert!(row["command"].as_str().unwrap().contains(method), "{row}");
    }
    assert_eq!(rows.last().unwrap()["settings"]["prefix"], 4);
    let cells = rows.iter().map(|row| row["grid"].as_array().unwrap().len());
    assert_eq!(cells.filter(|cells| *cells > 0).collect::<Vec<_>>(), [&[33][..], &[44; 6], &[55, 44, 55], &[44; 2]].concat());
    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.contains("<svg") && !html.contains("http://www.") && html.contains("class=\"discloses\""));
    assert!(rows.iter().all(|row| html.contains(&format!("id=\"{}\"", row["id"].as_str().unwrap()))));

    // Each sweep passes through the shared settings, where it gives the method's own number.
    let curves = first["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 3);
    let on_validation = |row: &&Value| (row["validation_perplexity"].as_f64().unwrap() * 1e9) as u64;
    let paper = rows.iter().filter(|row| row["method"] == "pema").min_by_key(on_validation).unwrap();
    for (curve, quantity) in curves.iter().zip(["rank", "kappa", "memory"]) {
        assert_eq!((curve["quantity"].as_str(), curve["points"].as_array().unwrap().len()), (Some(quantity), 2));
        let last = &curve["points"][1];
        let is_shared = quantity != "kappa";
        assert!(!is_shared || last["perplexity"]["value"] == paper["perplexity"]["value"], "{last}");
    }
    assert_eq!(curves[2]["points"][0]["x"], 3.0);
    assert!(html.contains("id=\"curve-rank-t\"") && html.matches("role=\"img\"").count() == html.matches("<desc").count());
    let same = pema_diff(&out, &out);
    assert!(same.contains("+0.00") && !same.contains("outside"), "{same}");

    // A second run finds everything where the first left it, down to the seconds that training took.
    pema(&measure).unwrap();
    assert_eq!(first, report(&out));
}

#[test]
fn a_task_brings_its_pairs_and_its_template() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("service"));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(path("wmt22")).unwrap();
    let rows = (0..30).map(|i| format!("{{\"en\": \"Number {i} is {}.\", \"du\": \"Zahl {i} ist da.\"}}\n", "x".repeat(i)));
    std::fs::write(path("wmt22/train.jsonl"), rows.collect::<String>()).unwrap();
    let (memory, out, task) = (path("memory"), path("out"), path("wmt22"));
    let pairs = ["--service", &service.url, "--task", "wmt22", "--task-dir", &task, "--min-chars", "14", "--draw", "4,2,2"];
    let said = pema(&[&["extract", "--out", &memory, "--contexts", "prompt"], &pairs[..]].concat()).unwrap();
    assert!(said.starts_with("6 rows of 6 prompts"), "{said}");
    let measure =
        ["eval", "--from", &memory, "--settings", SETTINGS, "--methods", "plm,pema", "--train-limit", "2", "--out", &out];
    let measure = [&measure[..], &["--baselines", "lora", "--python", "no-such-python"]].concat();
    pema(&[&measure[..], &pairs].concat()).unwrap();
    let report = report(Path::new(&out));
    let count = |of: &str| report[of].as_u64().unwrap();
    assert_eq!((count("training_pairs"), count("validation_pairs"), count("test_pairs")), (2, 2, 2));
    assert!(report["left_out"][0].as_str().unwrap().contains("no-such-python"), "{report}");
    assert!(report["rows"][1]["command"].as_str().unwrap().contains("--task wmt22 --task-dir"), "{report}");
}

#[test]
fn references_are_sent_to_this_machine_only_and_targets_told_on_demand_only() {
    let args = ["eval", "--from", "x", "--data", "x", "--test", "x", "--template", "{input}", "--out", "x"];
    let refused = pema(&[&args[..], &["--service", "http://192.0.2.1:8321"]].concat()).unwrap_err();
    assert!(refused.contains("serve the model on this machine"), "{refused}");
    let refused = pema(&[&args[..], &["--methods", "plm,disclosed"]].concat()).unwrap_err();
    assert!(refused.contains("--disclose-targets"), "{refused}");
}
