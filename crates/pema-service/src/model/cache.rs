//! The user's cache: models, exports, and hashes of large files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use pema_core::id::{ContentHash, ContentHasher};
use serde::{Deserialize, Serialize};

/// A folder whose content can be deleted at any time.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// A file's hash, valid while its size and time of change stay the same.
#[derive(PartialEq, Serialize, Deserialize)]
struct HashMemo {
    path: PathBuf,
    bytes: u64,
    modified_nanoseconds: u128,
    sha256: ContentHash,
}

/// `$XDG_CACHE_HOME/pema`, else `~/.cache/pema`.
pub fn default_cache_dir() -> PathBuf {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("pema")
}

impl Cache {
    /// A cache in `dir`, which is made when something is put into it.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where model files are kept.
    pub fn models(&self) -> PathBuf {
        self.dir.join("models")
    }

    /// SHA-256 of a file, remembered by its path, size and time of change.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn hash_file(&self, path: &Path) -> io::Result<ContentHash> {
        let path = fs::canonicalize(path)?;
        let metadata = fs::metadata(&path)?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = ContentHash::of(path.as_os_str().as_encoded_bytes());
        let memo_path = self.dir.join("hashes").join(format!("{name}.json"));
        let known = fs::read(&memo_path).ok().and_then(|json| serde_json::from_slice::<HashMemo>(&json).ok());
        if let Some(memo) = known
            && (&memo.path, memo.bytes, memo.modified_nanoseconds) == (&path, metadata.len(), modified)
        {
            return Ok(memo.sha256);
        }
        let sha256 = hash(&path)?;
        let memo = HashMemo { path, bytes: metadata.len(), modified_nanoseconds: modified, sha256: sha256.clone() };
        if let Err(error) = remember(&memo_path, &memo) {
            tracing::warn!(%error, "a hash could not be remembered; it is computed again next time");
        }
        Ok(sha256)
    }
}

fn hash(path: &Path) -> io::Result<ContentHash> {
    let mut file = File::open(path)?;
    let mut hasher = ContentHasher::default();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn remember(path: &Path, memo: &HashMemo) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    fs::write(&partial, serde_json::to_vec(memo)?)?;
    fs::rename(partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_hashed_again() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, file) = (Cache::new(dir.path().join("cache")), dir.path().join("file"));
        fs::write(&file, b"one").unwrap();
        assert_eq!(cache.hash_file(&file).unwrap(), ContentHash::of(b"one"));
        assert_eq!(cache.hash_file(&file).unwrap(), ContentHash::of(b"one"));
        fs::write(&file, b"other").unwrap();
        assert_eq!(cache.hash_file(&file).unwrap(), ContentHash::of(b"other"));
    }
}
