//! The work: training adapters and scoring references, each once, whatever run asks for it.

use std::sync::Arc;

use anyhow::{Context, Result};
use burn::tensor::Device;
use futures::executor::block_on;
use pema_adapter::{
    Adapter, AdapterConfig, Distributions, Head, Hidden, HostRows, Memory, MemoryBuilder, Mixer, Trainer, Weighing,
};
use pema_core::{
    align::Contexts,
    head::HeadForm,
    id::{ContentHash, TokenId},
    memory::Shard,
    prepare::Prepared,
    schedule::{GradualUnrolling, Mix, Mixing, Schedule},
};
use serde_json::{Map, Value, json};

use super::{
    cache::Cache,
    contexts::{Reference, References},
    costs::{Costs, Meter, bytes_along_targets},
    knn::{Knn, Tuned},
    likelihood::{FORMS, LAMBDAS, Scored, geometric},
    methods::{Method, Way, config},
};
use crate::{
    device::Place,
    folder::{Folder, read},
    progress,
};

/// What all work is done with. Cheap to copy, also into other threads.
#[derive(Clone, Copy)]
pub struct Materials<'a> {
    /// Model and memory.
    pub folder: &'a Folder,
    /// Training pairs, then validation pairs.
    pub all: &'a Prepared,
    /// The first validation pair.
    pub validation_from: u32,
    /// Settings that trained methods share.
    pub shared: &'a Map<String, Value>,
    /// Validation and test references.
    pub sets: [&'a References; 2],
    /// Contexts along the targets of training and validation pairs, if they are disclosed.
    pub along: Option<&'a Shard>,
    /// Results of this and earlier runs.
    pub cache: &'a Cache,
    /// Where adapters are trained and mixed.
    pub device: &'a Device,
    /// What that is.
    pub place: Place,
}

/// A piece of work.
#[derive(Clone, Debug)]
pub struct Job {
    /// What to train, if anything, and to score.
    pub method: Method,
    /// Learn from the first so many training pairs.
    pub train_limit: u32,
}

/// Where work is done: a thread has one of its own, as the head is not shared between threads.
pub struct Bench<'a> {
    materials: Materials<'a>,
    head: Head,
    /// Whether no other training runs beside.
    alone: bool,
}

/// What a method gave.
pub struct Outcome {
    /// Likelihoods of validation and test references.
    pub scored: [Vec<Scored>; 2],
    /// What is mixed with the PLM.
    pub other: Other,
    /// Names everything that decided the above.
    pub key: ContentHash,
    /// What the method was set to.
    pub settings: Value,
    /// What it took.
    pub costs: Costs,
}

/// What a method mixes with the PLM.
pub enum Other {
    /// Nothing.
    Nothing,
    /// An adapter.
    Adapter(Box<Adapter>),
    /// Neighbours, as many as are best.
    Knn(Knn, Tuned),
}

impl Other {
    /// The adapter, if it is one.
    pub fn adapter(&self) -> Option<&Adapter> {
        match self {
            Self::Adapter(adapter) => Some(adapter),
            Self::Nothing | Self::Knn(..) => None,
        }
    }
}

impl<'a> Bench<'a> {
    /// A bench. `alone` says that no other bench of this process is at work.
    pub fn open(materials: Materials<'a>, alone: bool) -> Result<Self> {
        Ok(Self { head: materials.folder.head(materials.device)?, materials, alone })
    }

    /// Distributions from the PLM, and an adapter if there is one.
    pub fn mixer(&self, adapter: Option<&Adapter>) -> Mixer {
        Mixer::new(self.head.clone(), adapter.cloned(), self.materials.device.clone())
    }

    /// Trains, if the method does, and scores the references.
    pub fn run(&self, job: &Job) -> Result<Outcome> {
        match &job.method.way {
            Way::Plm => {
                let (key, scored) = self.plm()?;
                Ok(Outcome { scored, other: Other::Nothing, key, settings: Value::Null, costs: Costs::default() })
            }
            Way::WhiteBox => anyhow::bail!("{} is not trained on the memory", job.method.title),
            Way::Knn => self.knn(job.train_limit),
            Way::Adapter { settings, discloses } => self.adapted(settings, *discloses, job.train_limit),
        }
    }

    /// The PLM alone.
    fn plm(&self) -> Result<(ContentHash, [Vec<Scored>; 2])> {
        let key = Cache::key(&("plm", self.model()))?;
        let scored = self.scored(&key, None)?;
        Ok((key, scored))
    }

    fn knn(&self, train_limit: u32) -> Result<Outcome> {
        let memory = self.memory(false, &AdapterConfig::default(), train_limit)?;
        let untuned = self.score_key(&Cache::key(&("knn", memory.fingerprint(), self.model()))?)?;
        let (_, plm) = self.plm()?;
        let knn = Knn::new(&memory, self.materials.device)?;
        let sets = self.materials.sets.map(|set| set.all.as_slice());
        let (scored, tuned) = self.materials.cache.get_or("scores", &untuned, || knn.score(sets, &plm))?;
        let key = Cache::key(&(&untuned, tuned))?;
        let costs = Costs { bytes_sent: self.bytes_sent(false)?, ..Costs::default() };
        Ok(Outcome { scored, other: Other::Knn(knn, tuned), key, settings: json!(tuned), costs })
    }

    fn adapted(&self, own: &Map<String, Value>, discloses: bool, train_limit: u32) -> Result<Outcome> {
        let contexts = if discloses { Contexts::Steps } else { self.materials.folder.contexts()? };
        let config = config(self.materials.shared, own, contexts)?;
        let memory = self.memory(discloses, &config, train_limit)?;
        let key = Cache::key(&(&config, memory.fingerprint(), self.model(), discloses))?;
        let settings = serde_json::to_value(&config)?;
        let (adapter, costs) = self.trained(config, memory, &key)?;
        let costs = Costs { bytes_sent: self.bytes_sent(discloses)?, ..costs };
        let scored = self.scored(&key, Some(&adapter))?;
        Ok(Outcome { scored, other: Other::Adapter(adapter.into()), key, settings, costs })
    }

    /// The external memory, or the one along the targets, for an adapter of these settings to learn from the first
    /// training pairs.
    fn memory(&self, discloses: bool, config: &AdapterConfig, train_limit: u32) -> Result<Memory<Arc<HostRows>>> {
        let memory = if discloses {
            let shard = self.materials.along.context("contexts along the targets were not asked for")?;
            let mut builder =
                MemoryBuilder::new(self.materials.all, Contexts::Steps, shard.hidden_size, self.materials.validation_from);
            builder.add(0, shard)?;
            builder.finish()?
        } else {
            self.materials.folder.memory(self.materials.all, self.materials.validation_from, config, &self.head)?
        };
        Ok(memory.learning_from(train_limit)?)
    }

    /// What the data owner sends for a memory of all pairs.
    fn bytes_sent(&self, discloses: bool) -> Result<usize> {
        if discloses {
            return bytes_along_targets(self.materials.all);
        }
        Ok(serde_json::to_vec(&self.materials.all.request(self.materials.folder.contexts()?, &self.materials.folder.card)?)?
            .len())
    }

    /// The adapter of these settings: kept from an earlier run, or trained.
    fn trained(&self, config: AdapterConfig, memory: Memory<Arc<HostRows>>, key: &ContentHash) -> Result<(Adapter, Costs)> {
        let path = self.materials.cache.path("adapters", key, "safetensors");
        if let Some(costs) = self.materials.cache.get::<Costs>("adapters", key)? {
            return Ok((Adapter::import(&read(&path)?, self.head.hash(), self.materials.device)?.1, costs));
        }
        let meter = Meter::start(self.alone);
        let model = self.materials.folder.card.model.clone();
        let mut trainer = block_on(Trainer::new(config, memory, self.head.clone(), model, self.materials.device.clone()))?;
        while !trainer.is_done() {
            let progress = block_on(trainer.step())?;
            if self.alone {
                progress::show(format_args!("  {:?} epoch {} loss {:.3}", progress.phase, progress.epoch, progress.loss));
            }
        }
        if self.alone {
            progress::clear();
        }
        let adapter = trainer.adapter().context("training ended without an adapter")?;
        let (seconds, peak_memory_bytes) = meter.stop();
        let parameters = adapter.parameters();
        let costs = Costs { parameters, training_seconds: Some(seconds), peak_memory_bytes, bytes_sent: 0 };
        self.materials.cache.put_bytes(&path, &block_on(adapter.export("eval"))?)?;
        // Last: it says that the adapter is whole.
        Ok((adapter, self.materials.cache.put("adapters", key, &costs)?))
    }

    /// Probabilities of every token of the references, kept for the next run.
    fn scored(&self, key: &ContentHash, adapter: Option<&Adapter>) -> Result<[Vec<Scored>; 2]> {
        self.materials.cache.get_or("scores", &self.score_key(key)?, || {
            let mixer = self.mixer(adapter);
            let all = |set: &References| set.all.iter().map(|reference| score(&mixer, reference)).collect::<Result<Vec<_>>>();
            Ok([all(self.materials.sets[0])?, all(self.materials.sets[1])?])
        })
    }

    /// Names the model in keys.
    fn model(&self) -> String {
        self.with_conditions(self.materials.folder.card.model.to_string())
    }

    /// A model's name and what else gives numbers of their own: an int8 head, and a GPU.
    pub fn with_conditions(&self, model: String) -> String {
        let form = match self.head.form() {
            HeadForm::F16 => "",
            HeadForm::Int8 => ", int8 head",
        };
        let place = match self.materials.place {
            Place::Cpu => "",
            Place::Wgpu => ", on wgpu",
        };
        model + form + place
    }

    fn score_key(&self, key: &ContentHash) -> Result<ContentHash> {
        Cache::key(&(key, LAMBDAS, FORMS, self.materials.sets.map(|set| &set.name)))
    }
}

/// Probabilities of every token of a reference.
fn score(mixer: &Mixer, reference: &Reference) -> Result<Scored> {
    let Reference { prompt, target, states, h, source_len } = reference;
    let learned = mixer.has_gate().then(|| GradualUnrolling::new(Schedule::Learned, 1.0, *source_len)).transpose()?;
    let weighing = |t| learned.as_ref().map_or(Ok(Mix::ADAPTER.into()), |learned| mixer.weighing(learned, t));
    let weighings = (0..target.len()).map(weighing).collect::<Result<Vec<_>, _>>()?;
    let along = |weighings: &[Weighing<'_>], each: &mut dyn FnMut(TokenId, Distributions)| {
        let mut tokens = target.iter();
        let each = |next| tokens.next().map_or((), |token| each(*token, next));
        block_on(mixer.along(Hidden { prompt: states, current: h }, prompt, target, weighings, each))
    };
    let mut scored = Scored::of_tokens(Vec::new(), Vec::new(), *source_len);
    along(&weighings, &mut |token, next| {
        let [of_method, of_plm, _] = next.of(token);
        scored.plm.push(of_plm);
        scored.method.push(if mixer.has_adapter() { of_method } else { of_plm });
        scored.gate.extend(learned.map(|_| next.lambda));
        scored.geometric.extend(at_lambdas(&next, token));
    })?;
    if mixer.has_contrast() {
        let contrast = Mix { mixing: Mixing::Contrast, ..Mix::ADAPTER };
        along(&vec![contrast.into(); target.len()], &mut |token, next| scored.contrast.extend(at_lambdas(&next, token)))?;
    }
    Ok(scored)
}

/// A token's log-probabilities under the geometric mixture, where there are two distributions.
fn at_lambdas(next: &Distributions, token: TokenId) -> Option<[f32; LAMBDAS.len()]> {
    Some(geometric(next.pema.as_ref()?, next.plm.as_ref()?, token))
}
