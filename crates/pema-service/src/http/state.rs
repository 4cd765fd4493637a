//! What every handler sees.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Keys, Origins};
use crate::memory::Memories;
use crate::model::Model;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState {
    pub model: Arc<Model>,
    pub memories: Memories,
    pub keys: Arc<Keys>,
    pub origins: Arc<Origins>,
    /// Cancelled when the service stops.
    pub stop: CancellationToken,
}
