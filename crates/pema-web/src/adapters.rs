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
    /// Its name in storage.
    pub fn id(&self) -> &str {
        &self.id
    }

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

/// Stored adapters, and the one in use if there was no room for it; a file that is none any more is
/// left out.
pub(crate) async fn list(state: &State) -> Result<Vec<AdapterInfo>, TabError> {
    let store = state.store()?;
    let selected = state.adapter.as_ref().map(|adapter| adapter.id.as_str());
    let head = state.connection.as_ref().map(|connection| &connection.card.head.sha256);
    let stored = store.list(FOLDER).await?;
    let homeless = selected.filter(|id| !stored.iter().any(|stored| stored == id)).map(str::to_owned);
    let ids = stored.into_iter().map(|id| (id, true)).chain(homeless.map(|id| (id, false)));
    let mut adapters = Vec::new();
    for (id, stored) in ids {
        let bytes = file(state, &store, &id).await?.unwrap_or_default();
        let Ok(AdapterSummary { name, rank, contexts, has_gate, has_contrast, head: made_for, .. }) =
            AdapterSummary::read(&bytes)
        else {
            continue;
        };
        adapters.push(AdapterInfo {
            name,
            rank: rank as u32,
            contexts: contexts.into(),
            gate: has_gate,
            contrast: has_contrast,
            bytes: bytes.len() as f64,
            fits: head == Some(&made_for),
            selected: selected == Some(id.as_str()),
            stored,
            head_hash: made_for.to_string(),
            id,
        });
    }
    adapters.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(adapters)
}

/// The bytes of an adapter that is in use or in storage.
async fn file(state: &State, store: &Store, id: &str) -> Result<Option<Vec<u8>>, TabError> {
    match state.adapter.as_ref().filter(|adapter| adapter.id == id) {
        Some(adapter) => Ok(Some(adapter.bytes.clone())),
        None => store.read(&path(id)).await,
    }
}

/// After connecting: the adapter that was in use is in use again, if it fits.
pub(crate) async fn reload(state: &mut State) -> Result<(), TabError> {
    if state.adapter.is_some() {
        return Ok(());
    }
    let store = state.store()?;
    let Some(id) = store.read(SELECTED).await?.and_then(|bytes| String::from_utf8(bytes).ok()) else { return Ok(()) };
    match open_stored(state, &store, &id).await {
        Ok(selected) => state.adapter = Some(selected),
        // It is of another model, or gone: the user may select another.
        Err(TabError::AdapterFile(_) | TabError::NotYet(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Reads and checks a stored adapter.
async fn open_stored(state: &State, store: &Store, id: &str) -> Result<Selected, TabError> {
    let gone = TabError::NotYet("this adapter is not in storage any more: import its file again");
    open(state, id, store.read(&path(id)).await?.ok_or(gone)?)
}

/// Checks an adapter's file.
fn open(state: &State, id: &str, bytes: Vec<u8>) -> Result<Selected, TabError> {
    let (_, device) = state.device()?;
    let (_, adapter) = Adapter::import(&bytes, &state.connection()?.card.head.sha256, &device)?;
    Ok(Selected { id: id.to_owned(), bytes, on_device: Some(adapter) })
}

/// Takes an adapter's file into use, and stores it.
///
/// # Errors
/// [`TabError::NotKept`] when there is no room for it: then it is in use all the same.
pub(crate) async fn keep(state: &mut State, bytes: Vec<u8>) -> Result<AdapterInfo, TabError> {
    let store = state.store()?;
    let id = ContentHash::of(&bytes).as_str()[..ID_DIGITS].to_owned();
    let selected = open(state, &id, bytes)?;
    let stored = store.write(&path(&id), &selected.bytes).await;
    state.adapter = Some(selected);
    match stored {
        Err(TabError::StorageFull) => return Err(TabError::NotKept),
        other => other?,
    }
    store.write(SELECTED, id.as_bytes()).await?;
    let adapters = list(state).await?;
    adapters.into_iter().find(|adapter| adapter.id == id).ok_or(TabError::NotYet("the adapter was not stored: try again"))
}

/// Takes a stored adapter into use.
pub(crate) async fn select(state: &mut State, page: &Page, id: &str) -> Result<(), TabError> {
    let store = state.store()?;
    state.adapter = Some(open_stored(state, &store, id).await?);
    store.write(SELECTED, id.as_bytes()).await?;
    show(state, page).await
}

/// Hands an adapter's file to the page.
pub(crate) async fn export(state: &mut State, page: &Page, id: &str) -> Result<(), TabError> {
    let gone = TabError::NotYet("this adapter is not in storage any more");
    let bytes = file(state, &state.store()?, id).await?.ok_or(gone)?;
    let name = AdapterSummary::read(&bytes)?.name;
    let safe: String = name.chars().map(|c| if c.is_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    page.post(&Event::AdapterExported { name: format!("{safe}.pema.safetensors"), bytes });
    Ok(())
}

/// Stores a file that the user chose, after checking that it fits the connected model.
pub(crate) async fn import(state: &mut State, page: &Page, file: DataFile) -> Result<(), TabError> {
    let kept = keep(state, file.bytes).await;
    show(state, page).await?;
    kept.map(drop)
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

/// Tells the page which adapters there are.
pub(crate) async fn show(state: &State, page: &Page) -> Result<(), TabError> {
    page.post(&Event::Adapters { adapters: list(state).await? });
    Ok(())
}
