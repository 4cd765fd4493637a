//! pema-cli
fn main() {}
