//! Where a model comes from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::Cache;
use super::download::{DownloadError, download};

/// The default model's name in the cache, where `cargo xtask setup` puts it.
pub const DEFAULT_MODEL_FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The `--model` argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// `default`: the small model that Pema's set-up fetches.
    Default,
    /// A GGUF file.
    File(PathBuf),
    /// `hf:OWNER/REPO/FILE`.
    HuggingFace {
        /// `OWNER/REPO`.
        repository: String,
        /// Path in the repository.
        file: String,
    },
}

/// Why there is no model file.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// `hf:` without its three parts.
    #[error("`{0}` should be hf:OWNER/REPO/FILE.gguf")]
    Malformed(String),
    /// The default model is not in the cache.
    #[error("the default model is not at {0}: run `cargo xtask setup`, or give another with `--model FILE.gguf`")]
    NoDefault(PathBuf),
    /// There is no such file.
    #[error("there is no model file at {0}")]
    NoFile(PathBuf),
    /// Hugging Face did not give it.
    #[error(transparent)]
    Download(#[from] DownloadError),
}

impl FromStr for ModelSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let Some(name) = text.strip_prefix("hf:") else {
            return Ok(if text == "default" { Self::Default } else { Self::File(PathBuf::from(text)) });
        };
        let malformed = || SourceError::Malformed(text.to_owned());
        let mut parts = name.splitn(3, '/');
        let mut part = || parts.next().filter(|p| !p.is_empty()).ok_or_else(malformed);
        let (owner, repository, file) = (part()?, part()?, part()?);
        // These become a path in the cache.
        if name.split('/').any(|p| p.is_empty() || p == "." || p == "..") || name.contains(['\\', ':', '?', '#']) {
            return Err(malformed());
        }
        Ok(Self::HuggingFace { repository: format!("{owner}/{repository}"), file: file.to_owned() })
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::HuggingFace { repository, file } => write!(f, "hf:{repository}/{file}"),
        }
    }
}

impl ModelSource {
    /// The model's file, downloaded if it must be.
    ///
    /// # Errors
    /// [`SourceError`] says what to do.
    pub fn resolve(&self, cache: &Cache, hf_endpoint: &str) -> Result<PathBuf, SourceError> {
        match self {
            Self::Default => {
                let path = cache.models().join(DEFAULT_MODEL_FILE);
                if path.is_file() { Ok(path) } else { Err(SourceError::NoDefault(path)) }
            }
            Self::File(path) if path.is_file() => Ok(path.clone()),
            Self::File(path) => Err(SourceError::NoFile(path.clone())),
            Self::HuggingFace { repository, file } => {
                let path = cache.models().join("hf").join(repository).join(file);
                if !path.is_file() {
                    let url = format!("{}/{repository}/resolve/main/{file}", hf_endpoint.trim_end_matches('/'));
                    download(&url, &path)?;
                }
                Ok(path)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::download::tests::server;
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let parse = |text: &str| text.parse::<ModelSource>();
        assert_eq!(parse("default").unwrap(), ModelSource::Default);
        assert_eq!(parse("a/b.gguf").unwrap(), ModelSource::File("a/b.gguf".into()));
        let expected = ModelSource::HuggingFace { repository: "o/r".to_owned(), file: "q4/m.gguf".to_owned() };
        assert_eq!(parse("hf:o/r/q4/m.gguf").unwrap(), expected);
        for bad in ["hf:", "hf:o/r", "hf:o//f", "hf:../r/f", "hf:o/r/../f", "hf:o/r/f?x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_default_model_says_how_to_get_it() {
        let error = ModelSource::Default.resolve(&Cache::new("/nowhere".into()), "").unwrap_err();
        assert!(error.to_string().contains("cargo xtask setup"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = ModelSource::File("no/such.gguf".into()).resolve(&Cache::new("/nowhere".into()), "").unwrap_err();
        assert!(error.to_string().contains("no model file at no/such.gguf"), "{error}");
    }

    #[test]
    fn a_repositorys_file_is_downloaded_once() {
        let dir = tempfile::tempdir().unwrap();
        // One connection, after which nobody answers.
        let endpoint = server(b"GGUF", vec![100]) + "/";
        let source: ModelSource = "hf:o/r/m.gguf".parse().unwrap();
        for _ in 0..2 {
            let path = source.resolve(&Cache::new(dir.path().to_owned()), &endpoint).unwrap();
            assert_eq!(std::fs::read(path).unwrap(), b"GGUF");
        }
    }

    #[test]
    fn a_file_that_no_repository_has_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let endpoint = server(b"GGUF", vec![100]);
        let source: ModelSource = "hf:o/r/other.gguf".parse().unwrap();
        let error = source.resolve(&Cache::new(dir.path().to_owned()), &endpoint).unwrap_err().to_string();
        assert!(error.contains("/o/r/resolve/main/other.gguf answered 404: check the name"), "{error}");
    }
}
