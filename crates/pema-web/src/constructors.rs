//! Static constructors, by which the compiler of Burn's shaders registers its parts.
//!
//! Unless a module calls them itself, the linker wraps every export so that it runs them all first: some
//! thousand of them, at each call from JavaScript, those that allocate a reference included.

use wasm_bindgen::prelude::wasm_bindgen;

unsafe extern "C" {
    /// The linker's.
    fn __wasm_call_ctors();
}

/// Runs them, as soon as the module is there; tests, whose modules start otherwise, call this.
#[wasm_bindgen(start)]
pub(crate) fn run_constructors() {
    static RUN: std::sync::Once = std::sync::Once::new();
    // SAFETY: each registers something of its own, once.
    RUN.call_once(|| unsafe { __wasm_call_ctors() });
}
