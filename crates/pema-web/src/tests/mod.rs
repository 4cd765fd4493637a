//! Tests that need a browser: both devices, and the origin's storage.

use wasm_bindgen_test::wasm_bindgen_test_configure;

mod devices;
mod storage;

wasm_bindgen_test_configure!(run_in_dedicated_worker);
