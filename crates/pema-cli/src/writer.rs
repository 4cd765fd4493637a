//! Writing: a greedy text from the mixture, or from the model alone.

use std::{fmt, ops::ControlFlow};

use anyhow::Result;
use futures::executor::block_on;
use pema_adapter::{Consult, Generation, Mixer, generate};
use pema_core::{
    data::Template,
    prepare::prompt_tokens,
    sampling::Chooser,
    schedule::{GradualUnrolling, Mixing, Schedule, ScheduleError},
    text::Draft,
};
use serde::{Deserialize, Serialize};

use crate::{client::Stream, folder::Folder};

/// A mixture but for its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// How two distributions become one.
    #[serde(default)]
    pub mixing: Mixing,
    /// How the adapter's weight falls with the steps.
    pub schedule: Schedule,
}

/// How the adapter is mixed with the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    /// All but the weight.
    #[serde(flatten)]
    pub form: Form,
    /// The adapter's largest weight, that of the first step, in `[0, 1]`.
    pub lambda_max: f32,
}

impl Form {
    /// The paper's way of mixing.
    pub const fn arithmetic(schedule: Schedule) -> Self {
        Self { mixing: Mixing::Arithmetic, schedule }
    }
}

impl Mixture {
    /// The weight over the steps, for a source of so many tokens.
    pub fn unrolling(self, source_len: u32) -> Result<GradualUnrolling, ScheduleError> {
        let Form { mixing, schedule } = self.form;
        Ok(GradualUnrolling::new(schedule, self.lambda_max, source_len)?.with_mixing(mixing))
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.mixing, self.schedule) {
            (Mixing::Arithmetic, schedule) => schedule.fmt(f),
            (mixing, Schedule::Constant) => mixing.fmt(f),
            (mixing, schedule) => write!(f, "{mixing} {schedule}"),
        }
    }
}

/// Bounds on a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct TextArgs {
    /// No sequence of so many tokens is written twice; 0 allows it.
    #[arg(long, default_value_t = 4)]
    pub no_repeat: usize,
    /// At most so many tokens of a text.
    #[arg(long, default_value_t = 64)]
    pub max_tokens: usize,
    /// A text ends where its line does: for templates after which the model goes on.
    #[arg(long)]
    #[serde(default)]
    pub one_line: bool,
}

/// A text and its length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Without white space around it.
    pub text: String,
    /// Tokens chosen, the one that ends it too.
    pub tokens: usize,
}

/// Writes one text after the other.
pub struct Writer<'a> {
    /// Of the model.
    pub folder: &'a Folder,
    /// Around inputs.
    pub template: Template,
    /// Of the model's service.
    pub stream: Stream,
    /// Of every text.
    pub bounds: TextArgs,
}

impl Writer<'_> {
    /// The text after an input; without a mixture the model's own.
    pub fn write(&mut self, input: &str, mixer: &Mixer, mixture: Option<Mixture>, consult: Consult) -> Result<Written> {
        let Folder { tokenizer, card, .. } = self.folder;
        let source_len = tokenizer.encode(input)?.len() as u32;
        let unrolling = mixture.map(|mixture| mixture.unrolling(source_len));
        let prompt = prompt_tokens(input, "the input", &self.template, tokenizer, card)?;
        let generation = Generation {
            prompt: &prompt,
            unrolling: unrolling.transpose()?,
            consult,
            chooser: Chooser::Greedy,
            endings: &card.end_of_generation,
            no_repeat: self.bounds.no_repeat,
            max_tokens: self.bounds.max_tokens,
        };
        let mut draft = Draft::new(self.bounds.one_line);
        let (mut tokens, mut decoded) = (0, Ok(()));
        block_on(generate(&mut self.stream, mixer, generation, |chosen| {
            tokens += 1;
            if !chosen.is_end {
                decoded = draft.push(tokenizer, chosen.token).map(drop);
            }
            if decoded.is_err() || draft.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }))?;
        decoded?;
        Ok(Written { text: draft.finish(tokenizer)?, tokens })
    }
}
