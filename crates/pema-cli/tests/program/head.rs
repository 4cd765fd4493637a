//! The head in int8.

use std::path::Path;

use serde_json::Value;

use crate::running::{SETTINGS, Service, TEMPLATE, eight_of, pema, report, sample};

#[test]
fn an_adapter_trained_through_the_int8_head_fits_either_head() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("service"));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (test, train) = (sample("test"), sample("train"));
    let pairs = eight_of(&train);
    let at_service = ["--service", &service.url];
    let memories = ["f16", "int8"].map(|form| {
        let memory = path(form);
        let extract = ["extract", "--out", &memory, "--contexts", "prompt", "--head", form];
        pema(&[&extract[..], &at_service, &pairs].concat()).unwrap();
        memory
    });
    let bytes = |memory: &String| std::fs::metadata(Path::new(memory).join("head.safetensors")).unwrap().len();
    assert!(bytes(&memories[1]) * 100 < bytes(&memories[0]) * 51);

    let adapter = path("adapter.safetensors");
    pema(&[&["train", "--from", &memories[1], "--settings", SETTINGS, "--out", &adapter][..], &pairs].concat()).unwrap();
    for memory in &memories {
        let generate = ["generate", "gotta run", "--from", memory, "--adapter", &adapter, "--max-tokens", "4"];
        let said = pema(&[&generate[..], &["--template", TEMPLATE], &at_service].concat()).unwrap();
        assert!(said.contains("PLM:") && said.contains("mixture:"), "{said}");
    }

    // One folder for both, in which neither takes the other's results for its own.
    let (out, joint) = (path("out"), path("joint"));
    let losses = memories.each_ref().map(|memory| {
        let measure = ["eval", "--from", memory, "--test", &test, "--test-limit", "3", "--settings", SETTINGS];
        let how = ["--out", &out, "--methods", "plm,pema"];
        pema(&[&measure[..], &how, &at_service, &pairs].concat()).unwrap();
        std::fs::copy(Path::new(&out).join("report.json"), format!("{memory}.json")).unwrap();
        let report = report(Path::new(&out));
        let loss = |row: &Value| row["perplexity"]["value"].as_f64().unwrap().ln();
        (report["model"].as_str().unwrap().to_owned(), report["rows"].as_array().unwrap().iter().map(loss).collect::<Vec<_>>())
    });
    let [(f16_model, f16), (int8_model, int8)] = losses;
    assert_eq!(int8_model, format!("{f16_model}, int8 head"));
    for (f16, int8) in f16.iter().zip(&int8) {
        // Over so few tokens rounding does not even out as it does over the service's probe texts.
        assert!(f16 != int8 && (int8 / f16 - 1.0).abs() < 0.03, "{int8} instead of {f16}");
    }

    let studies = memories.each_ref().map(|memory| format!("{memory}.json"));
    pema(&["report", "join", &studies[0], &studies[1], "--out", &joint]).unwrap();
    let report = report(Path::new(&joint));
    assert_eq!(report["model"].as_str(), Some(format!("{f16_model}; {int8_model}").as_str()));
    let ids: Vec<_> = report["rows"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), f16.len() + int8.len());
    assert!(ids[0] == "1-plm" && ids.contains(&"2-pema-linear"), "{ids:?}");
    let page = std::fs::read_to_string(Path::new(&joint).join("report.html")).unwrap();
    assert!(page.contains("2: PEMA, linear") && page.contains(&int8_model), "{page}");
}
