//! A head's file, in any form that a service serves.

use std::ops::Range;

use pema_core::head::{HEAD_TENSOR, HeadForm, Int8Head, Int8Rows};
use pema_core::id::ContentHash;
use pema_head::LogitShape;
use safetensors::{Dtype, tensor::TensorView};

use super::HeadError;
use crate::tensor_file::{FileError, TensorFile, floats};

/// A file, checked but for the values of floats.
pub(super) struct HeadFile<'a> {
    content: Content<'a>,
    pub(super) shape: [usize; 2],
    pub(super) logits: LogitShape,
    /// Names the head: of the f16 form, whichever this is.
    pub(super) hash: ContentHash,
}

enum Content<'a> {
    Floats(TensorView<'a>),
    Int8(Int8Head<'a>),
}

impl<'a> HeadFile<'a> {
    pub(super) fn parse(bytes: &'a [u8], scale: f32, softcap: Option<f32>) -> Result<Self, HeadError> {
        if !scale.is_finite() || scale == 0.0 {
            return Err(HeadError::Scale(scale));
        }
        if let Some(cap) = softcap.filter(|cap| !(cap.is_finite() && *cap > 0.0)) {
            return Err(HeadError::Softcap(cap));
        }
        let logits = LogitShape { scale, softcap };
        let view = TensorFile::parse(bytes)?.view(HEAD_TENSOR)?;
        if view.dtype() == Dtype::I8 {
            let int8 = Int8Head::open(bytes)?;
            let (shape, hash) = (int8.shape(), int8.f16().clone());
            return Ok(Self { content: Content::Int8(int8), shape, logits, hash });
        }
        match *view.shape() {
            [v, d] if v > 0 && d > 0 => {
                Ok(Self { content: Content::Floats(view), shape: [v, d], logits, hash: ContentHash::of(bytes) })
            }
            ref other => Err(HeadError::NotAMatrix(other.to_vec())),
        }
    }

    pub(super) fn form(&self) -> HeadForm {
        match self.content {
            Content::Floats(_) => HeadForm::F16,
            Content::Int8(_) => HeadForm::Int8,
        }
    }

    pub(super) fn rows(&self, rows: &Range<usize>) -> Result<FileRows<'_>, FileError> {
        match &self.content {
            Content::Floats(view) => {
                let row_bytes = view.data().len() / self.shape[0];
                let bytes = &view.data()[rows.start * row_bytes..rows.end * row_bytes];
                Ok(FileRows::Floats(floats(HEAD_TENSOR, view.dtype(), bytes)?))
            }
            Content::Int8(int8) => Ok(FileRows::Int8(int8.rows(rows.clone()))),
        }
    }
}

/// Some rows of a file.
pub(super) enum FileRows<'a> {
    Floats(Vec<f32>),
    Int8(Int8Rows<'a>),
}

impl FileRows<'_> {
    #[cfg(any(feature = "webgpu", feature = "wgpu"))]
    pub(super) fn form(&self) -> HeadForm {
        match self {
            Self::Floats(_) => HeadForm::F16,
            Self::Int8(_) => HeadForm::Int8,
        }
    }

    pub(super) fn into_f32(self) -> Vec<f32> {
        match self {
            Self::Floats(values) => values,
            Self::Int8(rows) => rows.to_f32(),
        }
    }

    pub(super) fn sum_of_squares(&self) -> f64 {
        match self {
            Self::Floats(values) => values.iter().map(|value| f64::from(value * value)).sum(),
            Self::Int8(rows) => rows.iter().map(|(entries, scale)| sum_of_int8_squares(entries, scale)).sum(),
        }
    }
}

fn sum_of_int8_squares(entries: &[i8], scale: f32) -> f64 {
    let sum: f64 = entries.iter().map(|&entry| f64::from(entry).powi(2)).sum();
    f64::from(scale).powi(2) * sum
}
