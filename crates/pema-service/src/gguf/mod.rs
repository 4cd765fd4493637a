//! What llama.cpp's own API does not show of a GGUF file: arrays in its metadata, and tensors.
//!
//! Parsing and dequantising are ggml's; this module only makes them safe to call.

mod head;

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

pub use head::export_head;

/// A GGUF file's metadata.
pub struct Gguf {
    context: NonNull<sys::gguf_context>,
    path: PathBuf,
}

// SAFETY: after `open` the context is only read, through `&self`, and ggml's getters touch no
// global or thread-local state.
unsafe impl Send for Gguf {}
// SAFETY: as above.
unsafe impl Sync for Gguf {}

/// Why a GGUF file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// Not a GGUF file at all, or a damaged one.
    #[error("{0} is not a readable GGUF file")]
    Open(PathBuf),
    /// Reading tensors failed.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] std::io::Error),
    /// A tensor or key that the export needs is missing or of another form.
    #[error("{0}")]
    Content(String),
    /// ggml stores such tensors and does not turn them into floats.
    #[error(
        "{tensor} is of ggml's type {kind}, which cannot be read: convert the model with `llama-quantize --output-tensor-type f16`"
    )]
    Type {
        /// Its name.
        tensor: &'static str,
        /// As ggml calls it.
        kind: String,
    },
}

/// Where a tensor's bytes are and how to read them.
pub(crate) struct Tensor {
    name: &'static str,
    /// Offset in the file.
    pub offset: u64,
    /// Bytes of one row.
    pub row_bytes: usize,
    /// Elements of one row, and rows.
    pub columns: usize,
    pub rows: usize,
    kind: sys::ggml_type,
}

impl Gguf {
    /// Reads the metadata, no tensor data.
    ///
    /// # Errors
    /// [`GgufError::Open`] when ggml cannot read it.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let unreadable = || GgufError::Open(path.to_owned());
        let name = path.to_str().and_then(|p| CString::new(p).ok()).ok_or_else(unreadable)?;
        let params = sys::gguf_init_params { no_alloc: true, ctx: std::ptr::null_mut() };
        // SAFETY: `name` is a C string that outlives the call; a null `ctx` asks for metadata only.
        let context = NonNull::new(unsafe { sys::gguf_init_from_file(name.as_ptr(), params) });
        Ok(Self { context: context.ok_or_else(unreadable)?, path: path.to_owned() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A string value.
    pub fn text(&self, key: &str) -> Option<String> {
        let id = self.key(key, sys::GGUF_TYPE_STRING)?;
        // SAFETY: `id` is a string key of this context; the text lives as long as the context.
        let text = unsafe { CStr::from_ptr(sys::gguf_get_val_str(self.context.as_ptr(), id)) };
        Some(text.to_string_lossy().into_owned())
    }

    /// A 32-bit float.
    pub fn float(&self, key: &str) -> Option<f32> {
        let id = self.key(key, sys::GGUF_TYPE_FLOAT32)?;
        // SAFETY: `id` is a float key of this context.
        Some(unsafe { sys::gguf_get_val_f32(self.context.as_ptr(), id) })
    }

    /// A flag.
    pub fn flag(&self, key: &str) -> Option<bool> {
        let id = self.key(key, sys::GGUF_TYPE_BOOL)?;
        // SAFETY: `id` is a boolean key of this context.
        Some(unsafe { sys::gguf_get_val_bool(self.context.as_ptr(), id) })
    }

    /// An unsigned number of 32 bits.
    pub fn number(&self, key: &str) -> Option<u32> {
        let id = self.key(key, sys::GGUF_TYPE_UINT32)?;
        // SAFETY: `id` is an unsigned 32-bit key of this context.
        Some(unsafe { sys::gguf_get_val_u32(self.context.as_ptr(), id) })
    }

    /// An array of strings.
    pub fn texts(&self, key: &str) -> Option<Vec<String>> {
        let (id, n) = self.array(key, sys::GGUF_TYPE_STRING)?;
        let text = |i| {
            // SAFETY: `id` is an array of strings and `i` is below its length.
            let text = unsafe { CStr::from_ptr(sys::gguf_get_arr_str(self.context.as_ptr(), id, i)) };
            text.to_string_lossy().into_owned()
        };
        Some((0..n).map(text).collect())
    }

    /// An array of 32-bit floats.
    pub fn floats(&self, key: &str) -> Option<Vec<f32>> {
        let (id, n) = self.array(key, sys::GGUF_TYPE_FLOAT32)?;
        // SAFETY: `id` is an array of `n` floats, which ggml holds in a vector aligned for any
        // scalar, alive as long as the context.
        Some(unsafe { std::slice::from_raw_parts(sys::gguf_get_arr_data(self.context.as_ptr(), id).cast(), n) }.to_vec())
    }

    /// An array of 32-bit integers.
    pub fn integers(&self, key: &str) -> Option<Vec<i32>> {
        let (id, n) = self.array(key, sys::GGUF_TYPE_INT32)?;
        // SAFETY: as in `floats`.
        Some(unsafe { std::slice::from_raw_parts(sys::gguf_get_arr_data(self.context.as_ptr(), id).cast(), n) }.to_vec())
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        self.tensor_id(name).is_some()
    }

    /// A matrix's place in the file.
    pub(crate) fn matrix(&self, name: &'static str) -> Option<Tensor> {
        let id = self.tensor_id(name)?;
        let context = self.context.as_ptr();
        // SAFETY: `id` is a tensor of this context; `ne` has at least two elements by ggml's
        // GGML_MAX_DIMS; the row size is that of a type which ggml has accepted in this file.
        unsafe {
            let ne = sys::gguf_get_tensor_ne(context, id);
            let (columns, rows) = (*ne as usize, *ne.add(1) as usize);
            let kind = sys::gguf_get_tensor_type(context, id);
            Some(Tensor {
                name,
                offset: (sys::gguf_get_data_offset(context) + sys::gguf_get_tensor_offset(context, id)) as u64,
                row_bytes: sys::ggml_row_size(kind, columns as i64),
                columns,
                rows,
                kind,
            })
        }
    }

    fn tensor_id(&self, name: &str) -> Option<i64> {
        let name = CString::new(name).ok()?;
        // SAFETY: a live context and a C string.
        let id = unsafe { sys::gguf_find_tensor(self.context.as_ptr(), name.as_ptr()) };
        (id >= 0).then_some(id)
    }

    fn key(&self, key: &str, kind: sys::gguf_type) -> Option<i64> {
        let key = CString::new(key).ok()?;
        // SAFETY: a live context and a C string; the type is asked of a key that exists.
        unsafe {
            let id = sys::gguf_find_key(self.context.as_ptr(), key.as_ptr());
            (id >= 0 && sys::gguf_get_kv_type(self.context.as_ptr(), id) == kind).then_some(id)
        }
    }

    fn array(&self, key: &str, kind: sys::gguf_type) -> Option<(i64, usize)> {
        let id = self.key(key, sys::GGUF_TYPE_ARRAY)?;
        // SAFETY: `id` is an array of this context.
        unsafe {
            let same = sys::gguf_get_arr_type(self.context.as_ptr(), id) == kind;
            same.then(|| (id, sys::gguf_get_arr_n(self.context.as_ptr(), id)))
        }
    }
}

impl Tensor {
    /// Whole rows as floats.
    pub(crate) fn dequantise(&self, bytes: &[u8], out: &mut [f32]) -> Result<(), GgufError> {
        assert_eq!(bytes.len() % self.row_bytes, 0, "whole rows");
        assert_eq!(out.len(), bytes.len() / self.row_bytes * self.columns, "room for every element");
        if self.kind == sys::GGML_TYPE_F32 {
            for (x, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *x = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
            return Ok(());
        }
        // SAFETY: ggml returns a pointer into its static table of types.
        let to_float = unsafe { (*sys::ggml_get_type_traits(self.kind)).to_float };
        let to_float = to_float.ok_or_else(|| GgufError::Type { tensor: self.name, kind: self.kind_name() })?;
        // SAFETY: `bytes` holds exactly the blocks of `out.len()` elements, as asserted above.
        // ggml's block structs have an alignment of at most 4, which callers' buffers meet
        // (allocators align to 8 at least) and x86 and Arm do not need.
        unsafe { to_float(bytes.as_ptr().cast(), out.as_mut_ptr(), out.len() as i64) };
        Ok(())
    }

    fn kind_name(&self) -> String {
        // SAFETY: ggml has a name for every type that it accepts in a file.
        unsafe { CStr::from_ptr(sys::ggml_type_name(self.kind)) }.to_string_lossy().into_owned()
    }
}

impl Drop for Gguf {
    fn drop(&mut self) {
        // SAFETY: made by `gguf_init_from_file`, freed once.
        unsafe { sys::gguf_free(self.context.as_ptr()) };
    }
}

#[cfg(test)]
mod tests;
