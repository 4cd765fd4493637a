//! Adapters and checkpoints as bytes: the same each time, whole on the way back, refused if damaged.

mod common;

use std::sync::LazyLock;

use burn::tensor::Device;
use common::{block_on, head, model, small_config, small_memory, small_trainer, tensor, train, values};
use pema_adapter::{Adapter, AdapterConfig, Checkpoint, FileError, Head, HeadError, ImportError, Trainer};
use pema_core::id::ContentHash;
use proptest::prelude::*;

fn trained() -> Adapter {
    let mut trainer = small_trainer(small_config());
    train(&mut trainer);
    trainer.adapter().unwrap()
}

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| block_on(trained().export("mine")).unwrap());

static CHECKPOINT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut trainer = small_trainer(small_config());
    (0..9).for_each(|_| drop(block_on(trainer.step()).unwrap()));
    block_on(trainer.checkpoint()).unwrap().into_bytes()
});

fn import(bytes: &[u8]) -> Result<(String, Adapter), ImportError> {
    Adapter::import(bytes, head(21, 8, 1.0, None).hash(), &Device::flex())
}

/// The file with its header's text changed, at the same length.
fn with_header(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = file.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
    let mut changed = file.to_vec();
    changed[at..at + to.len()].copy_from_slice(to.as_bytes());
    changed
}

#[test]
fn an_adapter_survives_export_and_import() {
    let adapter = trained();
    let file = block_on(adapter.export("mine")).unwrap();
    assert_eq!(file, block_on(adapter.export("mine")).unwrap());
    let (name, imported) = import(&file).unwrap();
    assert_eq!(name, "mine");
    assert_eq!(imported.origin(), adapter.origin());
    assert_eq!(imported.origin().model, model());
    let h = tensor(&common::noise(24, 1.0, 8), [3, 8]);
    assert_eq!(values(imported.h_pd(h.clone())), values(adapter.h_pd(h)));
    assert_eq!(block_on(imported.export("mine")).unwrap(), file);
}

#[test]
fn an_adapter_without_reconstruction_survives_export_and_import() {
    let mut trainer = small_trainer(AdapterConfig { kappa: 0.0, ..small_config() });
    train(&mut trainer);
    let file = block_on(trainer.adapter().unwrap().export("")).unwrap();
    assert!(import(&file).unwrap().1.b_rct().is_none());
}

#[test]
fn an_import_says_what_is_wrong() {
    let refuse = |bytes: &[u8]| import(bytes).unwrap_err();
    assert!(matches!(refuse(b"PK"), ImportError::File(FileError::Format(_))));
    assert!(matches!(refuse(&FILE[..FILE.len() - 1]), ImportError::File(FileError::Format(_))));
    assert_eq!(refuse(&common::head_file(&[0.0; 4], 2, 2)), ImportError::NotAnAdapter);
    assert_eq!(refuse(&CHECKPOINT), ImportError::NotAnAdapter);
    let newer = with_header(&FILE, r#"\"version\":1"#, r#"\"version\":2"#);
    assert_eq!(refuse(&newer), ImportError::Version { found: 2 });
    let missing = with_header(&FILE, r#""b_pd":"#, r#""b_pt":"#);
    assert_eq!(refuse(&missing), FileError::Missing { name: "b_pd".into() }.into());
    let shape = with_header(&FILE, r#"\"d\":8"#, r#"\"d\":9"#);
    assert!(matches!(refuse(&shape), ImportError::File(FileError::Shape { .. })));
    let mut nan = FILE.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(refuse(&nan), FileError::NotFinite { name: "b_rct".into() }.into());
}

#[test]
fn an_import_names_both_heads() {
    let other = ContentHash::of(b"another head");
    let error = Adapter::import(&FILE, &other, &Device::flex()).unwrap_err();
    let made_for = head(21, 8, 1.0, None).hash().clone();
    assert_eq!(error, ImportError::OtherHead { made_for: made_for.clone(), in_use: other.clone() });
    let text = error.to_string();
    assert!(text.contains(made_for.as_str()) && text.contains(other.as_str()), "{text}");
}

#[test]
fn a_head_that_cannot_be_used_is_refused() {
    let read = |bytes: &[u8], scale, softcap| Head::from_safetensors(bytes, scale, softcap, &Device::flex()).unwrap_err();
    let file = common::head_file(&[0.5; 6], 3, 2);
    assert!(matches!(read(b"", 1.0, None), HeadError::File(FileError::Format(_))));
    assert!(matches!(read(&FILE, 1.0, None), HeadError::File(FileError::Missing { .. })));
    assert_eq!(read(&file, 0.0, None), HeadError::Scale(0.0));
    assert_eq!(read(&file, 1.0, Some(-1.0)), HeadError::Softcap(-1.0));
    let infinite = common::head_file(&[f32::INFINITY; 6], 3, 2);
    assert!(matches!(read(&infinite, 1.0, None), HeadError::File(FileError::NotFinite { .. })));
}

proptest! {
    #[test]
    fn damaged_files_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        keep in any::<prop::sample::Index>(),
        is_torn in any::<bool>(),
    ) {
        for file in [&*FILE, &*CHECKPOINT] {
            let mut damaged = file.clone();
            for (at, byte) in &damage {
                *at.get_mut(&mut damaged) = *byte;
            }
            if is_torn {
                damaged.truncate(keep.index(file.len()));
            }
            let _ = import(&damaged);
            let _ = Head::from_safetensors(&damaged, 1.0, None, &Device::flex());
            let (memory, head) = (small_memory(), head(21, 8, 1.0, None));
            if let Ok(mut trainer) = block_on(Trainer::resume(&Checkpoint::from_bytes(damaged), memory, head, Device::flex())) {
                let _ = block_on(trainer.step());
            }
        }
    }

    #[test]
    fn a_checkpoint_is_whole_whatever_the_settings(
        seed in any::<u64>(), rank in 1..6_usize, lr in 1e-5..1e-1_f64, alpha in 0.1..9.0_f64,
        dropout in 0.0..0.9_f64, kappa in 0.0..0.9_f64, steps in 0..12_usize,
    ) {
        let mut trainer = small_trainer(AdapterConfig { seed, rank, lr, alpha, dropout, kappa, ..small_config() });
        for _ in 0..steps {
            block_on(trainer.step()).unwrap();
        }
        let checkpoint = block_on(trainer.checkpoint()).unwrap();
        let resumed = block_on(Trainer::resume(&checkpoint, small_memory(), head(21, 8, 1.0, None), Device::flex())).unwrap();
        prop_assert_eq!(block_on(resumed.checkpoint()).unwrap(), checkpoint);
    }
}
