//! The LM head as safetensors: `w_hd` f16 `[v, d]`, whatever the GGUF's quantisation.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};

use half::f16;
use half::slice::HalfFloatSliceExt;
use pema_core::head::f16_header;

use super::{Gguf, GgufError};

/// Rows held in memory at once.
const ROWS_AT_ONCE: usize = 1024;

/// Writes the head row block by row block, so that memory stays small for any vocabulary.
///
/// The head is `output.weight`, or `token_embd.weight` where the two are tied.
///
/// # Errors
/// [`GgufError`] when the file has no such tensor, or one of another shape, or with a bias.
pub fn export_head(gguf: &Gguf, vocab: usize, hidden: usize, out: impl Write) -> Result<(), GgufError> {
    let io = |e| GgufError::Io(gguf.path().to_owned(), e);
    if gguf.has_tensor("output.bias") {
        let text = "the model's LM head has a bias, which this version of Pema cannot express: serve another model";
        return Err(GgufError::Content(text.to_owned()));
    }
    let name = if gguf.has_tensor("output.weight") { "output.weight" } else { "token_embd.weight" };
    let tensor = gguf.matrix(name).ok_or_else(|| {
        GgufError::Content(format!(
            "{} has neither output.weight nor token_embd.weight: if the model is split over several files, join them \
             with `llama-gguf-split --merge` first",
            gguf.path().display()
        ))
    })?;
    if (tensor.rows, tensor.columns) != (vocab, hidden) {
        let (rows, columns) = (tensor.rows, tensor.columns);
        return Err(GgufError::Content(format!("{name} is {rows} x {columns}, the model's head is {vocab} x {hidden}")));
    }
    let mut out = BufWriter::new(out);
    out.write_all(&f16_header([vocab, hidden])).map_err(io)?;
    let mut file = File::open(gguf.path()).map_err(io)?;
    file.seek(SeekFrom::Start(tensor.offset)).map_err(io)?;
    let mut bytes = vec![0; ROWS_AT_ONCE * tensor.row_bytes];
    let mut floats = vec![0.0; ROWS_AT_ONCE * hidden];
    let mut halves = vec![f16::ZERO; ROWS_AT_ONCE * hidden];
    for start in (0..vocab).step_by(ROWS_AT_ONCE) {
        let rows = ROWS_AT_ONCE.min(vocab - start);
        let (bytes, floats) = (&mut bytes[..rows * tensor.row_bytes], &mut floats[..rows * hidden]);
        let halves = &mut halves[..rows * hidden];
        file.read_exact(bytes).map_err(io)?;
        tensor.dequantise(bytes, floats)?;
        halves.convert_from_f32_slice(floats);
        if halves.iter().any(|x| !x.is_finite()) {
            let text = format!("{name} has values that do not fit f16, in rows {start} to {}", start + rows);
            return Err(GgufError::Content(text));
        }
        out.write_all(bytemuck::cast_slice(halves)).map_err(io)?;
    }
    out.flush().map_err(io)
}
