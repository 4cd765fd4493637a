//! The shard's bytes. The header is written here and not by the `safetensors` crate, which keeps
//! metadata in a `HashMap` and so writes equal shards with different bytes.

use std::collections::HashMap;

use half::f16;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;

use super::{SHARD_FORMAT, SHARD_VERSION, Shard, ShardError};
use crate::id::TokenId;

/// The header is padded with spaces to a multiple of this many bytes, as safetensors asks.
const ALIGNMENT: usize = 8;

#[derive(Serialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: Metadata,
    prompt: Info,
    step: Info,
    token: Info,
    h: Info,
}

#[derive(Serialize)]
struct Metadata {
    format: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Info {
    dtype: &'static str,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

pub(super) fn encode(shard: &Shard) -> Vec<u8> {
    let n = shard.rows();
    let mut end = 0;
    let mut info = |dtype, width: usize, shape: Vec<usize>| {
        let start = end;
        end += width * shape.iter().product::<usize>();
        Info { dtype, shape, data_offsets: (start, end) }
    };
    // The four-byte columns come first, so that every tensor is aligned to its type.
    let header = Header {
        metadata: Metadata { format: SHARD_FORMAT, version: SHARD_VERSION },
        prompt: info("U32", 4, vec![n]),
        step: info("U32", 4, vec![n]),
        token: info("U32", 4, vec![n]),
        h: info("F16", 2, vec![n, shard.hidden_size]),
    };
    // A struct of numbers and fixed strings always serializes.
    let mut header = serde_json::to_vec(&header).unwrap_or_default();
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');

    let mut out = Vec::with_capacity(8 + header.len() + end);
    out.extend_from_slice(&(header.len() as u64).to_le_bytes());
    out.extend_from_slice(&header);
    out.extend(shard.prompt.iter().flat_map(|x| x.to_le_bytes()));
    out.extend(shard.step.iter().flat_map(|x| x.to_le_bytes()));
    out.extend(shard.token.iter().flat_map(|x| x.0.to_le_bytes()));
    out.extend(shard.h.iter().flat_map(|x| x.to_le_bytes()));
    out
}

/// Reads types and shapes; the caller checks the rows.
pub(super) fn decode(bytes: &[u8]) -> Result<Shard, ShardError> {
    let damaged = |error: safetensors::SafeTensorError| ShardError::NotSafetensors(error.to_string());
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    check_version(header.metadata().as_ref())?;

    let (prompt, step, token) = (column(&file, "prompt")?, column(&file, "step")?, column(&file, "token")?);
    let n = prompt.len();
    let (data, shape) = tensor(&file, "h", Dtype::F16)?;
    if shape.len() != 2 || shape[0] != n {
        return Err(ShardError::Shape { tensor: "h", expected: format!("[{n}, d]"), found: shape });
    }
    Ok(Shard {
        h: data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect(),
        hidden_size: shape[1],
        prompt,
        step,
        token: token.into_iter().map(TokenId).collect(),
    })
}

fn check_version(metadata: Option<&HashMap<String, String>>) -> Result<(), ShardError> {
    let field = |key| metadata.and_then(|m| m.get(key)).map_or("", String::as_str);
    match (field("format"), field("version")) {
        (SHARD_FORMAT, SHARD_VERSION) => Ok(()),
        (SHARD_FORMAT, version) => Err(ShardError::Version(version.to_owned())),
        (format, _) => Err(ShardError::Format(format.to_owned())),
    }
}

fn column(file: &SafeTensors<'_>, name: &'static str) -> Result<Vec<u32>, ShardError> {
    let (data, shape) = tensor(file, name, Dtype::U32)?;
    if shape.len() != 1 {
        return Err(ShardError::Shape { tensor: name, expected: "[n]".to_owned(), found: shape });
    }
    Ok(data.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn tensor<'b>(file: &SafeTensors<'b>, name: &'static str, expected: Dtype) -> Result<(&'b [u8], Vec<usize>), ShardError> {
    let view = file.tensor(name).map_err(|_| ShardError::Missing(name))?;
    if view.dtype() != expected {
        let expected = if expected == Dtype::F16 { "F16" } else { "U32" };
        return Err(ShardError::Dtype { tensor: name, expected, found: format!("{:?}", view.dtype()) });
    }
    Ok((view.data(), view.shape().to_vec()))
}
