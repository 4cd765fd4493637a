use proptest::prelude::*;

use super::*;

const SHAPE: [usize; 2] = [3, 4];
const ROWS: [f32; 12] = [1.0, -0.6, 0.25, 0.004, 0.0, 0.0, 0.0, 0.0, -2e-3, 1.1e-3, 3e-4, 0.0];

fn f16() -> ContentHash {
    ContentHash::of(b"the f16 head")
}

fn file(entries: &[i8], scales: &[f32]) -> Vec<u8> {
    let mut file = int8_header(SHAPE, &f16());
    file.extend(entries.iter().map(|&entry| entry as u8));
    file.extend(scales.iter().flat_map(|scale| scale.to_le_bytes()));
    file
}

fn quantised() -> (Vec<i8>, Vec<f32>) {
    let mut entries = vec![0; ROWS.len()];
    let scales = ROWS.chunks(4).zip(entries.chunks_mut(4)).map(|(row, entries)| quantise(row, entries)).collect();
    (entries, scales)
}

#[test]
fn rows_come_back_to_within_half_a_step() {
    let (entries, scales) = quantised();
    assert_eq!(entries, [127, -76, 32, 1, 0, 0, 0, 0, -127, 70, 19, 0]);
    let bytes = file(&entries, &scales);
    let head = Int8Head::open(&bytes).unwrap();
    assert_eq!((head.shape(), head.f16()), (SHAPE, &f16()));
    let back = head.rows(0..3).to_f32();
    for (i, (found, x)) in back.iter().zip(ROWS).enumerate() {
        // 1e-6: f32 rounds the quotient.
        assert!((found - x).abs() <= scales[i / 4] * (0.5 + 1e-6), "{i}: {found} instead of {x}");
    }
    assert_eq!(head.rows(1..3).to_f32(), back[4..]);
}

#[test]
fn files_of_another_length_are_refused() {
    let (entries, scales) = quantised();
    let bytes = file(&entries, &scales);
    let longer = [&bytes[..], &[0]].concat();
    for bytes in [&bytes[..bytes.len() - 1], &longer, &bytes[..20], &[]] {
        assert!(matches!(Int8Head::open(bytes), Err(Int8Error::NotSafetensors(_))), "{} bytes", bytes.len());
    }
}

#[test]
fn values_outside_the_format_are_refused_by_their_row() {
    let (entries, scales) = quantised();
    for bad in [f32::NAN, f32::INFINITY] {
        let scales = [scales[0], bad, scales[2]];
        assert_eq!(Int8Head::open(&file(&entries, &scales)).unwrap_err(), Int8Error::Scale(1));
    }
    let mut low = entries;
    low[9] = -128;
    assert_eq!(Int8Head::open(&file(&low, &scales)).unwrap_err(), Int8Error::Entry(2));
}

#[test]
fn other_files_are_refused() {
    let (entries, scales) = quantised();
    let altered = |from: &str, to: &str| {
        let bytes = file(&entries, &scales);
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
    };
    let error = |from: &str, to: &str| Int8Head::open(&altered(from, to)).unwrap_err();
    assert!(matches!(error("pema-head-int8", "pema-head-int7"), Int8Error::Format { .. }));
    assert!(matches!(error("\"version\":\"1\"", "\"version\":\"2\""), Int8Error::Format { .. }));
    assert_eq!(error(f16().as_str(), &"x".repeat(64)), Int8Error::NoHash);
    assert_eq!(error("w_hd", "w_xx"), Int8Error::Missing(HEAD_TENSOR));
    assert_eq!(error("scale", "scole"), Int8Error::Missing(SCALE_TENSOR));
    assert!(matches!(error("\"I8\"", "\"U8\""), Int8Error::Dtype { tensor: HEAD_TENSOR, .. }));
    assert!(matches!(error("[3,4]", "[4,3]"), Int8Error::Shape { tensor: SCALE_TENSOR, .. }));
    assert!(matches!(error("[3,4]", "[12] "), Int8Error::Shape { tensor: HEAD_TENSOR, .. }));
}

proptest! {
    #[test]
    fn damaged_files_never_panic(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let (entries, scales) = quantised();
        let mut bytes = file(&entries, &scales);
        for (at, byte) in damage {
            *at.get_mut(&mut bytes) = byte;
        }
        if let Ok(head) = Int8Head::open(&bytes) {
            let [v, d] = head.shape();
            prop_assert_eq!(head.rows(0..v).to_f32().len(), v * d);
        }
    }
}
