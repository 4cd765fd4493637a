//! A memory along the adapted mixture's own words.

use std::path::Path;

use crate::running::{SETTINGS, Service, TEMPLATE, pema};

#[test]
fn a_second_round_is_estimated_before_anything_is_sent_and_keeps_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, memory, file, second) = (path("data.jsonl"), path("memory"), path("adapter"), path("second"));
    // What an adapter that copies has seen little of, it repeats from its prompt: here that is the target.
    let row = |text: &str| format!("{{\"input\": \"{text}\", \"target\": \"{text}\"}}\n");
    let texts =
        ["the train from Ulm was late", "we sold nine red bicycles today", "my sister plays in a band", "it rained all of May"];
    std::fs::write(&data, texts.map(row).concat()).unwrap();
    let pairs = ["--data", &data, "--validation-fraction", "0.25", "--template", TEMPLATE];
    let settings = SETTINGS.replacen('{', r#"{"copy": true, "prefix": 1, "#, 1);
    let learn = |memory: &str, out: &str, pairing: &str| {
        let train = ["train", "--from", memory, "--settings", &settings, "--pairing", pairing, "--out", out];
        pema(&[&train[..], &pairs].concat()).unwrap();
    };
    let regenerate = |service: &str, most: &str, more: &[&str]| {
        let what = ["regenerate", "--from", &memory, "--adapter", &file, "--out", &second, "--max-overlap", most];
        pema(&[&what[..], &pairs, &["--service", service], more].concat())
    };
    let service = Service::start(&folder.path().join("service"));
    pema(&[&["extract", "--out", &memory, "--service", &service.url][..], &pairs].concat()).unwrap();
    learn(&memory, &file, "position");

    // Nobody listens there: an estimate needs nobody.
    let nobody = "http://127.0.0.1:9";
    let said = regenerate(nobody, "1", &[]).unwrap();
    assert!(said.contains("can resemble the targets") && said.contains("the mixture says"), "{said}");
    assert!(said.contains("Nothing was sent") && !Path::new(&second).exists(), "{said}");
    assert!(regenerate(nobody, "1", &["--send"]).unwrap_err().contains("does not answer"));
    assert!(regenerate(nobody, "1.5", &["--send"]).unwrap_err().contains("is a share"));
    let refused = regenerate(&service.url, "0", &["--send"]).unwrap_err();
    assert!(refused.contains("above --max-overlap 0: nothing was sent"), "{refused}");

    let said = regenerate(&service.url, "1", &["--send"]).unwrap();
    assert!(said.contains("as it was sent") && said.contains("4 prompts, round 2"), "{said}");
    learn(&second, &path("by-position"), "position");
    learn(&second, &path("by-alignment"), "alignment");
    let manifest = std::fs::read_to_string(Path::new(&second).join("memory.json")).unwrap();
    assert!(manifest.contains(r#""round": 2"#), "{manifest}");
}
