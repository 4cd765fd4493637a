//! Writing: a greedy text from the mixture, or from the model alone.

use std::{fmt, ops::ControlFlow};

use anyhow::Result;
use futures::executor::block_on;
use pema_adapter::{Consult, Generation, Mixer, generate};
use pema_core::{
    data::Template,
    id::TokenId,
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
        let source_len = self.folder.tokenizer.encode(input)?.len() as u32;
        let unrolling = mixture.map(|mixture| mixture.unrolling(source_len)).transpose()?;
        let TextArgs { no_repeat, max_tokens, .. } = self.bounds;
        let endings = &self.folder.card.end_of_generation;
        self.write_with(input, |stream, prompt, draft| {
            let generation = Generation { prompt, unrolling, consult, chooser: Chooser::Greedy, endings, no_repeat, max_tokens };
            Ok(block_on(generate(stream, mixer, generation, |chosen| draft(chosen.token)))?)
        })
    }

    /// The text after an input that `generate` writes: it is given the prompt, and hands over each token until it
    /// is told to stop, if only by an ending.
    pub fn write_with(
        &mut self,
        input: &str,
        generate: impl FnOnce(&mut Stream, &[TokenId], &mut dyn FnMut(TokenId) -> ControlFlow<()>) -> Result<()>,
    ) -> Result<Written> {
        let Folder { tokenizer, card, .. } = self.folder;
        let prompt = prompt_tokens(input, "the input", &self.template, tokenizer, card)?;
        let mut draft = Draft::new(self.bounds.one_line);
        let (mut tokens, mut decoded) = (0, Ok(()));
        generate(&mut self.stream, &prompt, &mut |token| {
            tokens += 1;
            if card.end_of_generation.contains(&token) {
                return ControlFlow::Break(());
            }
            decoded = draft.push(tokenizer, token).map(drop);
            if decoded.is_err() || draft.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        decoded?;
        Ok(Written { text: draft.finish(tokenizer)?, tokens })
    }
}
