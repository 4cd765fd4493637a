//! Where memories live between requests and between runs of the service.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use pema_core::id::{ContentHash, MemoryId};
use pema_core::wire::{CreateMemory, MemoryManifest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Tenant;

/// Whose memory it is, and which request made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Who may see it.
    pub tenant: Tenant,
    /// The `Idempotency-Key` it was made with.
    pub idempotency_key: Option<String>,
    /// Hash of the request and of the model it was meant for.
    pub request: ContentHash,
}

/// Keeps memories. Calls block.
pub trait MemoryStore: Send + Sync + 'static {
    /// A new memory.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn create(&self, owner: &Owner, request: &CreateMemory, manifest: &MemoryManifest) -> io::Result<()>;
    /// Replaces a memory's manifest.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn save_manifest(&self, manifest: &MemoryManifest) -> io::Result<()>;
    /// Keeps a shard.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn put_shard(&self, id: &MemoryId, index: u32, bytes: &[u8]) -> io::Result<()>;
    /// Gives a shard back.
    ///
    /// # Errors
    /// When it is not there.
    fn shard(&self, id: &MemoryId, index: u32) -> io::Result<Vec<u8>>;
    /// What was asked for.
    ///
    /// # Errors
    /// When it is not there.
    fn request(&self, id: &MemoryId) -> io::Result<CreateMemory>;
    /// All memories.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn list(&self) -> io::Result<Vec<(Owner, MemoryManifest)>>;
    /// Forgets a memory; one that is not there is forgotten already.
    ///
    /// # Errors
    /// When something of it remains.
    fn delete(&self, id: &MemoryId) -> io::Result<()>;
}

/// A folder per memory: `owner.json`, `request.json`, `manifest.json`, `0.safetensors`, …
pub struct DiskStore {
    dir: PathBuf,
}

impl DiskStore {
    /// A store in `dir/memories`, readable by this user alone where the system knows users.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let dir = dir.join("memories");
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&dir)?;
        Ok(Self { dir })
    }

    fn folder(&self, id: &MemoryId) -> PathBuf {
        self.dir.join(id.as_str())
    }

    fn shard_path(&self, id: &MemoryId, index: u32) -> PathBuf {
        self.folder(id).join(format!("{index}.safetensors"))
    }
}

impl MemoryStore for DiskStore {
    fn create(&self, owner: &Owner, request: &CreateMemory, manifest: &MemoryManifest) -> io::Result<()> {
        let folder = self.folder(&manifest.id);
        fs::create_dir(&folder)?;
        put(&folder.join("request.json"), &serde_json::to_vec(request)?)?;
        put(&folder.join("owner.json"), &serde_json::to_vec(owner)?)?;
        // Last, because `list` takes a folder with a manifest for a memory.
        self.save_manifest(manifest)
    }

    fn save_manifest(&self, manifest: &MemoryManifest) -> io::Result<()> {
        put(&self.folder(&manifest.id).join("manifest.json"), &serde_json::to_vec(manifest)?)
    }

    fn put_shard(&self, id: &MemoryId, index: u32, bytes: &[u8]) -> io::Result<()> {
        put(&self.shard_path(id, index), bytes)
    }

    fn shard(&self, id: &MemoryId, index: u32) -> io::Result<Vec<u8>> {
        fs::read(self.shard_path(id, index))
    }

    fn request(&self, id: &MemoryId) -> io::Result<CreateMemory> {
        get(&self.folder(id).join("request.json"))
    }

    fn list(&self) -> io::Result<Vec<(Owner, MemoryManifest)>> {
        let mut memories = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let folder = entry?.path();
            match (get(&folder.join("owner.json")), get(&folder.join("manifest.json"))) {
                (Ok(owner), Ok(manifest)) => memories.push((owner, manifest)),
                // Torn while it was made: nobody was told its id.
                _ => tracing::warn!(folder = %folder.display(), "not a whole memory, left alone"),
            }
        }
        Ok(memories)
    }

    fn delete(&self, id: &MemoryId) -> io::Result<()> {
        match fs::remove_dir_all(self.folder(id)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

fn get<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Writes beside `path` and renames: readers see the old file or the new one, whole.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = fs::File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(partial, path)
}
