//! Contexts of the prompt alone, and of all its tokens, from extraction to private generation.

use std::path::Path;

use crate::running::{SETTINGS, Service, TEMPLATE, eight_of, pema, report, sample};

#[test]
fn contexts_of_the_prompt_alone_go_all_the_way_to_private_generation() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("service"));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (test, train) = (sample("test"), sample("train"));
    let pairs = eight_of(&train);
    let at_service = ["--service", &service.url];
    let adapter = |contexts: &str| {
        let memory = path(contexts);
        let extract = ["extract", "--out", &memory, "--contexts", contexts];
        let said = pema(&[&extract[..], &at_service, &pairs].concat()).unwrap();
        assert_eq!(said.starts_with("8 rows of 8 prompts"), contexts == "prompt", "{said}");
        let file = path(&format!("{contexts}.safetensors"));
        pema(&[&["train", "--from", &memory, "--settings", SETTINGS, "--out", &file][..], &pairs].concat()).unwrap();
        (memory, file)
    };
    let write = |(memory, file): &(String, String), how: &[&str]| {
        let generate =
            ["generate", "gotta run", "--from", memory, "--adapter", file, "--max-tokens", "4", "--template", TEMPLATE];
        pema(&[&generate[..], &at_service, how].concat())
    };
    let (of_prompts, of_steps) = (adapter("prompt"), adapter("steps"));
    let both = write(&of_prompts, &[]).unwrap();
    assert!(both.contains("PLM:") && both.contains("mixture:"), "{both}");
    for how in [&["--private"][..], &["--consult", "2"], &["--consult-above", "3"]] {
        let alone = write(&of_prompts, how).unwrap();
        assert!(!alone.contains("PLM:") && alone.contains("mixture:"), "{alone}");
        let refused = write(&of_steps, how).unwrap_err();
        assert!(refused.contains("contexts of the prompt alone"), "{refused}");
    }

    let aligned = path("aligned.safetensors");
    let align = |memory: &str| {
        let train = ["train", "--from", memory, "--settings", SETTINGS, "--pairing", "alignment", "--out", &aligned];
        pema(&[&train[..], &pairs].concat())
    };
    align(&of_steps.0).unwrap();
    assert!(write(&(of_steps.0.clone(), aligned.clone()), &[]).unwrap().contains("mixture:"));
    let said = |file: &str| String::from_utf8_lossy(&std::fs::read(file).unwrap()).contains(r#"\"pairing\":\"alignment\""#);
    assert!(said(&aligned) && !said(&of_steps.1));
    let refused = align(&of_prompts.0).unwrap_err();
    assert!(refused.contains("needs contexts of steps"), "{refused}");

    let gated = path("gated.safetensors");
    let learn_a_gate = |memory: &str| {
        let settings = SETTINGS.replacen('{', r#"{"gate": true, "#, 1);
        pema(&[&["train", "--from", memory, "--settings", &settings, "--out", &gated][..], &pairs].concat())
    };
    let said = learn_a_gate(&of_steps.0).unwrap();
    assert!(said.contains("gate learned from"), "{said}");
    assert!(write(&(of_steps.0.clone(), gated.clone()), &["--schedule", "learned"]).unwrap().contains("mixture:"));
    let refused = write(&of_steps, &["--schedule", "learned"]).unwrap_err();
    assert!(refused.contains("has no gate"), "{refused}");
    let refused = learn_a_gate(&of_prompts.0).unwrap_err();
    assert!(refused.contains("a gate needs contexts of steps"), "{refused}");

    let (memory, out) = (of_prompts.0, path("out"));
    let measure = ["eval", "--from", &memory, "--test", &test, "--test-limit", "2", "--settings", SETTINGS];
    let how = ["--out", &out, "--methods", "plm,knn,copy", "--disclose-targets"];
    pema(&[&measure[..], &how, &at_service, &pairs].concat()).unwrap();
    let report = report(Path::new(&out));
    assert_eq!((report["contexts"].as_str(), report["memory_rows"].as_u64()), (Some("prompt"), Some(8)));
    assert_eq!(report["rows"].as_array().unwrap().len(), 2 + 2 * 4);
    let markdown = std::fs::read_to_string(Path::new(&out).join("report.md")).unwrap();
    assert!(markdown.contains("contexts of the prompt alone, 8 rows"), "{markdown}");
}

#[test]
fn contexts_of_all_the_prompts_tokens_go_all_the_way_to_private_generation() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("service"));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (test, train, out) = (sample("test"), sample("train"), path("out"));
    let pairs = eight_of(&train);
    let at_service = ["--service", &service.url];
    let extract = |contexts: &str| {
        let memory = path(contexts);
        let said = pema(&[&["extract", "--out", &memory, "--contexts", contexts][..], &at_service, &pairs].concat()).unwrap();
        (memory, said.split(' ').next().unwrap().parse::<usize>().unwrap())
    };
    let ((memory, rows), (of_prompts, prompts)) = (extract("prompt-all"), extract("prompt"));
    assert!(prompts == 8 && rows > 10 * prompts, "{rows} rows");

    let settings = SETTINGS.replacen('{', r#"{"attend": true, "prefix": 1, "#, 1);
    let file = path("adapter");
    let learn =
        |memory: &str| pema(&[&["train", "--from", memory, "--settings", &settings, "--out", &file][..], &pairs].concat());
    let refused = learn(&of_prompts).unwrap_err();
    assert!(refused.contains("extract a memory of these (prompt-all)"), "{refused}");
    learn(&memory).unwrap();
    let generate = ["generate", "gotta run", "--from", &memory, "--adapter", &file, "--max-tokens", "4", "--template", TEMPLATE];
    for how in [&[][..], &["--private"]] {
        let said = pema(&[&generate[..], &at_service, how].concat()).unwrap();
        assert!(said.contains("mixture:") && said.contains("PLM:") == how.is_empty(), "{said}");
    }

    let how = ["--test", &test, "--test-limit", "2", "--settings", SETTINGS, "--out", &out, "--methods", "plm,knn,attend"];
    let measure = |memory: &str| {
        pema(&[&["eval", "--from", memory][..], &how, &at_service, &pairs].concat()).unwrap();
        report(Path::new(&out))
    };
    let all = measure(&memory);
    assert_eq!((all["contexts"].as_str(), all["memory_rows"].as_u64()), (Some("prompt-all"), Some(rows as u64)));
    assert_eq!((all["rows"].as_array().unwrap().len(), all["left_out"].as_array().unwrap().len()), (2 + 4, 0));
    assert_eq!(all["rows"][2]["settings"]["attend"], true);
    let markdown = std::fs::read_to_string(Path::new(&out).join("report.md")).unwrap();
    assert!(markdown.contains("contexts of all the prompt's tokens"), "{markdown}");
    let without = measure(&of_prompts);
    assert_eq!(without["rows"].as_array().unwrap().len(), 2);
    assert!(without["left_out"][0].as_str().unwrap().contains("--contexts prompt-all"), "{without}");
}
