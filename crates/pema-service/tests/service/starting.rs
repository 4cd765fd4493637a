//! With what the service starts.

use pema_core::id::ContentHash;
use pema_service::config::{ModelConfig, ServeConfig};
use pema_service::model::{Model, ModelSource};

use crate::running::{Service, config};

#[test]
fn a_service_without_keys_answers_under_this_machines_names_alone() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(&ServeConfig { keys: Vec::new(), ..config(dir.path()) });
    assert_eq!(service.get("/v1/model", &[("authorization", "")]).status(), 200);
    let rebound = service.get("/v1/model", &[("host", "evil.example")]);
    assert_eq!((rebound.status(), rebound.problem()), (421, "host-not-local".to_owned()));
}

#[test]
fn a_given_tokenizer_is_served_if_it_is_the_models() {
    let dir = tempfile::tempdir().unwrap();
    let ServeConfig { model, limits, .. } = config(dir.path());
    let load = |tokenizer: &str| {
        let path = dir.path().join("tokenizer.json");
        std::fs::write(&path, tokenizer).unwrap();
        Model::load(&ModelConfig { tokenizer: Some(path), ..model.clone() }, &limits)
    };
    let exported = std::fs::read_to_string(Model::load(&model, &limits).unwrap().tokenizer).unwrap();
    // The same tokenizer, written otherwise.
    let given = exported + "\n";
    assert_eq!(load(&given).unwrap().card.tokenizer.sha256, ContentHash::of(given.as_bytes()));
    let other = r#"{"version":"1.0","model":{"type":"BPE","vocab":{"a":0},"merges":[]}}"#;
    let error = load(other).err().unwrap().to_string();
    assert!(error.contains("Pema will not serve this model") && error.contains("`--tokenizer FILE`"), "{error}");
    let error = load("{").err().unwrap().to_string();
    assert!(error.contains("tokenizer.json is no tokenizer"), "{error}");
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, b"GGUF but torn").unwrap();
    let ServeConfig { model, limits, .. } = config(dir.path());
    let error = Model::load(&ModelConfig { source: ModelSource::File(path), ..model }, &limits).err().unwrap().to_string();
    assert!(error.contains("the model could not be loaded"), "{error}");
}
