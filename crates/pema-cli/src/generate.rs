//! `pema generate` and `pema evaluate`: the mixture at work, on one input or on test pairs.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use pema_adapter::{Adapter, Consult, Mixer};
use pema_core::{
    data::Pair,
    metrics,
    schedule::{Mix, Mixing, Schedule},
    tuning::{Trials, Tried},
};

use crate::{
    client::{Client, ServiceArgs},
    device::DeviceArgs,
    folder::{Folder, read},
    pairs::FormatArgs,
    writer::{Form, Mixture, TextArgs, Writer},
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
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    mix: MixArgs,
    #[command(flatten)]
    bounds: TextArgs,
    /// Ask the model for the prompt's context and tell it nothing of what is generated: the adapter
    /// writes alone. It must have been trained on contexts of the prompt, alone or of all its tokens.
    #[arg(long, conflicts_with = "consult")]
    private: bool,
    /// Ask the model at the first so many tokens alone, which tells it all of these but the last.
    #[arg(long)]
    consult: Option<usize>,
    /// Ask the model where the adapter's entropy is above so many nats, which tells it all that was
    /// written before.
    #[arg(long, value_name = "NATS", conflicts_with_all = ["private", "consult"])]
    consult_above: Option<f32>,
}

impl MixtureArgs {
    fn consult(&self) -> Consult {
        match (self.private, self.consult, self.consult_above) {
            (true, ..) => Consult::NEVER,
            (_, Some(tokens), _) => Consult::First(tokens),
            (.., Some(nats)) => Consult::Above(nats),
            (false, None, None) => Consult::Always,
        }
    }

    /// Whether the model may write too: what it writes goes through its owner's hands.
    fn compares(&self) -> bool {
        self.consult() == Consult::Always
    }
}

/// A mixture.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct MixArgs {
    /// How the two distributions become one: their weighted mean, as in the paper, their weighted geometric
    /// mean, or that with what learning targets changed of an adapter with contrast.
    #[arg(long, value_enum, default_value_t = MixingArg::Arithmetic)]
    mixing: MixingArg,
    /// How the adapter's weight falls with the steps.
    #[arg(long, value_enum, default_value_t = ScheduleArg::Constant)]
    schedule: ScheduleArg,
    /// The adapter's largest weight, that of the first step, in [0, 1].
    #[arg(long, default_value_t = 0.7)]
    lambda_max: f32,
}

impl From<MixArgs> for Mixture {
    fn from(MixArgs { mixing, schedule, lambda_max }: MixArgs) -> Self {
        Self { form: Form { mixing: mixing.into(), schedule: schedule.into() }, lambda_max }
    }
}

/// See [`Mixing`].
#[derive(Clone, Copy, Debug, ValueEnum)]
enum MixingArg {
    Arithmetic,
    Geometric,
    Contrast,
}

impl From<MixingArg> for Mixing {
    fn from(mixing: MixingArg) -> Self {
        match mixing {
            MixingArg::Arithmetic => Self::Arithmetic,
            MixingArg::Geometric => Self::Geometric,
            MixingArg::Contrast => Self::Contrast,
        }
    }
}

/// See [`Schedule`].
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScheduleArg {
    Linear,
    Quadratic,
    Constant,
    /// As the adapter's gate says at each token, at most --lambda-max.
    Learned,
}

impl From<ScheduleArg> for Schedule {
    fn from(schedule: ScheduleArg) -> Self {
        match schedule {
            ScheduleArg::Linear => Self::Linear,
            ScheduleArg::Quadratic => Self::Quadratic,
            ScheduleArg::Constant => Self::Constant,
            ScheduleArg::Learned => Self::Learned,
        }
    }
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
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
    /// Choose the mixture first: that whose texts of these validation pairs (JSONL, CSV or TSV) have the highest
    /// chrF. Asks the model at every token.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mixing", "schedule", "lambda_max", "private", "consult", "consult_above"])]
    tune: Option<PathBuf>,
    /// Use only the first so many of them.
    #[arg(long, value_name = "PAIRS", default_value_t = 32, requires = "tune")]
    tune_limit: usize,
}

/// Prints the model's and the mixture's continuation of one input; the mixture's alone if the model
/// is not to learn it.
pub fn run_generate(args: &GenerateArgs) -> Result<()> {
    let session = Session::open(&args.mixture)?;
    let mut writer = session.writer(&args.mixture)?;
    if args.mixture.compares() {
        println!("PLM:     {}", writer.write(&args.input, &session.mixer, None, Consult::Always)?.text);
    }
    if session.mixer.has_adapter() || !args.mixture.compares() {
        let mixed = Some(args.mixture.mix.into());
        println!("mixture: {}", writer.write(&args.input, &session.mixer, mixed, args.mixture.consult())?.text);
    }
    Ok(())
}

/// Prints both outputs for test pairs, and their scores; the mixture's alone if the model is not to
/// learn it.
pub fn run_evaluate(args: &EvaluateArgs) -> Result<()> {
    let session = Session::open(&args.mixture)?;
    ensure!(session.mixer.has_adapter(), "there is nothing to compare: name an adapter with --adapter");
    let mut writer = session.writer(&args.mixture)?;
    let mixed = match &args.tune {
        Some(path) => {
            let mut validation = args.mixture.format.read(path)?;
            validation.truncate(args.tune_limit);
            session.tuned(&mut writer, &validation)?
        }
        None => args.mixture.mix.into(),
    };
    let mut pairs = args.mixture.format.read(&args.test)?;
    pairs.truncate(args.limit);
    let (mut plm, mut mixture, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for pair in pairs {
        println!("\ninput:   {}\ntarget:  {}", pair.input, pair.target);
        if args.mixture.compares() {
            plm.push(writer.write(&pair.input, &session.mixer, None, Consult::Always)?.text);
            println!("PLM:     {:?}", plm[plm.len() - 1]);
        }
        mixture.push(writer.write(&pair.input, &session.mixer, Some(mixed), args.mixture.consult())?.text);
        println!("mixture: {:?}", mixture[mixture.len() - 1]);
        targets.push(pair.target);
    }
    println!();
    for (name, outputs) in [("PLM", &plm), ("mixture", &mixture)].into_iter().filter(|(_, outputs)| !outputs.is_empty()) {
        let chrf = metrics::chrf(outputs, &targets)?;
        let bleu = metrics::bleu(outputs, &targets)?;
        let exact = metrics::exact_match(outputs, &targets)?;
        println!("{name}: chrF {chrf:.2}, BLEU {bleu:.2}, exactly the target {exact:.0}% on {} pairs", targets.len());
    }
    Ok(())
}

/// A service, a model's folder and an adapter that fit each other.
struct Session {
    client: Client,
    folder: Folder,
    mixer: Mixer,
}

impl Session {
    fn open(args: &MixtureArgs) -> Result<Self> {
        let (client, card) = Client::connect(&args.service)?;
        let folder = Folder::open(&args.from)?;
        ensure!(card.model == folder.card.model, "the service has another model than {}: extract again", args.from.display());
        let device = args.device.place.start()?;
        let head = folder.head(&device)?;
        let adapter = match &args.adapter {
            Some(path) => Some(Adapter::import(&read(path)?, head.hash(), &device)?.1),
            None => None,
        };
        let mixer = Mixer::new(head, adapter, device);
        if mixer.has_adapter() {
            // Before anything is sent: whether the adapter can be weighed so.
            mixer.weighing(&Mixture::from(args.mix).unrolling(1)?, 0)?;
        }
        Ok(Self { client, folder, mixer })
    }

    fn writer(&self, args: &MixtureArgs) -> Result<Writer<'_>> {
        let (template, stream) = (args.format.template()?, self.client.stream()?);
        Ok(Writer { folder: &self.folder, template, stream, bounds: args.bounds })
    }

    /// The mixture whose texts of validation pairs are best; says how good each was.
    fn tuned(&self, writer: &mut Writer<'_>, validation: &[Pair]) -> Result<Mixture> {
        let targets = validation.iter().map(|pair| pair.target.clone()).collect();
        let mut trials = Trials::new(self.mixer.has_contrast(), targets);
        while let Some((mix, pair)) = trials.next() {
            let text = writer.write(&validation[pair].input, &self.mixer, Some(mixture(mix)), Consult::Always)?.text;
            if let Some(Tried { mix: Mix { mixing, lambda }, pairs, chrf }) = trials.push(text)? {
                println!("--mixing {mixing} --lambda-max {lambda}: chrF {chrf:.2} on {pairs} validation pairs");
            }
        }
        let best = trials.best().context("there are no validation pairs to choose on")?;
        println!("chosen: --mixing {} --lambda-max {}", best.mixing, best.lambda);
        Ok(mixture(best))
    }
}

/// A mixture with a constant weight.
fn mixture(Mix { mixing, lambda }: Mix) -> Mixture {
    Mixture { form: Form { mixing, schedule: Schedule::Constant }, lambda_max: lambda }
}
