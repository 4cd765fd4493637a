//! What earlier runs computed, found by a hash of all that it depends on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use pema_core::id::ContentHash;
use serde::{Serialize, de::DeserializeOwned};

use crate::folder::{read, write};

/// A folder with one folder for each kind of result.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// A cache in a folder, which is made when something is put into it.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The hash of what a result depends on.
    pub fn key(inputs: &impl Serialize) -> Result<ContentHash> {
        Ok(ContentHash::of(&serde_json::to_vec(inputs)?))
    }

    /// Where a result is.
    pub fn path(&self, kind: &str, key: &ContentHash, extension: &str) -> PathBuf {
        self.folder.join(kind).join(format!("{key}.{extension}"))
    }

    /// The result, if an earlier run has left it.
    pub fn get<T: DeserializeOwned>(&self, kind: &str, key: &ContentHash) -> Result<Option<T>> {
        let path = self.path(kind, key, "json");
        if !path.exists() {
            return Ok(None);
        }
        let value = serde_json::from_slice(&read(&path)?);
        Ok(Some(value.with_context(|| format!("{} is damaged: delete it", path.display()))?))
    }

    /// Keeps a result and gives it back as a next run reads it: JSON does not carry every digit of an
    /// `f64` (see serde_json's `float_roundtrip`), and both runs are to report the same.
    pub fn put<T: Serialize + DeserializeOwned>(&self, kind: &str, key: &ContentHash, value: &T) -> Result<T> {
        let json = serde_json::to_vec(value)?;
        self.put_bytes(&self.path(kind, key, "json"), &json)?;
        Ok(serde_json::from_slice(&json)?)
    }

    /// Keeps a file: all of it or none, so that an interrupted run leaves nothing torn.
    pub fn put_bytes(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        let partial = path.with_extension("partial");
        write(&partial, bytes)?;
        fs::rename(&partial, path).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// The result of an earlier run, or `make`'s, which is kept.
    pub fn get_or<T, F>(&self, kind: &str, key: &ContentHash, make: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<T>,
    {
        if let Some(found) = self.get(kind, key)? {
            return Ok(found);
        }
        self.put(kind, key, &make()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let key = Cache::key(&("a", 1)).unwrap();
        assert_ne!(key, Cache::key(&("a", 2)).unwrap());
        let mut made = 0;
        for _ in 0..2 {
            let value = cache.get_or("kind", &key, || {
                made += 1;
                Ok(vec![0.1_f32, 1e-30])
            });
            assert_eq!(value.unwrap(), [0.1, 1e-30]);
        }
        assert_eq!(made, 1);
    }

    #[test]
    fn the_run_that_makes_a_number_sees_the_one_that_later_runs_read() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        for i in 1..2000 {
            let (key, number) = (Cache::key(&i).unwrap(), f64::from(i).sqrt().recip());
            let kept = cache.put("kind", &key, &number).unwrap();
            assert_eq!(cache.get::<f64>("kind", &key).unwrap(), Some(kept));
            assert!((kept - number).abs() <= f64::EPSILON);
        }
    }
}
