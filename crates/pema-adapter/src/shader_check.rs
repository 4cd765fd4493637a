//! Browsers check shaders with their own compilers, of which Naga is Firefox's.

use naga::valid::{Capabilities, ValidationFlags, Validator};

/// Panics, with Naga's words, if this WGSL is not valid.
pub(crate) fn assert_valid(text: &str, what: &str) {
    let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|error| panic!("{what}: {}", error.emit_to_string(text)));
    // unpack2x16float, which Naga names a capability, is in every WebGPU.
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32);
    let info = validator.validate(&module);
    info.unwrap_or_else(|error| panic!("{what}: {}", error.emit_to_string(text)));
}
