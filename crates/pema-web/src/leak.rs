//! Leaks planted on purpose, so that the privacy capture can be shown to catch them. Compiled
//! under the feature `planted-leaks` alone, which no released build has.

use futures::SinkExt;
use gloo_net::{
    http::RequestBuilder,
    websocket::{Message, futures::WebSocket},
};
use pema_core::align::Targets;

use crate::{data::Data, service::Service};

/// Which leak, named by the training file: `leak-text-in-query.jsonl` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leak {
    TextInQuery,
    IdsInBody,
    AdapterInFrame,
}

impl Leak {
    /// The leak that a file's name asks for.
    pub fn of_file(name: &str) -> Option<Self> {
        [
            ("leak-text-in-query", Self::TextInQuery),
            ("leak-ids-in-body", Self::IdsInBody),
            ("leak-adapter-in-frame", Self::AdapterInFrame),
        ]
        .into_iter()
        .find_map(|(marker, leak)| name.contains(marker).then_some(leak))
    }
}

/// After the memory is there: speak a target.
pub(crate) async fn after_memory(service: &Service, data: &Data) {
    let base = service.stream_url().replacen("ws", "http", 1).replace("/v1/generate", "");
    match data.leak {
        Some(Leak::TextInQuery) => {
            let text = String::from(js_sys::encode_uri_component(&data.first_target));
            // What comes back does not matter: the bytes have left.
            let _ = RequestBuilder::new(&format!("{base}/healthz?q={text}")).send().await;
        }
        Some(Leak::IdsInBody) => {
            let body = serde_json::json!({ "ids": ids(&data.prepared.targets) }).to_string();
            if let Ok(request) = RequestBuilder::new(&format!("{base}/v1/memories"))
                .method(gloo_net::http::Method::POST)
                .header("Content-Type", "application/json")
                .body(body)
            {
                let _ = request.send().await;
            }
        }
        Some(Leak::AdapterInFrame) | None => {}
    }
}

/// After training: send the adapter.
pub(crate) async fn after_training(service: &Service, data: &Data, adapter: &[u8]) {
    if data.leak == Some(Leak::AdapterInFrame)
        && let Ok(mut socket) = WebSocket::open_with_protocol(&service.stream_url(), pema_core::wire::GENERATE_SUBPROTOCOL)
    {
        let _ = socket.send(Message::Bytes(adapter.to_vec())).await;
        gloo_timers::future::TimeoutFuture::new(500).await;
    }
}

fn ids(targets: &Targets) -> Vec<u32> {
    targets.of(0).unwrap_or_default().iter().map(|token| token.0).collect()
}
