//! `pema generate` and `pema evaluate`: the mixture at work, on one input or on test pairs.

use std::{ops::ControlFlow, path::PathBuf};

use anyhow::{Result, ensure};
use burn::tensor::Device;
use clap::ValueEnum;
use futures::executor::block_on;
use pema_adapter::{Adapter, Consult, Generation, Mixer, generate};
use pema_core::{
    data::Template,
    id::TokenId,
    metrics,
    prepare::prompt_tokens,
    sampling::Chooser,
    schedule::{GradualUnrolling, Schedule},
};

use crate::{
    client::{Client, ServiceArgs, Stream},
    folder::{Folder, read},
    pairs::FormatArgs,
};

/// With what to generate.
#[derive(clap::Args, Debug)]
pub struct MixtureArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// The folder that `pema extract` wrote.
    #[arg(long)]
    from: PathBuf,
    /// The adapter; without it the model writes alone.
    #[arg(long)]
    adapter: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
    /// How the adapter's weight falls with the steps.
    #[arg(long, value_enum, default_value_t = ScheduleArg::Constant)]
    schedule: ScheduleArg,
    /// The adapter's weight at the first step, in [0, 1].
    #[arg(long, default_value_t = 0.7)]
    lambda_max: f32,
    /// No sequence of so many tokens is written twice; 0 allows it.
    #[arg(long, default_value_t = 4)]
    no_repeat: usize,
    /// At most so many tokens.
    #[arg(long, default_value_t = 64)]
    max_tokens: usize,
    /// Ask the model for the prompt's context and tell it nothing of what is generated: the adapter
    /// writes alone. It must have been trained on contexts of the prompt alone.
    #[arg(long, conflicts_with = "consult")]
    private: bool,
    /// Ask the model at the first so many tokens alone, which tells it all of these but the last.
    #[arg(long)]
    consult: Option<usize>,
}

impl MixtureArgs {
    fn consult(&self) -> Consult {
        match (self.private, self.consult) {
            (true, _) => Consult::NEVER,
            (false, Some(tokens)) => Consult::First(tokens),
            (false, None) => Consult::Always,
        }
    }

    /// Whether the model may write too: what it writes goes through its owner's hands.
    fn compares(&self) -> bool {
        self.consult() == Consult::Always
    }
}

/// See [`Schedule`].
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScheduleArg {
    Linear,
    Quadratic,
    Constant,
}

/// One input.
#[derive(clap::Args, Debug)]
pub struct GenerateArgs {
    #[command(flatten)]
    mixture: MixtureArgs,
    /// Goes into the template.
    input: String,
}

/// Test pairs.
#[derive(clap::Args, Debug)]
pub struct EvaluateArgs {
    #[command(flatten)]
    mixture: MixtureArgs,
    /// Test pairs: JSONL, CSV or TSV.
    #[arg(long)]
    test: PathBuf,
    /// Use only the first so many.
    #[arg(long, default_value_t = usize::MAX)]
    limit: usize,
}

/// Prints the model's and the mixture's continuation of one input; the mixture's alone if the model
/// is not to learn it.
pub fn run_generate(args: &GenerateArgs) -> Result<()> {
    let mut writer = Writer::open(&args.mixture)?;
    if args.mixture.compares() {
        println!("PLM:     {}", writer.write(&args.input, false)?);
    }
    if writer.mixer.has_adapter() || !args.mixture.compares() {
        println!("mixture: {}", writer.write(&args.input, true)?);
    }
    Ok(())
}

/// Prints both outputs for test pairs, and their scores; the mixture's alone if the model is not to
/// learn it.
pub fn run_evaluate(args: &EvaluateArgs) -> Result<()> {
    let mut writer = Writer::open(&args.mixture)?;
    ensure!(writer.mixer.has_adapter(), "there is nothing to compare: name an adapter with --adapter");
    let mut pairs = args.mixture.format.read(&args.test)?;
    pairs.truncate(args.limit);
    let (mut plm, mut mixture, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for pair in pairs {
        println!("\ninput:   {}\ntarget:  {}", pair.input, pair.target);
        if args.mixture.compares() {
            plm.push(writer.write(&pair.input, false)?);
            println!("PLM:     {:?}", plm[plm.len() - 1]);
        }
        mixture.push(writer.write(&pair.input, true)?);
        println!("mixture: {:?}", mixture[mixture.len() - 1]);
        targets.push(pair.target);
    }
    println!();
    for (name, outputs) in [("PLM", &plm), ("mixture", &mixture)].into_iter().filter(|(_, outputs)| !outputs.is_empty()) {
        let chrf = metrics::chrf(outputs, &targets)?;
        let bleu = metrics::bleu(outputs, &targets)?;
        println!("{name}: chrF {chrf:.2}, BLEU {bleu:.2} on {} pairs", targets.len());
    }
    Ok(())
}

struct Writer<'a> {
    args: &'a MixtureArgs,
    folder: Folder,
    template: Template,
    mixer: Mixer,
    stream: Stream,
}

impl<'a> Writer<'a> {
    fn open(args: &'a MixtureArgs) -> Result<Self> {
        let (client, card) = Client::connect(&args.service)?;
        let folder = Folder::open(&args.from)?;
        ensure!(card.model == folder.card.model, "the service has another model than {}: extract again", args.from.display());
        let device = Device::flex();
        let head = folder.head(&device)?;
        let adapter = match &args.adapter {
            Some(path) => Some(Adapter::import(&read(path)?, head.hash(), &device)?.1),
            None => None,
        };
        let mixer = Mixer::new(head, adapter, device);
        Ok(Self { args, template: args.format.template()?, folder, mixer, stream: client.stream()? })
    }

    fn write(&mut self, input: &str, mixed: bool) -> Result<String> {
        let (tokenizer, card) = (&self.folder.tokenizer, &self.folder.card);
        let schedule = match self.args.schedule {
            ScheduleArg::Linear => Schedule::Linear,
            ScheduleArg::Quadratic => Schedule::Quadratic,
            ScheduleArg::Constant => Schedule::Constant,
        };
        let source_len = tokenizer.encode(input)?.len() as u32;
        let unrolling = GradualUnrolling::new(schedule, self.args.lambda_max, source_len)?;
        let prompt = prompt_tokens(input, "the input", &self.template, tokenizer, card)?;
        let generation = Generation {
            prompt: &prompt,
            unrolling: mixed.then_some(unrolling),
            consult: if mixed { self.args.consult() } else { Consult::Always },
            chooser: Chooser::Greedy,
            endings: &card.end_of_generation,
            no_repeat: self.args.no_repeat,
            max_tokens: self.args.max_tokens,
        };
        let mut written: Vec<TokenId> = Vec::new();
        block_on(generate(&mut self.stream, &self.mixer, generation, |chosen| {
            written.extend((!chosen.is_end).then_some(chosen.token));
            ControlFlow::Continue(())
        }))?;
        Ok(tokenizer.decode(&written)?.trim().to_owned())
    }
}
