//! pema-service
