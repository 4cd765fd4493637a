//! pema-web
