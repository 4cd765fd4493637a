//! A folder with everything that training needs: model card, head, tokenizer and a memory.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use futures::executor::block_on;
use pema_adapter::{AdapterConfig, Head, HostRows, Memory, MemoryBuilder};
use pema_core::{
    align::Contexts,
    memory::{Shard, StoredManifest},
    prepare::Prepared,
    text::Tokenizer,
    wire::{ModelCard, ShardEntry},
};
use serde::{Serialize, de::DeserializeOwned};

/// What `pema extract` writes and the other commands read.
pub struct Folder {
    path: PathBuf,
    /// The model.
    pub card: ModelCard,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
}

impl Folder {
    /// Writes the model's parts.
    pub fn create(path: &Path, card: ModelCard, head: &[u8], tokenizer: &[u8]) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
        write(&path.join("model.json"), &serde_json::to_vec_pretty(&card)?)?;
        write(&path.join("head.safetensors"), head)?;
        write(&path.join("tokenizer.json"), tokenizer)?;
        Self::open(path)
    }

    /// Another folder for the same model.
    pub fn copy_model(&self, path: &Path) -> Result<Self> {
        let part = |name: &str| read(&self.path.join(name));
        Self::create(path, self.card.clone(), &part("head.safetensors")?, &part("tokenizer.json")?)
    }

    /// Reads the model's parts.
    pub fn open(path: &Path) -> Result<Self> {
        let card: ModelCard = read_json(&path.join("model.json"))?;
        let tokenizer = Tokenizer::from_json(&read(&path.join("tokenizer.json"))?, card.vocab_size)?;
        Ok(Self { path: path.to_owned(), card, tokenizer })
    }

    /// The LM head on a device, in the form that was extracted.
    pub fn head(&self, device: &Device) -> Result<Head> {
        let bytes = read(&self.path.join("head.safetensors"))?;
        let head = Head::from_safetensors(&bytes, self.card.logit_scale, self.card.logit_softcap, device)?;
        ensure!(*head.hash() == self.card.head.sha256, "{} has another model's head: extract again", self.path.display());
        Ok(head)
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Keeps one shard.
    pub fn put_shard(&self, entry: &ShardEntry, bytes: &[u8]) -> Result<()> {
        write(&self.path.join(entry.sha256.as_str()), bytes)
    }

    /// Says that all shards are there.
    pub fn put_manifest(&self, manifest: &impl Serialize) -> Result<()> {
        write(&self.path.join("memory.json"), &serde_json::to_vec_pretty(manifest)?)
    }

    /// What the memory's rows are.
    pub fn contexts(&self) -> Result<Contexts> {
        Ok(Contexts::of(self.manifest()?.memory.kind))
    }

    /// How often its contexts were made: 1 for the model's own.
    pub fn round(&self) -> Result<u32> {
        Ok(self.manifest()?.round)
    }

    /// The memory's shards, read one by one.
    pub fn shards(&self) -> Result<impl Iterator<Item = Result<Shard>>> {
        let d = self.card.hidden_size as usize;
        let open = move |entry: ShardEntry| Ok(Shard::open(&read(&self.path.join(entry.sha256.as_str()))?, &entry, d)?);
        Ok(self.manifest()?.memory.shards.into_iter().map(open))
    }

    fn manifest(&self) -> Result<StoredManifest> {
        read_json(&self.path.join("memory.json"))
    }

    /// Joins the memory with the same pairs, for an adapter of these settings; prompts from `validation_from` on
    /// are for validation. `head` is this folder's.
    pub fn memory(
        &self,
        pairs: &Prepared,
        validation_from: u32,
        config: &AdapterConfig,
        head: &Head,
    ) -> Result<Memory<Arc<HostRows>>> {
        let contexts = self.contexts()?;
        let d = self.card.hidden_size as usize;
        let mut builder = MemoryBuilder::new(pairs, contexts, d, validation_from);
        if config.needs_runs() {
            builder = builder.keep_runs();
        }
        for (index, shard) in (0..).zip(self.shards()?) {
            builder.add(index, &shard?)?;
        }
        Ok(block_on(builder.finish()?.pair(config.pairing, head))?)
    }
}

/// Reads a file, naming it when that fails.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Writes a file, naming it when that fails.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("{} cannot be written", path.display()))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read(path)?).with_context(|| format!("{} is not what `pema extract` writes", path.display()))
}
