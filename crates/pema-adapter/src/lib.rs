//! pema-adapter
