//! Binding, running and stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::ServeConfig;
use crate::http::{self, AppState, BadOrigin, Keys, Origins};
use crate::memory::{DiskStore, Memories};
use crate::model::{Model, ModelError};
use crate::observe;

/// How long open connections may take to end once the service stops.
const DRAIN: Duration = Duration::from_secs(8);

/// A service that listens but does not answer yet.
pub struct Server {
    listener: TcpListener,
    state: AppState,
}

/// Why a service does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Anyone on the network could use the model.
    #[error("{0} can be reached from other machines: give at least one API key with `--key` or PEMA_KEY")]
    KeyNeeded(std::net::IpAddr),
    /// An empty key.
    #[error("an API key is empty")]
    EmptyKey,
    /// An entry of the allow-list.
    #[error(transparent)]
    Origin(#[from] BadOrigin),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The port.
    #[error("{0} cannot be bound: {1}")]
    Bind(SocketAddr, #[source] std::io::Error),
    /// The data folder, or the network.
    #[error("{0}: {1}")]
    Io(String, #[source] std::io::Error),
}

impl Server {
    /// Loads and proves the model, takes up unfinished memories, and listens. `stop` ends it.
    ///
    /// # Errors
    /// [`ServeError`] says what to do.
    pub async fn start(config: &ServeConfig, stop: CancellationToken) -> Result<Self, ServeError> {
        check(config)?;
        let (model, limits) = (config.model.clone(), config.limits.clone());
        let model = tokio::task::spawn_blocking(move || Model::load(&model, &limits)).await;
        let model = model.map_err(|e| ServeError::Io("loading the model".to_owned(), std::io::Error::other(e)))??;
        Self::bind(config, Arc::new(model), stop).await
    }

    /// Like [`Self::start`], for a model that is loaded already.
    ///
    /// # Errors
    /// [`ServeError`] says what to do.
    pub async fn bind(config: &ServeConfig, model: Arc<Model>, stop: CancellationToken) -> Result<Self, ServeError> {
        check(config)?;
        observe::recorder();
        let origins = Arc::new(Origins::new(&config.allow_origins)?);
        let data = |e| ServeError::Io(config.data_dir.display().to_string(), e);
        let store = Arc::new(DiskStore::open(&config.data_dir).map_err(data)?);
        let address = SocketAddr::new(config.host, config.port);
        let listener = TcpListener::bind(address).await.map_err(|e| ServeError::Bind(address, e))?;
        let hash = model.card.model.clone();
        let memories = Memories::open(Arc::clone(&model.engine), store, hash, stop.clone()).map_err(data)?;
        let keys = Arc::new(Keys::new(&config.keys));
        Ok(Self { listener, state: AppState { model, memories, keys, origins, stop } })
    }

    /// The address, with the port that was really taken.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> Result<SocketAddr, ServeError> {
        self.listener.local_addr().map_err(|e| ServeError::Io("the listener".to_owned(), e))
    }

    /// The model that is served.
    pub fn model(&self) -> &Model {
        &self.state.model
    }

    /// Answers until `stop`; then finishes current shards, closes streams and returns.
    ///
    /// # Errors
    /// When the network fails.
    pub async fn run(self) -> Result<(), ServeError> {
        let (stop, memories) = (self.state.stop.clone(), self.state.memories.clone());
        let router = http::router(self.state);
        let serve = axum::serve(self.listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = serve.into_future() => served.map_err(|e| ServeError::Io("the network".to_owned(), e))?,
            () = late => tracing::warn!("connections that were still open are cut"),
        }
        memories.finished().await;
        Ok(())
    }
}

fn check(config: &ServeConfig) -> Result<(), ServeError> {
    if config.keys.iter().any(|key| key.trim().is_empty()) {
        return Err(ServeError::EmptyKey);
    }
    if config.keys.is_empty() && !config.host.is_loopback() {
        return Err(ServeError::KeyNeeded(config.host));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LimitsConfig, ModelConfig};
    use crate::model::ModelSource;

    fn refused(host: &str, keys: &[&str]) -> Option<String> {
        let config = ServeConfig {
            model: ModelConfig::new(ModelSource::Default),
            host: host.parse().unwrap(),
            port: 0,
            allow_origins: Vec::new(),
            keys: keys.iter().map(ToString::to_string).collect(),
            data_dir: "/nowhere".into(),
            limits: LimitsConfig::default(),
        };
        check(&config).err().map(|error| error.to_string())
    }

    #[test]
    fn other_machines_need_a_key() {
        for host in ["127.0.0.1", "127.8.0.1", "::1"] {
            assert_eq!(refused(host, &[]), None, "{host}");
        }
        for host in ["0.0.0.0", "::", "192.168.1.2"] {
            let error = refused(host, &[]).unwrap();
            assert!(error.contains("--key"), "{error}");
            assert_eq!(refused(host, &["key"]), None, "{host}");
        }
        assert_eq!(refused("127.0.0.1", &["key", " "]).unwrap(), "an API key is empty");
    }
}
