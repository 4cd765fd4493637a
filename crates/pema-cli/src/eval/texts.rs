//! Greedy texts of test pairs, written through the service, and their scores.

use std::time::Instant;

use anyhow::Result;
use pema_adapter::{Consult, Mixer};
use pema_core::{
    data::{Pair, Template},
    id::ContentHash,
    metrics::{BleuCounts, ChrfCounts, Counts, is_exact_match},
};
use serde::{Deserialize, Serialize};

use super::cache::Cache;
use crate::{
    client::Client,
    folder::Folder,
    writer::{Mixture, TextArgs, Writer, Written},
};

/// What one method wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Texts {
    /// One for each pair.
    pub outputs: Vec<Written>,
    /// Seconds of all of it, prompts read and model consulted.
    pub seconds: f64,
}

impl Texts {
    /// Seconds a token; none where tokens were not counted.
    pub fn seconds_per_token(&self) -> Option<f64> {
        let tokens: usize = self.outputs.iter().map(|output| output.tokens).sum();
        (tokens > 0).then(|| self.seconds / tokens as f64)
    }
}

/// What each text adds to the scores.
#[derive(Clone, Debug, PartialEq)]
pub struct TextShares {
    /// To BLEU.
    pub bleu: Vec<BleuCounts>,
    /// To chrF.
    pub chrf: Vec<ChrfCounts>,
    /// Whether it is the reference.
    pub exact: Vec<bool>,
}

impl TextShares {
    /// Of outputs and the targets of the same pairs.
    pub fn new<'t>(outputs: impl Iterator<Item = &'t str> + Clone, pairs: &[Pair]) -> Self {
        let both = || outputs.clone().zip(pairs.iter().map(|pair| pair.target.as_str()));
        Self {
            bleu: both().map(|(output, target)| BleuCounts::of(output, target)).collect(),
            chrf: both().map(|(output, target)| ChrfCounts::of(output, target)).collect(),
            exact: both().map(|(output, target)| is_exact_match(output, target)).collect(),
        }
    }
}

/// Where texts are written.
pub struct Desk<'a> {
    /// The model's service.
    pub client: &'a Client,
    /// The model.
    pub folder: &'a Folder,
    /// Around inputs.
    pub template: &'a Template,
    /// Bounds on each text.
    pub bounds: TextArgs,
    /// Texts of this and earlier runs.
    pub cache: &'a Cache,
}

impl Desk<'_> {
    /// The texts of these pairs from the mixture with the method that `method` names; of the model
    /// alone, without a mixture.
    pub fn write(&self, method: &ContentHash, mixer: &Mixer, mixture: Option<Mixture>, pairs: &[Pair]) -> Result<Texts> {
        let inputs: Vec<&str> = pairs.iter().map(|pair| pair.input.as_str()).collect();
        let key = Cache::key(&(method, &self.folder.card.model, mixture, self.bounds, self.template, inputs))?;
        self.cache.get_or("texts", &key, || {
            // A stream of its own: the service closes one that training has left idle.
            let (template, stream) = (self.template.clone(), self.client.stream()?);
            let mut writer = Writer { folder: self.folder, template, stream, bounds: self.bounds };
            let began = Instant::now();
            let mut outputs = Vec::with_capacity(pairs.len());
            for pair in pairs {
                outputs.push(writer.write(&pair.input, mixer, mixture, Consult::Always)?);
                eprint!("\r  {} of {} texts", outputs.len(), pairs.len());
            }
            eprintln!();
            Ok(Texts { outputs, seconds: began.elapsed().as_secs_f64() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_whole_corpus() {
        let pairs = ["the cat sat on the mat", "a dog"].map(|target| Pair { input: "x".to_owned(), target: target.to_owned() });
        let outputs = ["the cat sat on a mat", "a dog "];
        let shares = TextShares::new(outputs.iter().copied(), &pairs);
        let targets = pairs.map(|pair| pair.target);
        let bleu = crate::eval::bootstrap::interval(&shares.bleu, 0).value;
        assert!((bleu - pema_core::metrics::bleu(&outputs, &targets).unwrap()).abs() < 1e-9);
        assert_eq!(shares.exact, [false, true]);
    }
}
