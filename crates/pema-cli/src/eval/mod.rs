//! `pema eval`: how good each method is on one external memory, by the perplexity that its mixture
//! with the PLM gives to references and by the texts that it writes.
//!
//! Perplexity needs the PLM's contexts along each reference, so references go to the service: it
//! must be the evaluator's own, on this machine.
//!
//! - [`methods`]: what is compared, as data
//! - [`bench`]: training and scoring, [`cache`]: each once
//! - [`contexts`], [`likelihood`], [`knn`], [`texts`], [`bootstrap`], [`costs`]: what is measured, and how
//! - [`report`]: what is said of it, [`command`]: how to measure it again

mod ahead;
mod baselines;
mod bench;
mod bootstrap;
mod cache;
mod command;
mod contexts;
mod costs;
mod knn;
mod likelihood;
mod methods;
pub mod report;
mod rows;
mod sweeps;
mod texts;

use std::{num::NonZeroUsize, path::PathBuf};

use anyhow::{Result, ensure};
use pema_adapter::AdapterConfig;
use pema_core::{
    align::Contexts,
    data::{Pair, Template},
    prepare::Prepared,
    wire::PromptStates,
};
use serde_json::Value;

use self::{
    baselines::BaselineArgs,
    bench::{Bench, Job, Materials},
    cache::Cache,
    command::Command,
    contexts::{References, references},
    methods::{DISCLOSED, Method, PEMA, Way},
    report::{Measured, Report, Row},
    rows::{Candidate, Writing},
    sweeps::{Axes, Sweep},
    texts::{Desk, Wanted},
};
use crate::{
    client::{Client, ServiceArgs},
    device::DeviceArgs,
    folder::Folder,
    pairs::{PairArgs, SplitPairs},
    writer::TextArgs,
};

/// What to compare, and on what.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// On this machine: the references of validation and test pairs are sent to it.
    #[command(flatten)]
    service: ServiceArgs,
    /// The folder that `pema extract` wrote for the same pairs.
    #[arg(long)]
    from: PathBuf,
    #[command(flatten)]
    pairs: PairArgs,
    /// Test pairs: JSONL, CSV or TSV; a task and `--draw` bring their own.
    #[arg(long)]
    test: Option<PathBuf>,
    /// Use only the first so many test pairs.
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    test_limit: usize,
    /// Learn from only the first so many training pairs of the memory.
    #[arg(long, default_value_t = u32::MAX, hide_default_value = true)]
    train_limit: u32,
    /// The methods, in the report's order: plm, knn, pema, pema-kappa-0, window, copy, context, short,
    /// contrast and gated (left out unless the memory has contexts of steps), attend (unless it has prompt-all), disclosed
    /// [default: all but the last].
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,
    /// A method of your own, as 'deep={"prefix": 4}': an adapter with these settings on top of the
    /// shared ones. May be repeated.
    #[arg(long, value_name = "NAME=JSON")]
    method: Vec<Method>,
    /// Settings that the trained methods share, as JSON.
    #[arg(long, default_value = "{}")]
    settings: String,
    /// Also write texts of the test pairs, greedily, with each method's mixtures of these forms
    /// (constant, linear, quadratic, geometric; contrast and learned, of adapters with contrast and a gate), or with one method's, as
    /// `pema:constant,contrast:contrast`, and score them. Costly.
    #[arg(long, value_name = "FORMS", num_args = 0..=1, require_equals = true, default_missing_value = "constant,geometric")]
    texts: Option<Wanted>,
    /// Choose the largest weight of each mixture that writes by the chrF of its texts of the first so many
    /// validation pairs, and not by perplexity. Costlier still.
    #[arg(long, value_name = "PAIRS", requires = "texts")]
    tune_texts: Option<usize>,
    /// Write so many texts side by side; the service allows its --max-streams. The model then reads several
    /// at once, which may turn a close choice.
    #[arg(long, default_value = "1", requires = "texts")]
    streams: NonZeroUsize,
    #[command(flatten)]
    bounds: TextArgs,
    /// Also sweep rank, kappa or memory, as `rank,memory` or with values of your own, as
    /// `rank=16,64`, `kappa=0,0.5`, or shares of the training pairs, `memory=0.5,1`. May be repeated.
    #[arg(long)]
    sweep: Vec<Axes>,
    /// The methods to sweep [default: pema, and the best on validation pairs that keeps targets].
    #[arg(long, value_delimiter = ',', requires = "sweep")]
    sweep_methods: Vec<String>,
    /// Train so many adapters side by side, if memory allows.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    baselines: BaselineArgs,
    /// Seed of the bootstrap.
    #[arg(long, default_value_t = 0)]
    bootstrap_seed: u64,
    /// Also train on contexts along the targets, which would tell them to the model's owner: the
    /// upper bound of what a method that keeps them can reach.
    #[arg(long)]
    disclose_targets: bool,
    /// The folder for report.json, report.md, report.html and what a next run need not do again.
    #[arg(long)]
    out: PathBuf,
}

/// Evaluates.
pub fn run(args: &Args) -> Result<()> {
    ensure!(
        args.service.is_loopback(),
        "the references would be sent to the service: serve the model on this machine and name it as 127.0.0.1"
    );
    let methods = args.methods()?;
    args.texts.as_ref().map_or(Ok(()), |wanted| wanted.check(&methods))?;
    let shared = methods::shared(&args.settings)?;
    let (client, card) = Client::connect(&args.service)?;
    let folder = Folder::open(&args.from)?;
    ensure!(card.model == folder.card.model, "the service has another model than {}: extract again", args.from.display());

    let contexts = folder.contexts()?;
    let mut left_out: Vec<String> = methods.iter().filter_map(|method| method.misfit(contexts)).collect();
    let methods: Vec<Method> = methods.into_iter().filter(|method| method.misfit(contexts).is_none()).collect();

    let device = args.device.place.start()?;
    let data = Data::read(args)?;
    let states = if contexts == Contexts::PromptAll { PromptStates::All } else { PromptStates::Last };
    let along = |pairs: &[Pair]| -> Result<References> {
        let prepared = data.prepare(pairs, &folder)?;
        let shard = contexts::along_targets(&folder, &client, &prepared, states)?;
        references(&prepared, &shard, states)
    };
    let SplitPairs { train, valid, test } = &data.split;
    println!("contexts along {} validation and {} test references", valid.len(), test.len());
    let (validation_references, test_references) = (along(valid)?, along(test)?);
    let all = data.prepare(&data.split.all(), &folder)?;
    let discloses = methods.iter().any(Method::discloses);
    let shard = discloses.then(|| contexts::along_targets(&folder, &client, &all, PromptStates::Last)).transpose()?;
    let cache = Cache::new(&args.out);
    let materials = Materials {
        folder: &folder,
        all: &all,
        validation_from: train.len() as u32,
        shared: &shared,
        sets: [&validation_references, &test_references],
        along: shard.as_ref(),
        cache: &cache,
        device: &device,
        place: args.device.place,
    };
    let bench = Bench::open(materials, true)?;
    let desk = Desk { materials, client: &client, template: &data.template, bounds: args.bounds, streams: args.streams };

    let writing = Writing { wanted: args.texts.as_ref(), tuning: &valid[..args.tune_texts.unwrap_or(0).min(valid.len())], test };
    let mut candidates: Vec<Candidate> = Vec::new();
    let trains = methods.iter().filter(|method| matches!(method.way, Way::Adapter { .. }));
    let jobs: Vec<Job> = trains.map(|method| Job { method: method.clone(), train_limit: args.train_limit }).collect();
    ahead::work(&bench, materials, &jobs, args.jobs)?;
    for method in &methods {
        println!("{}", method.title);
        let job = Job { method: method.clone(), train_limit: args.train_limit };
        candidates.extend(rows::candidates(&bench, &desk, &job, &writing)?);
    }
    for (baseline, trained) in args.baselines.run(&data.split, &data.template, &cache, &card.model) {
        let (_, title) = baseline.names();
        match trained {
            Ok(trained) => candidates.push(rows::white_box(trained, test)),
            Err(error) => left_out.push(format!("{title}: {error:#}")),
        }
    }
    left_out.iter().for_each(|what| println!("left out: {what}"));
    let training_pairs = (train.len() as u32).min(args.train_limit);
    let swept = sweeps::sweeps(&args.sweep, &args.swept_methods(&methods, &candidates)?, &shared, training_pairs)?;
    let jobs: Vec<Job> = swept.iter().flat_map(Sweep::jobs).cloned().collect();
    ahead::work(&bench, materials, &jobs, args.jobs)?;
    let curve = |sweep: &Sweep| sweep.curve(&bench, args.bootstrap_seed, &Command::this());
    let curves = swept.iter().map(curve).collect::<Result<Vec<_>>>()?;
    let rows = rows::measured(&candidates, args.bootstrap_seed, &Command::this());
    for Row { label, perplexity: Measured { interval, .. }, .. } in &rows {
        println!("{label:<44} perplexity {:.2} [{:.2}, {:.2}]", interval.value, interval.low, interval.high);
    }
    let report = Report {
        command: Command::this().to_string(),
        studies: Vec::new(),
        model: bench.with_conditions(card.name),
        contexts,
        memory_rows: all.rows(contexts),
        memory_pairs: all.targets.pairs(),
        training_pairs: training_pairs as usize,
        validation_pairs: valid.len(),
        test_pairs: test.len(),
        seed: serde_json::from_value::<AdapterConfig>(Value::Object(shared.clone()))?.seed,
        settings: shared,
        bootstrap_seed: args.bootstrap_seed,
        texts: args.texts.is_some().then_some(args.bounds),
        tuned_on: writing.tuning.len(),
        disclosed: discloses,
        left_out,
        rows,
        curves,
    };
    report.write(&args.out)?;
    println!("{}", args.out.join("report.html").display());
    Ok(())
}

impl Args {
    fn methods(&self) -> Result<Vec<Method>> {
        let mut names = self.methods.clone();
        if self.disclose_targets && names.is_empty() {
            let default = Method::chosen(&[], &[])?;
            names = default.into_iter().map(|method| method.name).collect();
        }
        if self.disclose_targets && !names.iter().any(|name| name == DISCLOSED) {
            names.push(DISCLOSED.to_owned());
        }
        let methods = Method::chosen(&names, &self.method)?;
        ensure!(
            self.disclose_targets || !methods.iter().any(Method::discloses),
            "the method `{DISCLOSED}` trains on contexts along the targets: say so with --disclose-targets"
        );
        Ok(methods)
    }

    /// The methods to sweep: those named, or the paper's and the best of those that were measured.
    fn swept_methods(&self, measured: &[Method], candidates: &[Candidate]) -> Result<Vec<Method>> {
        if self.sweep.is_empty() {
            return Ok(Vec::new());
        }
        let named = |name: &str| -> Result<Method> {
            let found = measured.iter().find(|method| method.name == name).cloned();
            found.map_or_else(|| Ok(Method::chosen(&[name.to_owned()], &[])?.swap_remove(0)), Ok)
        };
        if !self.sweep_methods.is_empty() {
            return self.sweep_methods.iter().map(|name| named(name)).collect();
        }
        let best = rows::best(candidates).filter(|best| best.name != PEMA);
        Ok(std::iter::once(named(PEMA)?).chain(best.cloned()).collect())
    }
}

/// The pairs of a study.
struct Data {
    split: SplitPairs,
    template: Template,
}

impl Data {
    fn read(args: &Args) -> Result<Self> {
        let mut split = args.pairs.read()?;
        if let Some(path) = &args.test {
            split.test = args.pairs.format().read(path)?;
        }
        split.test.truncate(args.test_limit);
        ensure!(!split.test.is_empty(), "there are no test pairs: name a file with --test, a task with --task, or --draw some");
        ensure!(!split.valid.is_empty(), "there are no validation pairs, on which mixtures are chosen: set some aside");
        Ok(Self { split, template: args.pairs.format().template()? })
    }

    fn prepare(&self, pairs: &[Pair], folder: &Folder) -> Result<Prepared> {
        Ok(Prepared::new(pairs, &self.template, &folder.tokenizer, &folder.card)?)
    }
}
