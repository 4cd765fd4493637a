use half::f16;

use super::*;
use crate::engine::fake::FakeEngine;
use crate::proof::ROWS_AT_ONCE;

const RULE: LogitRule = LogitRule { scale: 1.0, softcap: None };

/// What a start with this f16 head offers, and the folder of its exports.
fn offered(engine: &FakeEngine, head: &[f32]) -> (Option<PathBuf>, tempfile::TempDir) {
    let exports = tempfile::tempdir().unwrap();
    // The header is skipped; others check it.
    let mut bytes = 8u64.to_le_bytes().to_vec();
    bytes.extend_from_slice(b"{      }");
    bytes.extend(head.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()));
    let path = exports.path().join("head.safetensors");
    fs::write(&path, &bytes).unwrap();
    let hash = ContentHash::of(&bytes);
    // The engine answers from tasks.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _guard = runtime.enter();
    let source = Source { path: &path, hash: &hash, rule: RULE };
    let made = int8_head(engine, &source, exports.path()).unwrap();
    if let Some(made) = &made {
        let modified = fs::metadata(made).unwrap().modified().unwrap();
        assert_eq!(int8_head(engine, &source, exports.path()).unwrap().as_ref(), Some(made));
        assert_eq!(fs::metadata(made).unwrap().modified().unwrap(), modified, "a proven file is kept");
        assert_eq!(Int8Head::open(&fs::read(made).unwrap()).unwrap().f16(), &hash);
    }
    (made, exports)
}

#[test]
fn a_head_that_int8_expresses_is_offered() {
    // More rows than one block.
    let engine = FakeEngine::new(16, ROWS_AT_ONCE + 300);
    let (made, _exports) = offered(&engine, &engine.head);
    let bytes = fs::read(made.unwrap()).unwrap();
    let head = Int8Head::open(&bytes).unwrap();
    assert_eq!(head.shape(), [ROWS_AT_ONCE + 300, 16]);
    for (i, (found, x)) in head.rows(0..ROWS_AT_ONCE + 300).to_f32().iter().zip(engine.head.iter()).enumerate() {
        assert!((found - x).abs() < 0.5 / 126.0, "{i}: {found} instead of {x}");
    }
}

#[test]
fn a_head_with_outliers_that_int8_loses_is_not_offered() {
    let engine = FakeEngine::new(16, 300);
    let mut head = engine.head.to_vec();
    // So large that nothing else of the row is left.
    head.iter_mut().step_by(16).for_each(|x| *x = 400.0);
    let (made, exports) = offered(&engine, &head);
    assert_eq!(made, None);
    let left: Vec<_> = fs::read_dir(exports.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["head.safetensors"]);
}
