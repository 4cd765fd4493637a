//! Every method and every sweep of `pema eval`, and contexts of the prompt alone from extraction to
//! private generation, on a handful of pairs of the real default model.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

const SETTINGS: &str = r#"{"rank": 8, "alpha": 8, "reconstruction_epochs": 2, "prediction_epochs": 2, "prediction_batch": 32, "reconstruction_batch": 32}"#;
/// Of rows of the report below, from a run; the engine's kernels differ a little between processors.
const PERPLEXITIES: [(&str, f64); 43] = [
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
    ("short-constant", 20.05),
    ("short-linear", 19.85),
    ("short-quadratic", 19.86),
    ("short-geometric", 20.38),
    ("contrast-constant", 19.04),
    ("contrast-linear", 18.61),
    ("contrast-quadratic", 18.49),
    ("contrast-geometric", 19.32),
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
const TEMPLATE: &str = r"Informal: {input}\nFormal:";

struct Service {
    process: Child,
    url: String,
}

impl Service {
    fn start(data: &Path) -> Self {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_pema"));
        serve.args(["serve", "--model", "default", "--port", "0", "--context", "512", "--data-dir"]).arg(data);
        let mut process = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        Self { process, url: url.expect("the service says where it listens; does `cargo xtask setup` pass?") }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sample(split: &str) -> String {
    format!("{}/../../web/public/samples/formality.{split}.jsonl", env!("CARGO_MANIFEST_DIR"))
}

fn pema(args: &[&str]) -> Result<String, String> {
    let out = Command::new(env!("CARGO_BIN_EXE_pema")).args(args).output().unwrap();
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
    }
}

fn pema_diff(a: &Path, b: &Path) -> String {
    pema(&["report", "diff", a.to_str().unwrap(), b.to_str().unwrap()]).unwrap()
}

fn report(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap()
}

#[test]
fn every_method_is_measured_on_one_memory() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("service"));
    let (memory, out) = (folder.path().join("memory"), folder.path().join("out"));
    let (memory, test, train) = (memory.to_str().unwrap(), sample("test"), sample("train"));
    let pairs =
        ["--service", &service.url, "--data", &train, "--limit", "8", "--validation-fraction", "0.25", "--template", TEMPLATE];
    pema(&[&["extract", "--out", memory], &pairs[..]].concat()).unwrap();

    let measure = ["eval", "--from", memory, "--test", &test, "--test-limit", "3", "--settings", SETTINGS];
    let how = ["--out", out.to_str().unwrap(), "--disclose-targets", "--method", r#"deep={"prefix": 4, "pairing": "alignment"}"#];
    let texts = ["--texts=constant,geometric", "--max-tokens", "4", "--streams", "3"];
    let sweeps =
        ["--sweep", "rank=4,8", "--sweep", "kappa=0,0.4", "--sweep", "memory=0.5,1", "--sweep-methods", "pema", "--jobs", "2"];
    let measure = [&measure[..], &pairs, &how, &texts, &sweeps].concat();
    pema(&measure).unwrap();
    let first = report(&out);
    let rows = first["rows"].as_array().unwrap();
    let methods: Vec<&str> = rows.iter().map(|row| row["method"].as_str().unwrap()).collect();
    assert_eq!(methods.len(), 2 + 4 * 10 + 1, "{methods:?}");
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
        let writes = row["method"] != "knn" && is_constant;
        assert_eq!(row["texts"]["outputs"].as_array().map(Vec::len), writes.then_some(3), "{row}");
        let method = row["method"].as_str().unwrap();
        assert!(row["command"].as_str().unwrap().contains(method), "{row}");
    }
    assert_eq!(rows.last().unwrap()["settings"]["prefix"], 4);
    let cells = rows.iter().map(|row| row["grid"].as_array().unwrap().len());
    assert_eq!(cells.filter(|cells| *cells > 0).collect::<Vec<_>>(), [&[33][..], &[44; 7], &[55], &[44; 2]].concat());
    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.contains("<svg") && !html.contains("http://www.") && html.contains("class=\"discloses\""));
    assert!(rows.iter().all(|row| html.contains(&format!("id=\"{}\"", row["id"].as_str().unwrap()))));

    // Each sweep passes through the shared settings, where it gives the method's own number.
    let curves = first["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 3);
    let paper = rows.iter().find(|row| row["id"] == "pema-constant").unwrap();
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
fn contexts_of_the_prompt_alone_go_all_the_way_to_private_generation() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("service"));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (test, train) = (sample("test"), sample("train"));
    let pairs = ["--data", &train, "--limit", "8", "--validation-fraction", "0.25", "--template", TEMPLATE];
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
    let pairs = ["--data", &train, "--limit", "8", "--validation-fraction", "0.25", "--template", TEMPLATE];
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

#[test]
fn an_adapter_trained_through_the_int8_head_fits_either_head() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("service"));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (test, train) = (sample("test"), sample("train"));
    let pairs = ["--data", &train, "--limit", "8", "--validation-fraction", "0.25", "--template", TEMPLATE];
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

#[test]
fn references_are_sent_to_this_machine_only_and_targets_told_on_demand_only() {
    let args = ["eval", "--from", "x", "--data", "x", "--test", "x", "--template", "{input}", "--out", "x"];
    let refused = pema(&[&args[..], &["--service", "http://192.0.2.1:8321"]].concat()).unwrap_err();
    assert!(refused.contains("serve the model on this machine"), "{refused}");
    let refused = pema(&[&args[..], &["--methods", "plm,disclosed"]].concat()).unwrap_err();
    assert!(refused.contains("--disclose-targets"), "{refused}");
}
