//! Connecting: the model card, then the head and the tokenizer, kept under their hashes.

use std::rc::Rc;

use burn::tensor::Device;
use pema_adapter::Head;
use pema_core::{
    id::ContentHash,
    text::Tokenizer,
    wire::{Artifact, ModelCard},
};

use crate::{
    adapters,
    error::TabError,
    page::Page,
    pool::TabPool,
    protocol::{Event, HeadForm, ModelInfo, Stage},
    service::Service,
    session::State,
    storage::Store,
    train,
};

/// A service, its model, and what generating and training need of it.
pub(crate) struct Connection {
    pub service: Service,
    pub card: ModelCard,
    pub tokenizer: Tokenizer,
    /// The head's file, in the form that was chosen.
    head_file: Artifact,
    head: Option<Head>,
}

impl Connection {
    /// The head on the device, spread over `pool` if there is one; made from storage when first
    /// needed, and again when a worker has died.
    pub async fn head(&mut self, store: &Store, device: &Device, pool: Option<TabPool>) -> Result<&Head, TabError> {
        if !self.head.as_ref().is_some_and(Head::is_alive) {
            self.head = None;
            let bytes = stored(store, &self.head_file).await?;
            let bytes = bytes.ok_or(TabError::NotYet("the LM head is not in storage any more: connect again"))?;
            let (scale, softcap) = (self.card.logit_scale, self.card.logit_softcap);
            let head = match pool {
                Some(pool) => Head::spread(&bytes, scale, softcap, device, Rc::new(pool)).await?,
                None => Head::from_safetensors(&bytes, scale, softcap, device)?,
            };
            // An adapter would be bound to what the service does not have.
            if *head.hash() != self.card.head.sha256 {
                let detail = "its int8 head is another head's than its model card's".to_owned();
                return Err(TabError::NotPema { origin: self.service.origin().to_owned(), detail });
            }
            self.head = Some(head);
        }
        self.head.as_ref().ok_or(TabError::NotYet("the LM head is not loaded: connect again"))
    }

    /// Forgets the head on the device.
    pub fn drop_head(&mut self) {
        self.head = None;
    }
}

/// Connects and says so.
pub(crate) async fn connect(
    state: &mut State,
    page: &Page,
    url: &str,
    key: Option<String>,
    head_form: HeadForm,
) -> Result<(), TabError> {
    let store = state.store()?;
    let service = Service::new(page.clone(), url, key)?;
    let card = service.model().await?;
    let form = pema_core::head::HeadForm::from(head_form);
    let head_file = card.head_in(form).ok_or(TabError::NoInt8Head)?.clone();
    let had_tokenizer = fetch(&store, page, &service, &card.tokenizer, "/v1/tokenizer.json", Stage::Tokenizer).await?;
    let had_head = fetch(&store, page, &service, &head_file, form.path(), Stage::Head).await?;
    let bytes = stored(&store, &card.tokenizer).await?;
    let bytes = bytes.ok_or(TabError::NotYet("the tokenizer is not in storage any more: connect again"))?;
    let tokenizer = Tokenizer::from_json(&bytes, card.vocab_size)?;

    if state.connection.as_ref().is_some_and(|old| old.card.model != card.model) {
        state.data = None;
        state.memory = None;
        state.adapter = None;
    }
    let model = ModelInfo {
        name: card.name.clone(),
        hidden_size: card.hidden_size,
        vocab_size: card.vocab_size,
        context_length: card.context_length,
        head_form,
        head_bytes: head_file.bytes as f64,
        model_hash: card.model.to_string(),
        head_hash: card.head.sha256.to_string(),
        cached: had_tokenizer && had_head,
    };
    let resumable = train::resumable(&store, &card).await?;
    let head = state.connection.take().filter(|old| old.head_file == head_file).and_then(|old| old.head);
    state.connection = Some(Connection { service, card, tokenizer, head_file, head });
    adapters::reload(state).await?;
    let adapters = adapters::list(state).await?;
    page.post(&Event::Connected { model, adapters, resumable });
    Ok(())
}

fn path(artifact: &Artifact) -> String {
    format!("artifacts/{}", artifact.sha256)
}

/// The whole artefact from storage, if it is there; one that is altered is removed.
async fn stored(store: &Store, artifact: &Artifact) -> Result<Option<Vec<u8>>, TabError> {
    let Some(bytes) = store.read(&path(artifact)).await? else { return Ok(None) };
    if ContentHash::of(&bytes) == artifact.sha256 {
        return Ok(Some(bytes));
    }
    store.remove(&path(artifact)).await?;
    Ok(None)
}

/// Has an artefact in storage, going on from what an earlier try left; true when all of it was
/// there already.
async fn fetch(
    store: &Store,
    page: &Page,
    service: &Service,
    artifact: &Artifact,
    url: &str,
    stage: Stage,
) -> Result<bool, TabError> {
    let path = path(artifact);
    let have = store.read(&path).await?.unwrap_or_default();
    if have.len() as u64 == artifact.bytes && ContentHash::of(&have) == artifact.sha256 {
        return Ok(true);
    }
    let have = if (have.len() as u64) < artifact.bytes { have } else { Vec::new() };
    let mut done = have.len() as u64;
    let mut writer = store.writer(&path, done).await?;
    let downloaded = service
        .download(url, &have, &artifact.sha256, |bytes| {
            done += bytes.len() as u64;
            page.progress(stage, done, artifact.bytes, "bytes");
            writer.write(bytes)
        })
        .await;
    writer.finish()?;
    if matches!(downloaded, Err(TabError::Altered { .. })) {
        store.remove(&path).await?;
    }
    downloaded.map(|()| false)
}
