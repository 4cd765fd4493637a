//! `pema eval`: how good each method is on one external memory, by the perplexity that its mixture
//! with the PLM gives to references.
//!
//! Perplexity needs the PLM's contexts along each reference, so references go to the service: it
//! must be the evaluator's own, on this machine.

mod bootstrap;
mod contexts;
mod knn;
mod likelihood;
mod methods;
mod report;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use pema_adapter::AdapterConfig;
use pema_core::{data::Pair, prepare::Prepared};

use self::{
    bootstrap::compare,
    contexts::{Reference, references},
    likelihood::{Choice, LAMBDAS, SCHEDULES, Scored, choose},
    methods::{Bench, Method},
    report::{Cell, Report, Row},
};
use crate::{
    client::{Client, ServiceArgs},
    folder::{Folder, write},
    pairs::PairArgs,
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
    /// Test pairs: JSONL, CSV or TSV.
    #[arg(long)]
    test: PathBuf,
    /// Use only the first so many test pairs.
    #[arg(long, default_value_t = usize::MAX)]
    test_limit: usize,
    /// The methods, in the report's order.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Method::LABEL_PRIVATE)]
    methods: Vec<Method>,
    /// Settings that the trained methods share, as JSON.
    #[arg(long, default_value = "{}")]
    settings: String,
    /// Seed of the bootstrap.
    #[arg(long, default_value_t = 0)]
    bootstrap_seed: u64,
    /// Also train on contexts along the targets, which would tell them to the model's owner: the
    /// upper bound of what a method that keeps them can reach.
    #[arg(long)]
    disclose_targets: bool,
    /// The folder for report.json, report.md, report.html and the adapters, kept for a next run.
    #[arg(long)]
    out: PathBuf,
}

/// Evaluates.
pub fn run(args: &Args) -> Result<()> {
    ensure!(
        args.service.is_loopback(),
        "the references would be sent to the service: serve the model on this machine and name it as 127.0.0.1"
    );
    let mut methods = args.methods.clone();
    if args.disclose_targets && !methods.contains(&Method::Disclosed) {
        methods.push(Method::Disclosed);
    }
    ensure!(
        args.disclose_targets || !methods.contains(&Method::Disclosed),
        "the method `disclosed` trains on contexts along the targets: say so with --disclose-targets"
    );
    let config: AdapterConfig = serde_json::from_str(&args.settings).context("--settings")?;
    let (client, card) = Client::connect(&args.service)?;
    let folder = Folder::open(&args.from)?;
    ensure!(card.model == folder.card.model, "the service has another model than {}: extract again", args.from.display());
    fs::create_dir_all(&args.out).with_context(|| format!("{} cannot be made", args.out.display()))?;

    let split = args.pairs.read()?;
    let mut test = args.pairs.format().read(&args.test)?;
    test.truncate(args.test_limit);
    let template = args.pairs.format().template()?;
    let prepare = |pairs: &[Pair]| Prepared::new(pairs, &template, &folder.tokenizer, &card);
    let along = |pairs: &[Pair]| -> Result<Vec<Reference>> {
        let shard = contexts::along_targets(&folder, &client, &prepare(pairs)?)?;
        references(pairs, &prepare(pairs)?, &shard, &folder.tokenizer)
    };
    println!("contexts along {} validation and {} test references", split.valid.len(), test.len());
    let (validation, test_references) = (along(&split.valid)?, along(&test)?);

    let contexts = folder.contexts()?;
    let device = Device::flex();
    let bench = Bench {
        folder: &folder,
        head: folder.head(&device)?,
        device,
        all: prepare(&split.all())?,
        validation_from: split.train.len() as u32,
        config,
        adapters: args.out.join("adapters"),
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut baseline: Option<Vec<Scored>> = None;
    for method in methods {
        println!("{}", method.title());
        let outcome = match method {
            Method::Disclosed => {
                let shard = contexts::along_targets(&folder, &client, &bench.all)?;
                bench.run(method, &[&validation, &test_references], Some(&shard))?
            }
            _ => bench.run(method, &[&validation, &test_references], None)?,
        };
        let [on_validation, on_test] = outcome.scored;
        let plm = baseline.get_or_insert_with(|| on_test.iter().map(Scored::plm_alone).collect());
        for schedules in method.schedules() {
            let choice = if method == Method::Plm { Choice::PLM_ALONE } else { choose(&on_validation, schedules)? };
            let chosen = choice.unrolled(&on_test)?;
            let against = compare(&chosen, &Choice::PLM_ALONE.unrolled(plm)?, args.bootstrap_seed);
            println!(
                "  {:<28} perplexity {:.2} [{:.2}, {:.2}]",
                choice.label(method),
                against.perplexity,
                against.low,
                against.high
            );
            rows.push(Row::new(method, &choice, against, outcome.parameters, outcome.seconds));
        }
        if let Some(row) = rows.last_mut().filter(|_| method != Method::Plm) {
            for schedule in SCHEDULES {
                for lambda_max in LAMBDAS {
                    let perplexity = Choice { schedule, lambda_max, perplexity: 0.0 }.perplexity(&on_validation)?;
                    row.sweep.push(Cell { schedule: schedule.to_string(), lambda_max, perplexity });
                }
            }
        }
    }
    let report = Report {
        command: std::env::args().collect::<Vec<_>>().join(" "),
        model: card.name.clone(),
        contexts,
        memory_rows: bench.all.rows(contexts),
        memory_pairs: bench.all.targets.pairs(),
        training_pairs: split.train.len(),
        validation_pairs: split.valid.len(),
        test_pairs: test.len(),
        bytes_sent: serde_json::to_vec(&bench.all.request(contexts, &card)?)?.len(),
        settings: bench.config.clone(),
        disclosed: args.disclose_targets,
        rows,
    };
    write(&args.out.join("report.json"), &serde_json::to_vec_pretty(&report)?)?;
    write(&args.out.join("report.md"), report.markdown().as_bytes())?;
    write(&args.out.join("report.html"), report.html().as_bytes())?;
    println!("{}", args.out.join("report.html").display());
    Ok(())
}
