//! The worker's side of the page: events out, the stop button, the clock, the ledger.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use gloo_timers::future::TimeoutFuture;
use js_sys::Function;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::WorkerGlobalScope;

use crate::{
    error::TabError,
    protocol::{Event, LedgerEntry, LedgerKind, Stage},
};

/// Cheap to clone; every task has one.
#[derive(Clone)]
pub struct Page {
    post: Function,
    stop: Rc<Cell<bool>>,
    ledger: Rc<RefCell<u32>>,
}

impl Page {
    /// A page that takes events through `post`.
    pub fn new(post: Function) -> Self {
        Self { post, stop: Rc::default(), ledger: Rc::default() }
    }

    /// Sends an event.
    pub fn post(&self, event: &Event) {
        let serializer = serde_wasm_bindgen::Serializer::new().serialize_maps_as_objects(true);
        match serde::Serialize::serialize(event, &serializer) {
            // The callback is the worker's `postMessage`: it has no result, and a page that is
            // gone hears nothing.
            Ok(value) => drop(self.post.call1(&JsValue::NULL, &value)),
            Err(error) => web_sys::console::error_1(&JsValue::from(error)),
        }
    }

    /// Sends progress of a stage.
    pub fn progress(&self, stage: Stage, done: u64, total: u64, unit: &str) {
        self.post(&Event::Progress { stage, done: done as f64, total: total as f64, unit: unit.to_owned() });
    }

    /// The user wants the running task to stop.
    pub fn request_stop(&self) {
        self.stop.set(true);
    }

    /// A new task begins: an old wish to stop does not concern it.
    pub fn clear_stop(&self) {
        self.stop.set(false);
    }

    /// Whether the user wants the task to stop.
    pub fn stop_requested(&self) -> bool {
        self.stop.get()
    }

    /// Fails when the user wants the task to stop.
    ///
    /// # Errors
    /// [`TabError::Stopped`].
    pub fn check_stop(&self) -> Result<(), TabError> {
        if self.stop_requested() { Err(TabError::Stopped) } else { Ok(()) }
    }

    /// Lets the worker handle messages.
    pub async fn breathe(&self) {
        TimeoutFuture::new(0).await;
    }

    /// Waits.
    pub async fn sleep(&self, milliseconds: u32) {
        TimeoutFuture::new(milliseconds).await;
    }

    /// Opens a ledger entry and shows it.
    pub fn record(&self, request: String, kind: LedgerKind, carried: String, sent: u64) -> Recorded {
        let number = {
            let mut count = self.ledger.borrow_mut();
            *count += 1;
            *count
        };
        let entry = LedgerEntry { number, at: now(), request, carried, kind, sent: sent as f64, received: 0.0, status: 0 };
        let recorded = Recorded { page: self.clone(), entry };
        recorded.show();
        recorded
    }
}

/// One request in the ledger.
pub struct Recorded {
    page: Page,
    entry: LedgerEntry,
}

impl Recorded {
    /// The answer's status.
    pub fn status(&mut self, status: u16) {
        self.entry.status = status;
        self.show();
    }

    /// More bytes came; shown with the next [`Self::show`].
    pub fn received(&mut self, bytes: usize) {
        self.entry.received += bytes as f64;
    }

    /// More bytes left; shown with the next [`Self::show`].
    pub fn sent(&mut self, bytes: usize, carried: String) {
        self.entry.sent += bytes as f64;
        self.entry.carried = carried;
    }

    /// Tells the page.
    pub fn show(&self) {
        self.page.post(&Event::Ledger { entry: self.entry.clone() });
    }
}

/// Milliseconds since the worker began.
pub fn now() -> f64 {
    js_sys::global().unchecked_into::<WorkerGlobalScope>().performance().map(|performance| performance.now()).unwrap_or_default()
}
