//! The forms in which the LM head travels. The f16 form is safetensors with `w_hd` F16 `[v, d]`; the
//! int8 form has half its bytes and is safetensors with
//!
//! | tensor | type | shape | |
//! | --- | --- | --- | --- |
//! | `w_hd` | I8 | `[v, d]` | entries in `[-127, 127]` |
//! | `scale` | F32 | `[v]` | finite; row `i` of the head is `scale[i] * w_hd[i]` |
//!
//! and the metadata `format` ([`INT8_FORMAT`]), `version` ([`INT8_VERSION`]) and `f16`: the SHA-256
//! of the f16 form that it rounds. That hash names the head in either form, because what is
//! trained through one works with the other.

use std::collections::HashMap;
use std::ops::Range;

use half::f16;
use safetensors::{Dtype, SafeTensors};

use crate::id::ContentHash;

/// The head's tensor in either form.
pub const HEAD_TENSOR: &str = "w_hd";
/// The int8 form's other tensor.
pub const SCALE_TENSOR: &str = "scale";
/// Metadata of the int8 form.
pub const INT8_FORMAT: &str = "pema-head-int8";
/// Its version.
pub const INT8_VERSION: &str = "1";

/// The largest magnitude of an int8 entry: the range is symmetric, so -128 is left out.
const LARGEST: f32 = 127.0;

/// A form of the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeadForm {
    /// Two bytes an entry.
    #[default]
    F16,
    /// One byte an entry, and a scale a row.
    Int8,
}

impl HeadForm {
    /// Where a service serves it.
    pub fn path(self) -> &'static str {
        match self {
            Self::F16 => "/v1/head",
            Self::Int8 => "/v1/head/int8",
        }
    }
}

/// Rounds a row to the nearest int8 entries; returns its scale.
pub fn quantise(row: &[f32], entries: &mut [i8]) -> f32 {
    let scale = row.iter().fold(0.0_f32, |top, x| top.max(x.abs())) / LARGEST;
    let factor = if scale > 0.0 { scale.recip() } else { 0.0 };
    for (entry, x) in entries.iter_mut().zip(row) {
        *entry = (x * factor).round() as i8;
    }
    scale
}

/// What the f16 form's file begins with; entries follow, little-endian.
pub fn f16_header([v, d]: [usize; 2]) -> Vec<u8> {
    let end = v * d * size_of::<f16>();
    header(serde_json::json!({ HEAD_TENSOR: { "dtype": "F16", "shape": [v, d], "data_offsets": [0, end] } }))
}

/// What the int8 form's file begins with; entries and scales follow, little-endian.
pub fn int8_header([v, d]: [usize; 2], f16: &ContentHash) -> Vec<u8> {
    let (entries, end) = (v * d, v * d + v * size_of::<f32>());
    header(serde_json::json!({
        "__metadata__": { "format": INT8_FORMAT, "version": INT8_VERSION, "f16": f16 },
        HEAD_TENSOR: { "dtype": "I8", "shape": [v, d], "data_offsets": [0, entries] },
        SCALE_TENSOR: { "dtype": "F32", "shape": [v], "data_offsets": [entries, end] },
    }))
}

/// A safetensors header, padded to 8 bytes as the format asks. Only with it alone can tensors that do not fit in memory be
/// written as they come.
fn header(description: serde_json::Value) -> Vec<u8> {
    let mut json = description.to_string();
    while !json.len().is_multiple_of(8) {
        json.push(' ');
    }
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend_from_slice(json.as_bytes());
    header
}

/// The int8 form, checked.
#[derive(Clone, Debug)]
pub struct Int8Head<'a> {
    entries: &'a [i8],
    scales: Vec<f32>,
    shape: [usize; 2],
    f16: ContentHash,
}

impl<'a> Int8Head<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Int8Error`] when it is not of the int8 form.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Int8Error> {
        let damaged = |error: safetensors::SafeTensorError| Int8Error::NotSafetensors(error.to_string());
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let f16 = rounded_head(header.metadata().as_ref())?;
        let (data, shape) = tensor(&file, HEAD_TENSOR, Dtype::I8)?;
        let [v, d] = shape[..] else { return Err(Int8Error::Shape { tensor: HEAD_TENSOR, found: shape }) };
        if v == 0 || d == 0 {
            return Err(Int8Error::Shape { tensor: HEAD_TENSOR, found: shape });
        }
        let (scales, found) = tensor(&file, SCALE_TENSOR, Dtype::F32)?;
        if found != [v] {
            return Err(Int8Error::Shape { tensor: SCALE_TENSOR, found });
        }
        let entries: &[i8] = bytemuck::cast_slice(data);
        if let Some(at) = entries.iter().position(|&entry| entry == i8::MIN) {
            return Err(Int8Error::Entry(at / d));
        }
        let scales: Vec<f32> = scales.as_chunks().0.iter().map(|&quad| f32::from_le_bytes(quad)).collect();
        match scales.iter().position(|scale| !scale.is_finite()) {
            Some(row) => Err(Int8Error::Scale(row)),
            None => Ok(Self { entries, scales, shape: [v, d], f16 }),
        }
    }

    /// `[v, d]`.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Names the f16 form that this rounds.
    pub fn f16(&self) -> &ContentHash {
        &self.f16
    }

    /// Some rows.
    pub fn rows(&self, rows: Range<usize>) -> Int8Rows<'_> {
        let [_, d] = self.shape;
        Int8Rows { entries: &self.entries[rows.start * d..rows.end * d], scales: &self.scales[rows] }
    }
}

/// Rows of an int8 head.
#[derive(Clone, Copy, Debug)]
pub struct Int8Rows<'a> {
    /// `[rows, d]`.
    pub entries: &'a [i8],
    /// `[rows]`.
    pub scales: &'a [f32],
}

impl<'a> Int8Rows<'a> {
    /// Each row's entries and scale.
    pub fn iter(self) -> impl Iterator<Item = (&'a [i8], f32)> {
        let d = self.entries.len() / self.scales.len().max(1);
        self.entries.chunks_exact(d.max(1)).zip(self.scales.iter().copied())
    }

    /// `[rows, d]`, as they were before rounding.
    pub fn to_f32(self) -> Vec<f32> {
        self.iter().flat_map(|(entries, scale)| entries.iter().map(move |&entry| scale * f32::from(entry))).collect()
    }
}

fn rounded_head(metadata: Option<&HashMap<String, String>>) -> Result<ContentHash, Int8Error> {
    let field = |key| metadata.and_then(|m| m.get(key)).map_or("", String::as_str);
    match (field("format"), field("version")) {
        (INT8_FORMAT, INT8_VERSION) => ContentHash::parse(field("f16")).ok_or(Int8Error::NoHash),
        (format, version) => Err(Int8Error::Format { format: format.to_owned(), version: version.to_owned() }),
    }
}

fn tensor<'b>(file: &SafeTensors<'b>, name: &'static str, expected: Dtype) -> Result<(&'b [u8], Vec<usize>), Int8Error> {
    let view = file.tensor(name).map_err(|_| Int8Error::Missing(name))?;
    if view.dtype() != expected {
        return Err(Int8Error::Dtype { tensor: name, found: view.dtype().to_string(), expected: expected.to_string() });
    }
    Ok((view.data(), view.shape().to_vec()))
}

/// A file that is not of the int8 form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Int8Error {
    /// Not safetensors, or of another length than its header says.
    #[error("not a safetensors file, or a damaged one ({0})")]
    NotSafetensors(String),
    /// Another format, or one of a later version.
    #[error("its format is {format:?}, version {version:?}; this program reads `{INT8_FORMAT}` version {INT8_VERSION}")]
    Format {
        /// As the metadata has it.
        format: String,
        /// As the metadata has it.
        version: String,
    },
    /// The metadata does not name the f16 form.
    #[error("it does not name the f16 head that it rounds")]
    NoHash,
    /// A tensor is absent.
    #[error("it has no tensor `{0}`")]
    Missing(&'static str),
    /// A tensor has another type.
    #[error("tensor `{tensor}` has type {found}, expected {expected}")]
    Dtype {
        /// The tensor.
        tensor: &'static str,
        /// Its type.
        found: String,
        /// The type of the format.
        expected: String,
    },
    /// A tensor has another shape.
    #[error("tensor `{tensor}` has shape {found:?}, where `w_hd` is [v, d] and `scale` is [v]")]
    Shape {
        /// The tensor.
        tensor: &'static str,
        /// Its shape.
        found: Vec<usize>,
    },
    /// An entry is -128.
    #[error("row {0} has an entry below -127")]
    Entry(usize),
    /// A scale is infinite or NaN.
    #[error("the scale of row {0} is not finite")]
    Scale(usize),
}

#[cfg(test)]
mod tests;
