use super::*;
use proptest::prelude::*;

const STORED: &[u8] = include_bytes!("../../tests/samples/memory-v1.safetensors");

/// Prompts 3 and 4 with three and two steps, `d = 4`.
fn shard() -> Shard {
    Shard {
        h: (0..20).map(|i| f16::from_f32(i as f32 / 8.0 - 1.0)).collect(),
        hidden_size: 4,
        prompt: vec![3, 3, 3, 4, 4],
        step: vec![0, 1, 2, 0, 1],
        token: [7, 8, 2, 49_151, 0].map(TokenId).to_vec(),
    }
}

fn entry(bytes: &[u8], rows: u64) -> ShardEntry {
    ShardEntry { index: 2, rows, bytes: bytes.len() as u64, sha256: ContentHash::of(bytes) }
}

#[test]
fn stored_shard_of_version_1_is_read() {
    assert_eq!(Shard::decode(STORED).unwrap(), shard());
}

#[test]
fn prompts_have_their_rows() {
    assert_eq!(shard().prompt_rows().collect::<Vec<_>>(), [(3, 0..3), (4, 3..5)]);
}

#[test]
fn equal_shards_have_the_stored_bytes() {
    assert_eq!(shard().encode(), STORED);
}

#[test]
fn rows_are_slices_of_h() {
    assert_eq!(shard().row(1), &shard().h[4..8]);
    assert_eq!(shard().rows(), 5);
}

#[test]
fn torn_shard_says_to_download_again() {
    let bytes = shard().encode();
    let entry = entry(&bytes, 5);
    let error = verify(&bytes[..40], &entry).unwrap_err();
    assert_eq!(error, ShardError::Torn { index: 2, expected: bytes.len() as u64, found: 40 });
    assert!(error.to_string().contains("torn") && error.to_string().contains("download it again"));
}

#[test]
fn altered_shard_says_to_download_again() {
    let mut bytes = shard().encode();
    let entry = entry(&bytes, 5);
    verify(&bytes, &entry).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let error = verify(&bytes, &entry).unwrap_err();
    assert!(matches!(error, ShardError::Altered { index: 2, .. }));
    assert!(error.to_string().contains("altered") && error.to_string().contains("download it again"));
}

#[test]
fn open_checks_rows_and_hidden_size_too() {
    let bytes = shard().encode();
    assert_eq!(Shard::open(&bytes, &entry(&bytes, 5), 4).unwrap(), shard());
    let rows = Shard::open(&bytes, &entry(&bytes, 6), 4).unwrap_err();
    assert_eq!(rows, ShardError::Rows { index: 2, expected: 6, found: 5 });
    let size = Shard::open(&bytes, &entry(&bytes, 5), 8).unwrap_err();
    assert_eq!(size, ShardError::HiddenSize { expected: 8, found: 4 });
}

#[test]
fn rows_out_of_order_are_named() {
    let decode = |change: fn(&mut Shard)| {
        let mut shard = shard();
        change(&mut shard);
        Shard::decode(&shard.encode()).unwrap_err()
    };
    let gap = decode(|s| s.prompt = vec![3, 3, 3, 5, 5]);
    assert_eq!(gap, ShardError::PromptOrder { row: 3, previous: 3, found: 5 });
    let back = decode(|s| s.prompt = vec![3, 3, 3, 2, 2]);
    assert_eq!(back, ShardError::PromptOrder { row: 3, previous: 3, found: 2 });
    let late = decode(|s| s.step = vec![0, 1, 2, 1, 2]);
    assert_eq!(late, ShardError::StepOrder { row: 3, prompt: 4, expected: 0, found: 1 });
    let overflow = decode(|s| s.h[9] = f16::INFINITY);
    assert_eq!(overflow, ShardError::NotFinite { row: 2, column: 1 });
}

#[test]
fn columns_of_other_lengths_are_named() {
    let check = |change: fn(&mut Shard)| {
        let mut shard = shard();
        change(&mut shard);
        shard.check().unwrap_err().to_string()
    };
    assert!(check(|s| s.step.truncate(2)).contains("`step` has shape [2] and should have [5]"));
    assert!(check(|s| s.token.truncate(2)).contains("`token`"));
    assert!(check(|s| s.h.truncate(3)).contains("`h`"));
    assert!(check(|s| s.prompt.clear()).contains("`prompt`"));
}

/// The stored shard with one text of its header replaced by another of equal length.
fn with_header(from: &str, to: &str) -> ShardError {
    assert_eq!(from.len(), to.len());
    let at = STORED.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
    let mut bytes = STORED.to_vec();
    bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    Shard::decode(&bytes).unwrap_err()
}

#[test]
fn other_files_are_refused_by_name() {
    assert_eq!(with_header("pema-shard", "pema-shirt"), ShardError::Format("pema-shirt".to_owned()));
    assert_eq!(with_header("\"version\":\"1\"", "\"version\":\"2\""), ShardError::Version("2".to_owned()));
    assert_eq!(with_header("\"step\"", "\"stop\""), ShardError::Missing("step"));
    let dtype = ShardError::Dtype { tensor: "h", expected: "F16", found: "I16".to_owned() };
    assert_eq!(with_header("\"F16\"", "\"I16\""), dtype);
    assert!(matches!(with_header("[5,4]", "[4,5]"), ShardError::Shape { tensor: "h", .. }));
    assert!(matches!(Shard::decode(b"<!doctype html>"), Err(ShardError::NotSafetensors(_))));
}

fn shards() -> impl Strategy<Value = Shard> {
    (1usize..5, 0u32..9, prop::collection::vec(1u32..5, 1..5)).prop_flat_map(|(d, first, steps)| {
        let prompt = (first..).zip(&steps).flat_map(|(p, &k)| vec![p; k as usize]).collect::<Vec<_>>();
        let step = steps.iter().flat_map(|&k| 0..k).collect::<Vec<_>>();
        let n = prompt.len();
        let h = prop::collection::vec(-60_000f32..60_000.0, n * d);
        (h, prop::collection::vec(any::<u32>(), n)).prop_map(move |(h, token)| Shard {
            h: h.into_iter().map(f16::from_f32).collect(),
            hidden_size: d,
            prompt: prompt.clone(),
            step: step.clone(),
            token: token.into_iter().map(TokenId).collect(),
        })
    })
}

proptest! {
    #[test]
    fn shards_survive_the_format(shard in shards()) {
        prop_assert_eq!(Shard::decode(&shard.encode()).unwrap(), shard);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Shard::decode(&bytes).is_err());
    }

    #[test]
    fn damaged_shards_never_panic(at in 0..STORED.len(), byte: u8, cut in 0..STORED.len()) {
        let mut bytes = STORED.to_vec();
        bytes[at] = byte;
        let _ = Shard::decode(&bytes);
        prop_assert!(Shard::decode(&bytes[..cut]).is_err());
    }
}
