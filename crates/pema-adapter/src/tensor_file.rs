//! Safetensors files of `f32` matrices with one JSON document in their header: what exports and
//! checkpoints have in common.

use std::borrow::Cow;
use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, View};
use serde::Serialize;

/// The header's only metadata key. The format keeps metadata in a hash map of no fixed order, so
/// only a single key gives the same bytes every time.
const DOCUMENT_KEY: &str = "pema";

/// A row-major matrix in host memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matrix {
    pub(crate) shape: [usize; 2],
    pub(crate) values: Vec<f32>,
}

impl Matrix {
    /// Copies `tensor` to the host.
    pub(crate) async fn read(tensor: &Tensor<2>) -> Result<Self, ReadError> {
        Ok(Self { shape: tensor.dims(), values: read_f32(tensor.clone()).await? })
    }

    /// Copies the matrix to `device`.
    pub(crate) fn upload(self, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(self.values, self.shape), device)
    }
}

impl View for Matrix {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

/// A tensor's entries on the host; waits for the device without blocking the thread.
pub(crate) async fn read_f32<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ReadError> {
    let data = tensor.into_data_async().await.map_err(|error| ReadError(error.to_string()))?;
    data.try_into_vec_as::<f32>().map_err(|error| ReadError(error.to_string()))
}

/// The file's bytes, the same for the same content.
pub(crate) fn write(document: &impl Serialize, tensors: Vec<(String, Matrix)>) -> Result<Vec<u8>, FileError> {
    let text = serde_json::to_string(document).map_err(|e| FileError::Document(e.to_string()))?;
    let metadata = HashMap::from([(DOCUMENT_KEY.to_owned(), text)]);
    safetensors::serialize(tensors, Some(metadata)).map_err(|e| FileError::Format(e.to_string()))
}

/// A parsed file; nothing of it is trusted yet.
pub(crate) struct TensorFile<'a> {
    /// The JSON document, if the file has one.
    pub(crate) document: Option<String>,
    tensors: SafeTensors<'a>,
}

impl<'a> TensorFile<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, FileError> {
        let format = |e: safetensors::SafeTensorError| FileError::Format(e.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
        let document = header.metadata().as_ref().and_then(|map| map.get(DOCUMENT_KEY).cloned());
        Ok(Self { document, tensors: SafeTensors::deserialize(bytes).map_err(format)? })
    }

    /// A tensor as it lies in the file.
    pub(crate) fn view(&self, name: &str) -> Result<TensorView<'a>, FileError> {
        self.tensors.tensor(name).map_err(|_| FileError::Missing { name: name.to_owned() })
    }

    /// A tensor that must be a finite matrix of this shape.
    pub(crate) fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Matrix, FileError> {
        let view = self.view(name)?;
        if view.shape() != shape {
            let (name, found) = (name.to_owned(), view.shape().to_vec());
            return Err(FileError::Shape { name, expected: shape, found });
        }
        let values = floats(name, view.dtype(), view.data())?;
        Ok(Matrix { shape, values })
    }
}

/// Decodes little-endian floats of any common width; refuses values that are not finite.
pub(crate) fn floats(name: &str, dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, FileError> {
    let values: Vec<f32> = match dtype {
        Dtype::F16 => pairs(bytes).map(|pair| f16::from_le_bytes(pair).to_f32()).collect(),
        Dtype::BF16 => pairs(bytes).map(|pair| bf16::from_le_bytes(pair).to_f32()).collect(),
        Dtype::F32 => bytes.as_chunks().0.iter().map(|&quad| f32::from_le_bytes(quad)).collect(),
        other => {
            let (name, found) = (name.to_owned(), other.to_string());
            return Err(FileError::Dtype { name, found });
        }
    };
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(FileError::NotFinite { name: name.to_owned() }),
    }
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = [u8; 2]> {
    bytes.as_chunks().0.iter().copied()
}

/// A device that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the device could not be read: {0}; it may be out of memory or lost")]
pub struct ReadError(pub(crate) String);

/// A file that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Not safetensors, or torn.
    #[error("not a safetensors file, or a damaged one ({0})")]
    Format(String),
    /// The JSON document in the header is absent or unreadable.
    #[error("its `pema` header cannot be read ({0})")]
    Document(String),
    /// A tensor is absent.
    #[error("it has no tensor `{name}`")]
    Missing {
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape.
    #[error("tensor `{name}` is {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape that the header promises.
        expected: [usize; 2],
        /// The shape that the tensor has.
        found: Vec<usize>,
    },
    /// A tensor is not of floats.
    #[error("tensor `{name}` has type {found}; f16, bf16 or f32 can be read")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// A tensor holds infinities or NaN.
    #[error("tensor `{name}` holds values that are not finite")]
    NotFinite {
        /// The tensor.
        name: String,
    },
}
