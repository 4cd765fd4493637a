//! pema-core
