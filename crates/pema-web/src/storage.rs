//! The origin's private file system, through synchronous access handles.
//!
//! Files are named by their content's hash or written whole before anything refers to them, and
//! readers check hashes, so a write that was cut short costs that file alone.

use js_sys::{AsyncIterator, IteratorNext, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DomException, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions, FileSystemGetFileOptions,
    FileSystemReadWriteOptions, FileSystemRemoveOptions, FileSystemSyncAccessHandle, StorageEstimate, StorageManager,
    WorkerGlobalScope,
};

use crate::{
    error::{TabError, js_message},
    protocol::StorageInfo,
};

/// The site's files.
#[derive(Clone)]
pub struct Store {
    root: FileSystemDirectoryHandle,
}

impl Store {
    /// Opens the origin's root.
    ///
    /// # Errors
    /// When the browser offers no private file system (some private windows).
    pub async fn open() -> Result<Self, TabError> {
        let root = JsFuture::from(manager().get_directory()).await.map_err(|e| storage_error("/", &e))?;
        Ok(Self { root: root.unchecked_into() })
    }

    /// Usage and quota of the origin.
    pub async fn info() -> StorageInfo {
        let estimate = match manager().estimate() {
            Ok(promise) => JsFuture::from(promise).await.ok().map(JsCast::unchecked_into::<StorageEstimate>),
            Err(_) => None,
        };
        let persistent = match manager().persisted() {
            Ok(promise) => JsFuture::from(promise).await.is_ok_and(|v| JsValue::from(v).is_truthy()),
            Err(_) => false,
        };
        StorageInfo {
            used: estimate.as_ref().and_then(StorageEstimate::get_usage).unwrap_or_default(),
            quota: estimate.as_ref().and_then(StorageEstimate::get_quota).unwrap_or_default(),
            persistent,
        }
    }

    /// The whole file at `path` (`dir/name`), if it is there.
    ///
    /// # Errors
    /// When it is in use elsewhere or cannot be read.
    pub async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, TabError> {
        let Some(handle) = self.handle(path, false).await? else { return Ok(None) };
        let size = handle.get_size().map_err(|e| storage_error(path, &e))? as usize;
        let mut bytes = vec![0; size];
        let read = handle.read_with_u8_array(&mut bytes);
        handle.close();
        bytes.truncate(read.map_err(|e| storage_error(path, &e))? as usize);
        Ok(Some(bytes))
    }

    /// Length of the file at `path`, if it is there.
    ///
    /// # Errors
    /// When it is in use elsewhere.
    pub async fn size(&self, path: &str) -> Result<Option<u64>, TabError> {
        let Some(handle) = self.handle(path, false).await? else { return Ok(None) };
        let size = handle.get_size();
        handle.close();
        size.map(|size| Some(size as u64)).map_err(|e| storage_error(path, &e))
    }

    /// Replaces the file at `path`.
    ///
    /// # Errors
    /// [`TabError::StorageFull`], after which there is no such file; or when it is in use elsewhere.
    pub async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), TabError> {
        let mut writer = self.writer(path, 0).await?;
        let written = writer.write(bytes).and_then(|()| writer.flush());
        drop(writer);
        if written.is_err() {
            self.remove(path).await?;
        }
        written
    }

    /// Opens the file at `path` to write piece by piece after its first `keep` bytes.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn writer(&self, path: &str, keep: u64) -> Result<Writer, TabError> {
        let missing = || storage_error(path, &JsValue::from_str("the file could not be made"));
        let handle = self.handle(path, true).await?.ok_or_else(missing)?;
        let writer = Writer { handle, path: path.to_owned(), position: keep };
        writer.handle.truncate_with_f64(keep as f64).map_err(|e| storage_error(path, &e))?;
        Ok(writer)
    }

    /// Removes a file or a folder with all that is in it; nothing happens if it is not there.
    ///
    /// # Errors
    /// When it is in use elsewhere.
    pub async fn remove(&self, path: &str) -> Result<(), TabError> {
        let (folder, name) = split(path);
        let Some(folder) = self.folder(folder, false).await? else { return Ok(()) };
        let options = FileSystemRemoveOptions::new();
        options.set_recursive(true);
        match JsFuture::from(folder.remove_entry_with_options(name, &options)).await {
            Ok(_) => Ok(()),
            Err(error) if is(&error, "NotFoundError") => Ok(()),
            Err(error) => Err(storage_error(path, &error)),
        }
    }

    /// Names in a folder, none if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn list(&self, path: &str) -> Result<Vec<String>, TabError> {
        match self.folder(path, false).await? {
            Some(folder) => names(&folder, path).await,
            None => Ok(Vec::new()),
        }
    }

    /// Removes everything.
    ///
    /// # Errors
    /// When a file is in use elsewhere.
    pub async fn clear(&self) -> Result<(), TabError> {
        for name in names(&self.root, "/").await? {
            self.remove(&name).await?;
        }
        Ok(())
    }

    async fn handle(&self, path: &str, create: bool) -> Result<Option<FileSystemSyncAccessHandle>, TabError> {
        let (folder, name) = split(path);
        let Some(folder) = self.folder(folder, create).await? else { return Ok(None) };
        let options = FileSystemGetFileOptions::new();
        options.set_create(create);
        let file = match JsFuture::from(folder.get_file_handle_with_options(name, &options)).await {
            Ok(file) => file.unchecked_into::<FileSystemFileHandle>(),
            Err(error) if is(&error, "NotFoundError") => return Ok(None),
            Err(error) => return Err(storage_error(path, &error)),
        };
        let handle = JsFuture::from(file.create_sync_access_handle()).await.map_err(|e| storage_error(path, &e))?;
        Ok(Some(handle.unchecked_into()))
    }

    async fn folder(&self, path: &str, create: bool) -> Result<Option<FileSystemDirectoryHandle>, TabError> {
        let options = FileSystemGetDirectoryOptions::new();
        options.set_create(create);
        let mut folder = self.root.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            folder = match JsFuture::from(folder.get_directory_handle_with_options(name, &options)).await {
                Ok(next) => next.unchecked_into(),
                Err(error) if is(&error, "NotFoundError") => return Ok(None),
                Err(error) => return Err(storage_error(path, &error)),
            };
        }
        Ok(Some(folder))
    }
}

/// A file being written; closed when dropped.
pub struct Writer {
    handle: FileSystemSyncAccessHandle,
    path: String,
    position: u64,
}

impl Writer {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`TabError::StorageFull`] when not all of them fit.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), TabError> {
        let options = FileSystemReadWriteOptions::new();
        options.set_at(self.position as f64);
        let written = self
            .handle
            .write_with_js_u8_array_and_options(&Uint8Array::from(bytes), &options)
            .map_err(|e| storage_error(&self.path, &e))?;
        self.position += written as u64;
        if (written as usize) < bytes.len() { Err(TabError::StorageFull) } else { Ok(()) }
    }

    /// Makes sure that everything is on disk.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn finish(self) -> Result<(), TabError> {
        self.flush()
    }

    fn flush(&self) -> Result<(), TabError> {
        self.handle.flush().map_err(|e| storage_error(&self.path, &e))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.handle.close();
    }
}

fn manager() -> StorageManager {
    js_sys::global().unchecked_into::<WorkerGlobalScope>().navigator().storage()
}

async fn names(folder: &FileSystemDirectoryHandle, path: &str) -> Result<Vec<String>, TabError> {
    let iterator: AsyncIterator = folder.keys().unchecked_into();
    let mut names = Vec::new();
    loop {
        let next = iterator.next().map_err(|e| storage_error(path, &e))?;
        let next: IteratorNext = JsFuture::from(next).await.map_err(|e| storage_error(path, &e))?.unchecked_into();
        if next.done() {
            return Ok(names);
        }
        names.extend(next.value().as_string());
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn is(error: &JsValue, name: &str) -> bool {
    error.dyn_ref::<DomException>().is_some_and(|e| e.name() == name)
}

fn storage_error(path: &str, error: &JsValue) -> TabError {
    if is(error, "QuotaExceededError") {
        TabError::StorageFull
    } else if is(error, "NoModificationAllowedError") {
        TabError::StorageLocked(path.to_owned())
    } else {
        TabError::Storage { path: path.to_owned(), detail: js_message(error) }
    }
}
