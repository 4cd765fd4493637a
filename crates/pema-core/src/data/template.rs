//! The text around an input.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where a template takes the input.
const PLACEHOLDER: &str = "{input}";

/// A prompt with `{input}` where the input goes, at least once. Every other brace is plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(String);

/// Why a text is not a template.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// Every prompt would be the same.
    #[error("the template {0:?} has no {{input}}: write {{input}} where the input should go")]
    NoInput(String),
}

impl Template {
    /// Takes a text with at least one `{input}`.
    ///
    /// # Errors
    /// [`TemplateError::NoInput`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::try_from(text.to_owned())
    }

    /// The prompt of an input. Braces in the input are plain text.
    pub fn render(&self, input: &str) -> String {
        self.0.replace(PLACEHOLDER, input)
    }

    /// The template's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        if text.contains(PLACEHOLDER) { Ok(Self(text)) } else { Err(TemplateError::NoInput(text)) }
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.0
    }
}
