//! Stored adapters: kept under their content's hash, one of them in use.

use burn::tensor::Device;
use pema_adapter::{Adapter, AdapterSummary};
use pema_core::{id::ContentHash, wire::ModelCard};

use crate::{
    error::TabError,
    page::Page,
    protocol::{AdapterInfo, DataFile, Event},
    session::State,
    storage::Store,
};

const FOLDER: &str = "adapters";
/// Holds the id of the adapter in use.
const SELECTED: &str = "selected-adapter";
/// Digits of the content's hash that name an adapter.
const ID_DIGITS: usize = 16;

/// The adapter in use; on the device once something needs it there.
pub(crate) struct Selected {
    id: String,
    bytes: Vec<u8>,
    on_device: Option<Adapter>,
}

impl Selected {
    /// It, on the device.
    pub fn on_device(&mut self, card: &ModelCard, device: &Device) -> Result<&Adapter, TabError> {
        let adapter = match self.on_device.take() {
            Some(adapter) => adapter,
            None => Adapter::import(&self.bytes, &card.head.sha256, device)?.1,
        };
        Ok(self.on_device.insert(adapter))
    }

    /// Forgets it on the device.
    pub fn leave_device(&mut self) {
        self.on_device = None;
    }
}

fn path(id: &str) -> String {
    format!("{FOLDER}/{id}")
}

/// Stored adapters; a file that is none any more is left out.
pub(crate) async fn list(state: &State) -> Result<Vec<AdapterInfo>, TabError> {
    let store = state.store()?;
    let selected = state.adapter.as_ref().map(|adapter| adapter.id.as_str());
    let head = state.connection.as_ref().map(|connection| &connection.card.head.sha256);
    let mut adapters = Vec::new();
    for id in store.list(FOLDER).await? {
        let bytes = store.read(&path(&id)).await?.unwrap_or_default();
        let Ok(AdapterSummary { name, rank, contexts, head: made_for, .. }) = AdapterSummary::read(&bytes) else { continue };
        adapters.push(AdapterInfo {
            name,
            rank: rank as u32,
            contexts: contexts.into(),
            bytes: bytes.len() as f64,
            fits: head == Some(&made_for),
            selected: selected == Some(id.as_str()),
            head_hash: made_for.to_string(),
            id,
        });
    }
    adapters.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(adapters)
}

/// After connecting: the adapter that was in use is in use again, if it fits.
pub(crate) async fn reload(state: &mut State) -> Result<(), TabError> {
    if state.adapter.is_some() {
        return Ok(());
    }
    let store = state.store()?;
    let Some(id) = store.read(SELECTED).await?.and_then(|bytes| String::from_utf8(bytes).ok()) else { return Ok(()) };
    match open(state, &store, &id).await {
        Ok(selected) => state.adapter = Some(selected),
        // It is of another model, or gone: the user may select another.
        Err(TabError::AdapterFile(_) | TabError::NotYet(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Reads and checks a stored adapter.
async fn open(state: &State, store: &Store, id: &str) -> Result<Selected, TabError> {
    let gone = TabError::NotYet("this adapter is not in storage any more: import its file again");
    let bytes = store.read(&path(id)).await?.ok_or(gone)?;
    let (_, device) = state.device()?;
    let (_, adapter) = Adapter::import(&bytes, &state.connection()?.card.head.sha256, &device)?;
    Ok(Selected { id: id.to_owned(), bytes, on_device: Some(adapter) })
}

/// Stores an adapter's file and takes it into use.
pub(crate) async fn keep(state: &mut State, bytes: Vec<u8>) -> Result<AdapterInfo, TabError> {
    let store = state.store()?;
    let id = ContentHash::of(&bytes).as_str()[..ID_DIGITS].to_owned();
    store.write(&path(&id), &bytes).await?;
    put_into_use(state, &store, &id).await?;
    let adapters = list(state).await?;
    adapters.into_iter().find(|adapter| adapter.id == id).ok_or(TabError::NotYet("the adapter was not stored: try again"))
}

async fn put_into_use(state: &mut State, store: &Store, id: &str) -> Result<(), TabError> {
    state.adapter = Some(open(state, store, id).await?);
    store.write(SELECTED, id.as_bytes()).await
}

/// Takes a stored adapter into use.
pub(crate) async fn select(state: &mut State, page: &Page, id: &str) -> Result<(), TabError> {
    put_into_use(state, &state.store()?, id).await?;
    show(state, page).await
}

/// Hands an adapter's file to the page.
pub(crate) async fn export(state: &mut State, page: &Page, id: &str) -> Result<(), TabError> {
    let gone = TabError::NotYet("this adapter is not in storage any more");
    let bytes = state.store()?.read(&path(id)).await?.ok_or(gone)?;
    let name = AdapterSummary::read(&bytes)?.name;
    let safe: String = name.chars().map(|c| if c.is_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    page.post(&Event::AdapterExported { name: format!("{safe}.pema.safetensors"), bytes });
    Ok(())
}

/// Stores a file that the user chose, after checking that it fits the connected model.
pub(crate) async fn import(state: &mut State, page: &Page, file: DataFile) -> Result<(), TabError> {
    let (_, device) = state.device()?;
    Adapter::import(&file.bytes, &state.connection()?.card.head.sha256, &device)?;
    keep(state, file.bytes).await?;
    show(state, page).await
}

/// Deletes a stored adapter.
pub(crate) async fn delete(state: &mut State, page: &Page, id: &str) -> Result<(), TabError> {
    let store = state.store()?;
    store.remove(&path(id)).await?;
    if state.adapter.as_ref().is_some_and(|adapter| adapter.id == id) {
        state.adapter = None;
        store.remove(SELECTED).await?;
    }
    show(state, page).await
}

async fn show(state: &State, page: &Page) -> Result<(), TabError> {
    page.post(&Event::Adapters { adapters: list(state).await? });
    Ok(())
}
