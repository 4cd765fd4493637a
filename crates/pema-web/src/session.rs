//! The worker's one session: what is connected, loaded and trained, and which task runs.

use std::rc::Rc;

use burn::tensor::Device;
use futures::lock::Mutex;
use js_sys::Function;
use tsify::Ts;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::spawn_local;

use crate::{
    adapters,
    connect::{self, Connection},
    data::{self, Data},
    device::Devices,
    error::TabError,
    evaluate, generate,
    memory::{self, Memory},
    page::Page,
    pool::{StartSlices, TabPool},
    protocol::{Command, DeviceChoice, DeviceKind, Event, Task},
    regenerate::{self, Rehearsal, Writing},
    storage::Store,
    train, tune,
};

/// Takes the page's commands and answers with events.
#[wasm_bindgen]
pub struct Session {
    page: Page,
    /// Held by the one task that runs.
    state: Rc<Mutex<State>>,
}

/// What the tasks share.
#[derive(Default)]
pub(crate) struct State {
    pub devices: Devices,
    pub device: Option<(DeviceKind, Device)>,
    pub store: Option<Store>,
    pub connection: Option<Connection>,
    pub data: Option<Data>,
    pub memory: Option<Memory>,
    pub adapter: Option<adapters::Selected>,
    /// What a second round's memory would tell.
    pub rehearsal: Option<Rehearsal>,
    /// A stopped run that there was no room for in storage.
    pub stopped_run: Option<train::StoppedRun>,
}

#[wasm_bindgen]
impl Session {
    /// A session that sends its events to `post` and may use so many workers for the CPU's part.
    #[wasm_bindgen(constructor)]
    pub fn new(post: Function, workers: usize, start_slices: StartSlices) -> Self {
        console_error_panic_hook::set_once();
        let state = State { devices: Devices::new(workers, start_slices), ..State::default() };
        Self { page: Page::new(post), state: Rc::new(Mutex::new(state)) }
    }

    /// Takes a command; its events follow.
    pub fn handle(&self, command: Ts<Command>) {
        let command = match command.to_rust() {
            Ok(command) => command,
            Err(error) => {
                let failure = TabError::Command(error.to_string()).failure();
                return self.page.post(&Event::Failed { during: Task::Open, failure });
            }
        };
        if matches!(command, Command::Stop) {
            return self.page.request_stop();
        }
        let (state, page) = (self.state.clone(), self.page.clone());
        spawn_local(async move {
            let task = task_of(&command);
            let fail = |error: &TabError| page.post(&Event::Failed { during: task, failure: error.failure() });
            let Some(mut state) = state.try_lock() else { return fail(&TabError::Busy) };
            page.clear_stop();
            if let Err(error) = state.run(command, &page).await {
                fail(&error);
            }
            drop(state);
            page.post(&Event::Idle);
        });
    }
}

fn task_of(command: &Command) -> Task {
    match command {
        Command::Open { .. } | Command::Stop | Command::Forget => Task::Open,
        Command::Connect { .. } => Task::Connect,
        Command::InspectData { .. } | Command::LoadData { .. } => Task::Data,
        Command::DownloadMemory { .. } => Task::Memory,
        Command::Train { .. } => Task::Train,
        Command::Generate { .. } => Task::Generate,
        Command::Tune { .. } => Task::Tune,
        Command::Evaluate { .. } => Task::Evaluate,
        Command::Rehearse { .. } | Command::Regenerate { .. } => Task::Regenerate,
        Command::SelectAdapter { .. }
        | Command::ExportAdapter { .. }
        | Command::ImportAdapter { .. }
        | Command::DeleteAdapter { .. } => Task::Adapters,
    }
}

impl State {
    async fn run(&mut self, command: Command, page: &Page) -> Result<(), TabError> {
        match command {
            Command::Stop => Ok(()),
            Command::Open { device } => self.open(device, page).await,
            Command::Forget => self.forget(page).await,
            Command::Connect { url, key, head } => connect::connect(self, page, &url, key, head).await,
            Command::InspectData { file } => data::inspect(page, &file),
            Command::LoadData { .. } => data::load(self, page, command),
            Command::DownloadMemory { contexts } => memory::download(self, page, contexts.into()).await,
            Command::Train { settings, resume } => train::train(self, page, settings, resume).await,
            Command::Generate { input, decoding } => generate::generate(self, page, &input, &decoding).await,
            Command::Tune { decoding, limit } => tune::tune(self, page, &decoding, limit as usize).await,
            Command::Evaluate { decoding, limit } => evaluate::evaluate(self, page, &decoding, limit as usize).await,
            Command::Rehearse { mixture, no_repeat } => regenerate::rehearse(self, page, Writing { mixture, no_repeat }).await,
            Command::Regenerate { max_overlap } => regenerate::regenerate(self, page, max_overlap).await,
            Command::SelectAdapter { id } => adapters::select(self, page, &id).await,
            Command::ExportAdapter { id } => adapters::export(self, page, &id).await,
            Command::ImportAdapter { file } => adapters::import(self, page, file).await,
            Command::DeleteAdapter { id } => adapters::delete(self, page, &id).await,
        }
    }

    async fn open(&mut self, choice: DeviceChoice, page: &Page) -> Result<(), TabError> {
        let found = Devices::survey().await;
        // A device that cannot be had leaves the tab usable on the CPU.
        let opened = self.devices.open(choice, &found).await;
        let (opened, problem) = match opened {
            Ok(opened) => (opened, None),
            Err(error) => ((DeviceKind::Cpu, Device::flex()), Some(error)),
        };
        let chosen = opened.0;
        if self.device.as_ref().is_none_or(|(kind, _)| *kind != chosen) {
            self.device = Some(opened);
            self.leave_device();
        }
        if self.store.is_none() {
            self.store = Some(Store::open().await?);
        }
        let (storage, adapters) = (Store::info().await, adapters::list(self).await?);
        page.post(&Event::Ready { devices: found, chosen, storage, adapters });
        problem.map_or(Ok(()), Err)
    }

    /// Drops what lives on the device, to be made anew on the next one.
    fn leave_device(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.drop_head();
        }
        if let Some(adapter) = &mut self.adapter {
            adapter.leave_device();
        }
    }

    async fn forget(&mut self, page: &Page) -> Result<(), TabError> {
        self.store()?.clear().await?;
        let kept = State {
            devices: std::mem::take(&mut self.devices),
            device: self.device.take(),
            store: self.store.take(),
            ..State::default()
        };
        *self = kept;
        let chosen = self.device()?.0;
        page.post(&Event::Ready { devices: Devices::survey().await, chosen, storage: Store::info().await, adapters: Vec::new() });
        Ok(())
    }

    pub(crate) fn store(&self) -> Result<Store, TabError> {
        self.store.clone().ok_or(TabError::NotYet("the storage is not open yet: reload the page"))
    }

    pub(crate) fn device(&self) -> Result<(DeviceKind, Device), TabError> {
        self.device.clone().ok_or(TabError::NotYet("no device is open yet: reload the page"))
    }

    /// New workers to spread a head over, if the device in use has them.
    pub(crate) fn pool(&self) -> Result<Option<TabPool>, TabError> {
        let (kind, _) = self.device()?;
        Ok(self.devices.pool(kind))
    }

    pub(crate) fn connection(&self) -> Result<&Connection, TabError> {
        self.connection.as_ref().ok_or(NOT_CONNECTED)
    }

    pub(crate) fn data(&self) -> Result<&Data, TabError> {
        self.data.as_ref().ok_or(TabError::NotYet("there are no pairs yet: load your data first"))
    }
}

pub(crate) const NOT_CONNECTED: TabError = TabError::NotYet("there is no connection yet: connect to a service first");
