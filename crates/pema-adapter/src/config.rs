//! The settings of an adapter and of its training.

use pema_core::align::{Contexts, Pairing};
use serde::{Deserialize, Serialize};

use crate::encoder::Activation;
use crate::local_context::PREFIX_MAX;
use crate::vocabulary::Vocabulary;

/// Settings; the defaults are those of the method's reference code.
///
/// Absent fields of a serialised config take their defaults; unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdapterConfig {
    /// `r`: columns of `A`. Default 512.
    pub rank: usize,
    /// `alpha`: the adapter's output is scaled by `alpha / rank`. Default 1, as the reference;
    /// `alpha = rank` learns in fewer steps.
    pub alpha: f64,
    /// Share of what `A` sees, `h` and the prefix's embeddings, that a training step hides. Default 0.2.
    pub dropout: f64,
    /// Weight of `L_rct` in phase 2, in `[0, 1)`. Default 0.2. At 0 there is no phase 1.
    pub kappa: f64,
    /// Adam's learning rate. Default 1e-3.
    pub lr: f64,
    /// Whether the learning rate falls evenly, from `lr` at a phase's first step to 0 after the last that its epochs
    /// allow. Default false, as the reference.
    pub lr_decay: bool,
    /// Rows in a step of phase 1. Default 20480.
    pub reconstruction_batch: usize,
    /// Passes over the memory that phase 1 makes at most. Default 200.
    pub reconstruction_epochs: usize,
    /// Rows in a step of phase 2. Default 2048.
    pub prediction_batch: usize,
    /// Passes over the memory that phase 2 makes at most. Default 200.
    pub prediction_epochs: usize,
    /// Steps between validations; a phase's last step is always validated. Default 100.
    pub validate_every: usize,
    /// A phase ends after so many validations in a row that were not its best. Default 2.
    pub patience: usize,
    /// Tokens of the target's own prefix that the adapter sees, at most 8. Default 0, as the paper.
    pub prefix: usize,
    /// What `z` goes through. Default nothing, as the paper.
    pub activation: Activation,
    /// Whether the adapter attends over all of the target's own prefix. Default false, as the paper.
    pub recall: bool,
    /// Whether the adapter may copy tokens of the prompt. Default false, as the paper.
    pub copy: bool,
    /// Whether the adapter attends over the hidden states of all the prompt's tokens. Needs
    /// [`Contexts::PromptAll`]. Default false, as the paper.
    pub attend: bool,
    /// What phase 2's softmax is over. Default every token, as the paper.
    pub vocabulary: Vocabulary,
    /// The contexts of its memory. Default steps, as the paper.
    pub contexts: Contexts,
    /// Whether the adapter first learns the PLM's own words, and then counts as far as learning the targets has
    /// changed it. Needs [`Contexts::Steps`] and `kappa` 0. Default false, as the paper.
    pub contrast: bool,
    /// Whether the adapter changes the PLM's own prediction: `h` is added to `z B_pd`. Needs a context of every step.
    /// Default false, as the paper.
    pub residual: bool,
    /// Which of the contexts each target token is learned from. Default position, as the paper.
    pub pairing: Pairing,
    /// Whether validation pairs then teach a gate that says the adapter's weight at each token. Default
    /// false, as the paper.
    pub gate: bool,
    /// Seeds the initial weights, the order of rows and dropout. Default 0.
    pub seed: u64,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self {
            rank: 512,
            alpha: 1.0,
            dropout: 0.2,
            kappa: 0.2,
            lr: 1e-3,
            lr_decay: false,
            reconstruction_batch: 20480,
            reconstruction_epochs: 200,
            prediction_batch: 2048,
            prediction_epochs: 200,
            validate_every: 100,
            patience: 2,
            prefix: 0,
            activation: Activation::Linear,
            recall: false,
            copy: false,
            attend: false,
            contrast: false,
            residual: false,
            vocabulary: Vocabulary::Full,
            contexts: Contexts::Steps,
            pairing: Pairing::Position,
            gate: false,
            seed: 0,
        }
    }
}

impl AdapterConfig {
    /// `s = alpha / r`.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// Whether its memory must hold the model's [whole runs](crate::MemoryBuilder::keep_runs).
    pub fn needs_runs(&self) -> bool {
        self.contrast || self.pairing == Pairing::Alignment
    }

    /// The contexts that the adapter is given, which may be less than its memory has.
    pub fn given(&self) -> Contexts {
        match (self.contexts, self.pairing) {
            (Contexts::Steps, Pairing::Prompt) => Contexts::Prompt,
            (contexts, _) => contexts,
        }
    }

    /// Rows of `A` for hidden states of `d` entries.
    pub(crate) fn seen(&self, d: usize) -> usize {
        d * (self.prefix + 1)
    }

    /// The settings to 15 significant digits, which JSON carries exactly (17 it does not, see
    /// serde_json's `float_roundtrip`), so that resumed training goes on with the very same ones.
    pub(crate) fn rounded(mut self) -> Self {
        for value in [&mut self.alpha, &mut self.dropout, &mut self.kappa, &mut self.lr] {
            *value = format!("{value:.14e}").parse().unwrap_or(*value);
        }
        self
    }

    /// Says which setting cannot work, if any.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (name, count) in [
            ("rank", self.rank),
            ("reconstruction_batch", self.reconstruction_batch),
            ("reconstruction_epochs", self.reconstruction_epochs),
            ("prediction_batch", self.prediction_batch),
            ("prediction_epochs", self.prediction_epochs),
            ("validate_every", self.validate_every),
            ("patience", self.patience),
        ] {
            if count == 0 {
                return Err(ConfigError::Zero { name });
            }
        }
        if self.prefix > PREFIX_MAX {
            return Err(ConfigError::PrefixTooLong(self.prefix));
        }
        if self.pairing == Pairing::Alignment && self.contexts != Contexts::Steps {
            return Err(ConfigError::NothingToAlign);
        }
        if self.gate && self.given() != Contexts::Steps {
            return Err(ConfigError::NothingToWeigh);
        }
        if self.residual && self.given() != Contexts::Steps {
            return Err(ConfigError::NothingToChange);
        }
        if self.contrast && self.contexts != Contexts::Steps {
            return Err(ConfigError::NothingToImitate);
        }
        if self.contrast && self.kappa > 0.0 {
            return Err(ConfigError::ContrastAndReconstruction);
        }
        if self.attend && self.contexts != Contexts::PromptAll {
            return Err(ConfigError::NothingToAttend);
        }
        for (name, value) in [("alpha", self.alpha), ("lr", self.lr)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(ConfigError::NotPositive { name, value });
            }
        }
        for (name, value) in [("dropout", self.dropout), ("kappa", self.kappa)] {
            if !(0.0..1.0).contains(&value) {
                return Err(ConfigError::NotAShare { name, value });
            }
        }
        Ok(())
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A count of nothing.
    #[error("{name} is 0; it must be at least 1")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// More local context than an adapter can have.
    #[error("prefix is {0}; it must be at most {PREFIX_MAX}")]
    PrefixTooLong(usize),
    /// Alignment of contexts that are the same at every token.
    #[error("pairing by alignment needs contexts of steps: those of the prompt alone follow no words")]
    NothingToAlign,
    /// A gate where only first tokens could teach it.
    #[error(
        "a gate needs contexts of steps: those of the prompt alone follow no words, so only first tokens would teach it; leave \
         gate out, or extract a memory of steps and pair tokens by position or alignment"
    )]
    NothingToWeigh,
    /// A change to predictions that there are at first tokens alone.
    #[error(
        "residual needs a context of every step, which the adapter changes: extract a memory of steps and pair tokens by \
         alignment or position, or leave residual out"
    )]
    NothingToChange,
    /// Imitation of words that the memory does not hold.
    #[error("contrast needs contexts of steps, which follow the model's own words: leave it out, or extract a memory of steps")]
    NothingToImitate,
    /// Two phases that would come first.
    #[error("contrast has imitation in place of reconstruction: set kappa to 0, or leave contrast out")]
    ContrastAndReconstruction,
    /// Attention over hidden states that the memory does not hold.
    #[error("attend is for contexts of all the prompt's tokens: extract a memory of these (prompt-all), or leave attend out")]
    NothingToAttend,
    /// A factor that is not a positive number.
    #[error("{name} is {value}; it must be a positive number")]
    NotPositive {
        /// The setting.
        name: &'static str,
        /// What it was.
        value: f64,
    },
    /// A share outside `[0, 1)`.
    #[error("{name} is {value}; it must be at least 0 and less than 1")]
    NotAShare {
        /// The setting.
        name: &'static str,
        /// What it was.
        value: f64,
    },
}
