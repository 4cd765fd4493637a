use super::*;
use crate::engine::fake::FakeEngine;

const PLAIN: LogitRule = LogitRule { scale: 1.0, softcap: None };

/// The head as a file; `alter` may spoil it.
fn head_file(engine: &FakeEngine, alter: impl FnOnce(&mut Vec<f16>)) -> tempfile::NamedTempFile {
    let mut head: Vec<f16> = engine.head.iter().map(|&x| f16::from_f32(x)).collect();
    alter(&mut head);
    let mut bytes = 8u64.to_le_bytes().to_vec();
    // The proof skips the header, which others check.
    bytes.extend_from_slice(b"{      }");
    bytes.extend_from_slice(bytemuck::cast_slice(&head));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

fn engine() -> FakeEngine {
    FakeEngine::new(16, 300)
}

#[test]
fn a_faithful_head_is_proven() {
    let engine = engine();
    let head = head_file(&engine, |_| {});
    assert_eq!(head_agrees(&engine, head.path(), &[PLAIN]).unwrap(), PLAIN);
}

#[test]
fn an_altered_head_is_refused() {
    let engine = engine();
    let head = head_file(&engine, |head| head[..2000].iter_mut().for_each(|x| *x = -*x));
    let error = head_agrees(&engine, head.path(), &[PLAIN]).unwrap_err();
    assert!(matches!(error, ProofError::Logits { .. }), "{error}");
}

#[test]
fn a_wrong_softcap_or_scale_is_refused_and_the_right_one_found() {
    let engine = FakeEngine { scale: 0.25, softcap: Some(0.3), ..engine() };
    let head = head_file(&engine, |_| {});
    let right = LogitRule { scale: 0.25, softcap: Some(0.3) };
    let wrong = [PLAIN, LogitRule { scale: 4.0, softcap: Some(0.3) }, LogitRule { scale: 0.25, softcap: None }];
    for rule in wrong {
        let error = head_agrees(&engine, head.path(), &[rule]).unwrap_err();
        assert!(matches!(error, ProofError::Logits { .. }), "{rule:?}: {error}");
    }
    let rules = [wrong[0], wrong[1], right, wrong[2]];
    assert_eq!(head_agrees(&engine, head.path(), &rules).unwrap(), right);
}

#[test]
fn a_torn_head_is_refused() {
    let engine = engine();
    let head = head_file(&engine, |head| head.truncate(100));
    assert!(matches!(head_agrees(&engine, head.path(), &[PLAIN]), Err(ProofError::Head(_))));
}

#[test]
fn another_tokenizer_is_refused_by_the_probe_that_shows_it() {
    use tokenizers::models::bpe::{BPE, Vocab};
    let letters = ('a'..='z').enumerate().map(|(id, c)| (c.to_string(), id as u32)).collect::<Vocab>();
    let tokenizer = Tokenizer::new(BPE::new(letters, Vec::new()));
    let error = tokenizer_agrees(&engine(), &tokenizer).unwrap_err();
    assert!(error.to_string().contains("English") && error.to_string().contains("--tokenizer"), "{error}");
}
