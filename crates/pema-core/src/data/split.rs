//! Training and validation sets.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Which pairs train and which validate: places in the imported list, each in exactly one set,
/// both ascending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Pairs to train on.
    pub train: Vec<usize>,
    /// Pairs to stop early by.
    pub validation: Vec<usize>,
}

/// Why a list cannot be split.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum SplitError {
    /// Not a share.
    #[error("the validation share is {0} and must be at least 0 and below 1")]
    Fraction(f64),
    /// No pair is left for one of the sets.
    #[error("{0} pairs cannot be split into a training and a validation set: give at least 2, or a validation share of 0")]
    TooFew(usize),
}

impl Split {
    /// Draws `fraction` of `pairs` pairs for validation, rounded, at least one of each set unless
    /// `fraction` is 0. One seed always gives one split.
    ///
    /// # Errors
    /// [`SplitError`] when the fraction is not in `[0, 1)` or a set would be empty.
    pub fn new(pairs: usize, fraction: f64, seed: u64) -> Result<Self, SplitError> {
        if !(0.0..1.0).contains(&fraction) {
            return Err(SplitError::Fraction(fraction));
        }
        if pairs < if fraction > 0.0 { 2 } else { 1 } {
            return Err(SplitError::TooFew(pairs));
        }
        let validating = match fraction {
            0.0 => 0,
            _ => ((pairs as f64 * fraction).round() as usize).clamp(1, pairs - 1),
        };
        let mut order = (0..pairs).collect::<Vec<_>>();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut train = order.split_off(validating);
        let mut validation = order;
        train.sort_unstable();
        validation.sort_unstable();
        Ok(Self { train, validation })
    }
}
