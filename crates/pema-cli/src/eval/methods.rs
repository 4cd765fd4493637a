//! The methods: how each gives probabilities to references, from one external memory.

use std::{fs, path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::ValueEnum;
use futures::executor::block_on;
use half::f16;
use pema_adapter::{Adapter, AdapterConfig, Head, Hidden, HostRows, Memory, MemoryBuilder, Mixer, Trainer};
use pema_core::{align::Contexts, id::ContentHash, memory::Shard, prepare::Prepared, schedule::Schedule};

use super::{
    contexts::Reference,
    knn::{Datastore, NEIGHBOURS, Neighbours, TEMPERATURES},
    likelihood::{Scored, choose},
};
use crate::folder::{Folder, read, write};

/// Local context of the methods that have it.
const PREFIX: usize = 2;

/// One way to adapt the PLM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// The PLM alone.
    Plm,
    /// kNN-LM on the same memory.
    Knn,
    /// The paper's.
    Pema,
    /// The paper's without reconstruction.
    #[value(name = "pema-kappa-0")]
    PemaKappa0,
    /// With local context.
    Context,
    /// With local context and copying.
    Copy,
    /// The paper's on contexts along the targets, which tells them to the model's owner.
    Disclosed,
}

impl Method {
    /// The methods that keep targets.
    pub const LABEL_PRIVATE: [Self; 6] = [Self::Plm, Self::Knn, Self::Pema, Self::PemaKappa0, Self::Context, Self::Copy];

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Plm => "PLM alone",
            Self::Knn => "kNN-LM",
            Self::Pema => "PEMA",
            Self::PemaKappa0 => "PEMA, kappa 0",
            Self::Context => "PEMA + local context",
            Self::Copy => "PEMA + local context + copying",
            Self::Disclosed => "PEMA, targets disclosed",
        }
    }

    /// The rows of the report: each is the best of these schedules.
    pub fn schedules(self) -> &'static [&'static [Schedule]] {
        match self {
            Self::Plm | Self::Knn => &[&[Schedule::Constant]],
            _ => &[&[Schedule::Constant], &[Schedule::Linear], &[Schedule::Quadratic]],
        }
    }

    fn config(self, shared: &AdapterConfig) -> AdapterConfig {
        let paper = AdapterConfig { prefix: 0, copy: false, ..shared.clone() };
        match self {
            Self::PemaKappa0 => AdapterConfig { kappa: 0.0, ..paper },
            Self::Context => AdapterConfig { prefix: PREFIX, ..paper },
            Self::Copy => AdapterConfig { prefix: PREFIX, copy: true, ..paper },
            Self::Plm | Self::Knn | Self::Pema | Self::Disclosed => paper,
        }
    }
}

/// What every method works with.
pub struct Bench<'a> {
    /// Model and memory.
    pub folder: &'a Folder,
    /// The LM head.
    pub head: Head,
    /// Where to compute.
    pub device: Device,
    /// Training pairs, then validation pairs.
    pub all: Prepared,
    /// The first validation pair.
    pub validation_from: u32,
    /// Settings that trained methods share.
    pub config: AdapterConfig,
    /// Where adapters are kept.
    pub adapters: PathBuf,
}

/// What a method gave.
pub struct Outcome {
    /// Likelihoods of each set of references, in the order they were given.
    pub scored: [Vec<Scored>; 2],
    /// Trained parameters.
    pub parameters: usize,
    /// Seconds of training; none if it was kept from an earlier run.
    pub seconds: Option<f64>,
}

impl Bench<'_> {
    /// Trains, if the method does, and scores validation and test references. `along` has the
    /// contexts of [`Method::Disclosed`].
    pub fn run(&self, method: Method, sets: &[&[Reference]; 2], along: Option<&Shard>) -> Result<Outcome> {
        match method {
            Method::Plm => {
                let mixer = Mixer::new(self.head.clone(), None, self.device.clone());
                Ok(Outcome { scored: self.score(&mixer, sets)?, parameters: 0, seconds: None })
            }
            Method::Knn => self.knn(sets),
            _ => {
                let memory = match along {
                    Some(shard) => {
                        let (d, from) = (shard.hidden_size, self.validation_from);
                        let mut builder = MemoryBuilder::new(&self.all, Contexts::Steps, d, from);
                        builder.add(0, shard)?;
                        builder.finish()?
                    }
                    None => self.folder.memory(&self.all, self.validation_from)?,
                };
                let config = AdapterConfig { contexts: memory.contexts(), ..method.config(&self.config) };
                let (adapter, seconds) = self.adapter(&config, memory, along.is_some())?;
                let parameters = adapter.parameters();
                let mixer = Mixer::new(self.head.clone(), Some(adapter), self.device.clone());
                Ok(Outcome { scored: self.score(&mixer, sets)?, parameters, seconds })
            }
        }
    }

    /// The adapter of these settings: kept from an earlier run, or trained.
    fn adapter(&self, config: &AdapterConfig, memory: Memory<Arc<HostRows>>, along: bool) -> Result<(Adapter, Option<f64>)> {
        let key = serde_json::to_vec(&(config, memory.fingerprint(), &self.folder.card.model, along))?;
        let path = self.adapters.join(format!("{}.safetensors", ContentHash::of(&key)));
        if path.exists() {
            return Ok((Adapter::import(&read(&path)?, self.head.hash(), &self.device)?.1, None));
        }
        fs::create_dir_all(&self.adapters).with_context(|| format!("{} cannot be made", self.adapters.display()))?;
        let began = Instant::now();
        let model = self.folder.card.model.clone();
        let mut trainer = Trainer::new(config.clone(), memory, self.head.clone(), model, self.device.clone())?;
        while !trainer.is_done() {
            let progress = block_on(trainer.step())?;
            eprint!("\r  {:?} epoch {} loss {:.3}   ", progress.phase, progress.epoch, progress.loss);
        }
        eprintln!();
        let adapter = trainer.adapter().context("training ended without an adapter")?;
        write(&path, &block_on(adapter.export("eval"))?)?;
        Ok((adapter, Some(began.elapsed().as_secs_f64())))
    }

    /// Probabilities of every token of the references.
    fn score(&self, mixer: &Mixer, sets: &[&[Reference]; 2]) -> Result<[Vec<Scored>; 2]> {
        let one = |reference: &Reference| -> Result<Scored> {
            let mut scored = Scored { plm: Vec::new(), method: Vec::new(), source_len: reference.source_len };
            for (t, (&token, h)) in reference.target.iter().zip(&reference.h).enumerate() {
                let hidden = Hidden { prompt: reference.h_prompt(), current: h };
                let next = block_on(mixer.distributions(hidden, &reference.prompt, &reference.target[..t], 1.0))?;
                let [method, plm, _] = next.of(token);
                scored.plm.push(plm);
                scored.method.push(if mixer.has_adapter() { method } else { plm });
            }
            Ok(scored)
        };
        let all = |set: &[Reference]| set.iter().map(one).collect::<Result<Vec<_>>>();
        Ok([all(sets[0])?, all(sets[1])?])
    }

    /// kNN-LM, its neighbours and temperature chosen on validation references.
    fn knn(&self, sets: &[&[Reference]; 2]) -> Result<Outcome> {
        let memory = self.folder.memory(&self.all, self.validation_from)?;
        let (h, y) = memory.training_rows()?;
        let store = Datastore::new(h, memory.d(), y, &self.device);
        let plm = self.score(&Mixer::new(self.head.clone(), None, self.device.clone()), sets)?;
        let find = |set: &[Reference]| {
            set.iter()
                .map(|reference| {
                    let queries: Vec<&[f16]> = match memory.contexts() {
                        Contexts::Steps => reference.h.iter().map(Vec::as_slice).collect(),
                        Contexts::Prompt => vec![reference.h_prompt(); reference.h.len()],
                    };
                    store.search(&queries, &reference.target)
                })
                .collect::<Result<Vec<Vec<Neighbours>>>>()
        };
        let found = [find(sets[0])?, find(sets[1])?];
        let nearest: Vec<f32> = found[0].iter().flatten().map(Neighbours::nearest).collect();
        let unit = (nearest.iter().sum::<f32>() / nearest.len() as f32).max(f32::MIN_POSITIVE);
        let with = |set: usize, k, temperature: f32| -> Vec<Scored> {
            let one = |(plm, found): (&Scored, &Vec<Neighbours>)| {
                let method = found.iter().map(|near| near.probability(k, temperature * unit)).collect();
                Scored { method, ..plm.clone() }
            };
            plm[set].iter().zip(&found[set]).map(one).collect()
        };
        let mut best = (f64::INFINITY, NEIGHBOURS[0], TEMPERATURES[0]);
        for k in NEIGHBOURS {
            for temperature in TEMPERATURES {
                let choice = choose(&with(0, k, temperature), &[Schedule::Constant])?;
                if choice.perplexity < best.0 {
                    best = (choice.perplexity, k, temperature);
                }
            }
        }
        let (_, k, temperature) = best;
        Ok(Outcome { scored: [with(0, k, temperature), with(1, k, temperature)], parameters: 0, seconds: None })
    }
}
