//! Files made here, of every type that ggml stores a head in.

use half::f16;
use llama_cpp_sys_2 as sys;
use safetensors::SafeTensors;

use super::*;

/// A multiple of every type's block.
const HIDDEN: usize = 256;

/// Every type that ggml turns into floats, and how far from the values it may be: the error's length
/// over the values', for values of one size. Types of few bits are coarse.
const TYPES: [(sys::ggml_type, f64); 28] = [
    (sys::GGML_TYPE_F32, 1e-3),
    (sys::GGML_TYPE_F16, 1e-3),
    (sys::GGML_TYPE_BF16, 5e-3),
    (sys::GGML_TYPE_Q8_0, 0.01),
    (sys::GGML_TYPE_Q6_K, 0.03),
    (sys::GGML_TYPE_Q5_0, 0.05),
    (sys::GGML_TYPE_Q5_1, 0.05),
    (sys::GGML_TYPE_Q5_K, 0.05),
    (sys::GGML_TYPE_Q4_0, 0.1),
    (sys::GGML_TYPE_Q4_1, 0.1),
    (sys::GGML_TYPE_Q4_K, 0.1),
    (sys::GGML_TYPE_IQ4_NL, 0.1),
    (sys::GGML_TYPE_IQ4_XS, 0.1),
    (sys::GGML_TYPE_MXFP4, 0.2),
    (sys::GGML_TYPE_NVFP4, 0.2),
    (sys::GGML_TYPE_Q3_K, 0.2),
    (sys::GGML_TYPE_IQ3_S, 0.2),
    (sys::GGML_TYPE_IQ3_XXS, 0.25),
    (sys::GGML_TYPE_Q2_K, 0.35),
    (sys::GGML_TYPE_IQ2_S, 0.35),
    (sys::GGML_TYPE_IQ2_XS, 0.4),
    (sys::GGML_TYPE_IQ2_XXS, 0.45),
    (sys::GGML_TYPE_Q2_0, 0.6),
    (sys::GGML_TYPE_TQ2_0, 0.6),
    (sys::GGML_TYPE_TQ1_0, 0.6),
    (sys::GGML_TYPE_IQ1_M, 0.6),
    (sys::GGML_TYPE_IQ1_S, 0.6),
    (sys::GGML_TYPE_Q1_0, 0.7),
];

/// A tensor of a file that a test writes.
struct Stored<'a> {
    name: &'a str,
    kind: sys::ggml_type,
    /// Columns and rows, as GGUF orders them.
    shape: [usize; 2],
    bytes: &'a [u8],
}

/// A GGUF file (version 3) that has these tensors and no metadata.
fn file(tensors: &[Stored<'_>]) -> tempfile::NamedTempFile {
    const ALIGNMENT: usize = 32;
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    let mut offset = 0;
    for Stored { name, kind, shape, bytes: data } in tensors {
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(2u32.to_le_bytes());
        shape.iter().for_each(|&extent| bytes.extend((extent as u64).to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend((offset as u64).to_le_bytes());
        offset += data.len().next_multiple_of(ALIGNMENT);
    }
    for tensor in tensors {
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes.extend(tensor.bytes);
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

/// Rows of values between -1 and 1.
fn rows(rows: usize) -> Vec<f32> {
    (0..rows * HIDDEN).map(|i| ((i * 37 + i / 7) as f32).sin()).collect()
}

fn quantised(kind: sys::ggml_type, values: &[f32]) -> Vec<u8> {
    if kind == sys::GGML_TYPE_F32 {
        return bytemuck::cast_slice(values).to_vec();
    }
    let rows = values.len() / HIDDEN;
    let importance = vec![1.0f32; HIDDEN];
    // SAFETY: ggml writes `rows` rows of `HIDDEN` elements of a type that it quantises, for which there
    // is room, and reads as many floats and one importance for each column.
    unsafe {
        let mut bytes = vec![0u8; rows * sys::ggml_row_size(kind, HIDDEN as i64)];
        let out = bytes.as_mut_ptr().cast();
        let written = sys::ggml_quantize_chunk(kind, values.as_ptr(), out, 0, rows as i64, HIDDEN as i64, importance.as_ptr());
        assert_eq!(written, bytes.len());
        bytes
    }
}

/// The exported head's values.
fn exported(tensors: &[Stored<'_>], vocab: usize) -> Result<Vec<f32>, GgufError> {
    let file = file(tensors);
    let mut out = Vec::new();
    export_head(&Gguf::open(file.path()).unwrap(), vocab, HIDDEN, &mut out)?;
    let head = SafeTensors::deserialize(&out).unwrap();
    let w_hd = head.tensor("w_hd").unwrap();
    assert_eq!((w_hd.dtype(), w_hd.shape()), (safetensors::Dtype::F16, [vocab, HIDDEN].as_slice()));
    Ok(w_hd.data().as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect())
}

fn refused(tensors: &[Stored<'_>], vocab: usize) -> String {
    exported(tensors, vocab).unwrap_err().to_string()
}

#[test]
fn a_head_of_every_type_becomes_f16() {
    let values = rows(4);
    let length = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    for (kind, bound) in TYPES {
        let bytes = quantised(kind, &values);
        let head = exported(&[Stored { name: "output.weight", kind, shape: [HIDDEN, 4], bytes: &bytes }], 4).unwrap();
        let error = length(&mut head.iter().zip(&values).map(|(a, b)| a - b)) / length(&mut values.iter().copied());
        assert!(error < bound, "type {kind}: {error}");
    }
}

#[test]
fn no_type_that_ggml_reads_is_left_out() {
    let known: Vec<_> = TYPES.iter().map(|(kind, _)| *kind).collect();
    for kind in 0..sys::GGML_TYPE_COUNT {
        // SAFETY: ggml's static table has an entry for each of these.
        let reads = unsafe { (*sys::ggml_get_type_traits(kind)).to_float }.is_some() || kind == sys::GGML_TYPE_F32;
        assert_eq!(known.contains(&kind), reads, "type {kind}");
    }
}

#[test]
fn a_type_that_ggml_does_not_read_is_named() {
    let (kind, bytes) = (sys::GGML_TYPE_I8, [0; HIDDEN]);
    let error = refused(&[Stored { name: "output.weight", kind, shape: [HIDDEN, 1], bytes: &bytes }], 1);
    assert!(error.contains("output.weight is of ggml's type i8") && error.contains("llama-quantize"), "{error}");
}

#[test]
fn a_tied_head_of_many_rows_is_the_embedding() {
    // More rows than are held at once.
    let (vocab, kind) = (1030, sys::GGML_TYPE_F16);
    let values = rows(vocab);
    let bytes = quantised(kind, &values);
    let head = exported(&[Stored { name: "token_embd.weight", kind, shape: [HIDDEN, vocab], bytes: &bytes }], vocab).unwrap();
    assert_eq!(head, values.iter().map(|&x| f16::from_f32(x).to_f32()).collect::<Vec<_>>());
}

#[test]
fn heads_that_cannot_be_exported_say_why() {
    let kind = sys::GGML_TYPE_F32;
    let mut values = rows(2);
    values[HIDDEN] = 1e6;
    let bytes: &[u8] = bytemuck::cast_slice(&values);
    let weight = |name| Stored { name, kind, shape: [HIDDEN, 2], bytes };
    assert!(refused(&[weight("blk.0.attn_q.weight")], 2).contains("neither output.weight nor token_embd.weight"));
    assert!(refused(&[weight("output.weight")], 3).contains("output.weight is 2 x 256, the model's head is 3 x 256"));
    assert!(refused(&[weight("output.weight"), weight("output.bias")], 2).contains("bias"));
    assert!(refused(&[weight("output.weight")], 2).contains("do not fit f16"));
}

#[test]
fn a_file_that_is_no_gguf_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"PK").unwrap();
    let error = Gguf::open(file.path()).err().unwrap().to_string();
    assert!(error.contains("is not a readable GGUF file"), "{error}");
}
