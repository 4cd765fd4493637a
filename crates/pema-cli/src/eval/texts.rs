//! Greedy texts of test pairs, written through the service, and their scores.

use std::{
    num::NonZeroUsize,
    panic::resume_unwind,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use futures::executor::block_on;
use pema_adapter::Consult;
use pema_core::{
    data::{Pair, Template},
    id::ContentHash,
    metrics::{BleuCounts, ChrfCounts, Counts, is_exact_match},
};
use serde::{Deserialize, Serialize};

use super::{
    bench::{Bench, Materials, Other},
    cache::Cache,
    knn,
    likelihood::FORMS,
    methods::{Method, Way},
};
use crate::{
    client::Client,
    progress,
    writer::{Form, Mixture, TextArgs, Writer, Written},
};

/// Whose texts are wanted: mixtures of a form, by its name, of one method or of all.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted(Vec<(Option<String>, Form)>);

impl Wanted {
    /// Whether this method writes with a mixture of this form. The PLM alone, which the others are compared
    /// with, always writes.
    pub fn includes(&self, method: &Method, form: Form) -> bool {
        let is_wanted =
            |(name, wanted): &(Option<String>, Form)| *wanted == form && name.as_ref().is_none_or(|name| *name == method.name);
        method.way == Way::Plm || self.0.iter().any(is_wanted)
    }

    /// Refuses the name of a method that is not among these.
    pub fn check(&self, methods: &[Method]) -> Result<()> {
        let names = self.0.iter().filter_map(|(name, _)| name.as_ref());
        let unknown = names.into_iter().find(|name| methods.iter().all(|method| method.name != **name));
        unknown.map_or(Ok(()), |name| bail!("--texts wants texts of {name}, which is not among the methods"))
    }
}

impl FromStr for Wanted {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let wanted = |part: &str| {
            let (method, name) = part.split_once(':').map_or((None, part), |(method, form)| (Some(method.to_owned()), form));
            let form = FORMS.into_iter().find(|form| form.to_string() == name);
            let forms = || FORMS.map(|form| form.to_string()).join(", ");
            Ok((method, form.with_context(|| format!("{name:?} is no mixture: there are {}", forms()))?))
        };
        Ok(Self(text.split(',').map(wanted).collect::<Result<_>>()?))
    }
}

/// What one method wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Texts {
    /// One for each pair.
    pub outputs: Vec<Written>,
    /// Seconds of all of it, prompts read and model consulted, several texts side by side if so asked.
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
    /// The model and its head, the cache.
    pub materials: Materials<'a>,
    /// The model's service.
    pub client: &'a Client,
    /// Around inputs.
    pub template: &'a Template,
    /// Bounds on each text.
    pub bounds: TextArgs,
    /// Texts that are written side by side.
    pub streams: NonZeroUsize,
}

impl Desk<'_> {
    /// The texts of these pairs from the mixture of the model with what the method that `method` names gave; of
    /// the model alone, without a mixture.
    pub fn write(&self, method: &ContentHash, other: &Other, mixture: Option<Mixture>, pairs: &[Pair]) -> Result<Texts> {
        let Materials { folder, cache, .. } = self.materials;
        let inputs: Vec<&str> = pairs.iter().map(|pair| pair.input.as_str()).collect();
        let key = Cache::key(&(method, &folder.card.model, mixture, self.bounds, self.template, &inputs))?;
        cache.get_or("texts", &key, || {
            let (began, done) = (Instant::now(), AtomicUsize::new(0));
            let part = |pairs: &[Pair]| {
                let mixer = Bench::open(self.materials, false)?.mixer(other.adapter());
                // A stream of its own: the service closes one that training has left idle.
                let (template, stream) = (self.template.clone(), self.client.stream()?);
                let mut writer = Writer { folder, template, stream, bounds: self.bounds };
                let write = |pair: &Pair| {
                    let output = match (other, mixture) {
                        (Other::Knn(knn, tuned), Some(Mixture { lambda_max: lambda, .. })) => {
                            let writing = knn::Writing { knn, tuned: *tuned, plm: &mixer, lambda, bounds: self.bounds };
                            writer
                                .write_with(&pair.input, |stream, prompt, draft| block_on(writing.write(stream, prompt, draft)))?
                        }
                        _ => writer.write(&pair.input, &mixer, mixture, Consult::Always)?,
                    };
                    progress::show(format_args!("  {} of {} texts", done.fetch_add(1, Ordering::Relaxed) + 1, inputs.len()));
                    Ok(output)
                };
                let outputs = pairs.iter().map(write).collect::<Result<Vec<_>>>()?;
                writer.stream.close();
                Ok(outputs)
            };
            let share = pairs.len().div_ceil(self.streams.get()).max(1);
            let parts = thread::scope(|scope| {
                let threads: Vec<_> = pairs.chunks(share).map(|pairs| scope.spawn(|| part(pairs))).collect();
                let ends = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
                ends.collect::<Result<Vec<_>>>()
            })?;
            progress::clear();
            Ok(Texts { outputs: parts.concat(), seconds: began.elapsed().as_secs_f64() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_wanted_of_all_methods_or_of_one() {
        let methods = Method::chosen(&["plm", "pema", "contrast"].map(str::to_owned), &[]).unwrap();
        let who = |text: &str| -> Vec<(&str, String)> {
            let wanted: Wanted = text.parse().unwrap();
            let wanted = &wanted;
            let of = |method| FORMS.into_iter().filter(move |&form| wanted.includes(method, form)).map(|form| form.to_string());
            methods[1..].iter().flat_map(|method| of(method).map(|form| (method.name.as_str(), form))).collect()
        };
        assert_eq!(who("linear"), [("pema", "linear".to_owned()), ("contrast", "linear".to_owned())]);
        let some = [("pema", "constant".to_owned()), ("contrast", "contrast".to_owned())];
        assert_eq!(who("pema:constant,contrast:contrast"), some);
        let gone: Wanted = "short:constant".parse().unwrap();
        assert!(gone.check(&methods).unwrap_err().to_string().contains("short"));
        assert!(gone.includes(&methods[0], FORMS[0]) && "pema:cubic".parse::<Wanted>().is_err());
    }

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
