//! Generating token by token: the service gives `f(x_t)`, this tab both distributions and the
//! mixture.

use std::ops::ControlFlow;

use pema_adapter::{Chosen, Consult, Generation, Mixer};
use pema_core::{
    sampling::{Chooser, Sampling},
    schedule::{GradualUnrolling, Mixing, Schedule},
    text::{Draft, Tokenizer},
    wire::ModelCard,
};

use crate::{
    connect::Connection,
    data::Data,
    error::TabError,
    page::Page,
    protocol::{Asking, Decoding, Event, MixingKind, Mixture, ScheduleKind, StepToken, Variant},
    session::State,
    stream::GenerationStream,
};

/// Everything that generating needs, for one or many prompts.
pub(crate) struct Generator<'a> {
    page: &'a Page,
    card: &'a ModelCard,
    tokenizer: &'a Tokenizer,
    mixer: Mixer,
    stream: GenerationStream,
    data: &'a Data,
    decoding: &'a Decoding,
    mixture: Mixture,
}

/// What one run wrote.
pub(crate) struct Written {
    pub text: String,
    pub stopped: bool,
}

impl<'a> Generator<'a> {
    /// Opens the stream.
    pub async fn open(state: &'a mut State, page: &'a Page, decoding: &'a Decoding) -> Result<Self, TabError> {
        let mixer = mixer(state).await?;
        let state: &'a State = state;
        let connection = state.connection()?;
        if decoding.consult.is_some() {
            mixer.private()?;
        }
        if mixer.has_adapter() {
            // Before anything is sent: whether the adapter can be weighed so.
            mixer.weighing(&unrolling(decoding.mixture, 1)?, 0)?;
        }
        let d = connection.card.hidden_size as usize;
        let stream = GenerationStream::open(page, &connection.service, d, consult(decoding))?;
        let (card, tokenizer, data) = (&connection.card, &connection.tokenizer, state.data()?);
        Ok(Self { page, card, tokenizer, mixer, stream, data, decoding, mixture: decoding.mixture })
    }

    /// Writes with another mixture than that of its decoding from here on.
    pub fn mix(&mut self, mixture: Mixture) {
        self.mixture = mixture;
    }

    /// Whether there is a mixture at all.
    pub fn has_adapter(&self) -> bool {
        self.mixer.has_adapter()
    }

    /// Whether its adapter has contrast.
    pub fn has_contrast(&self) -> bool {
        self.mixer.has_contrast()
    }

    /// Whether the model writes too, for comparison: what it writes goes through its owner's hands.
    pub fn compares(&self) -> bool {
        self.decoding.consult.is_none()
    }

    /// Writes the continuation of `input`'s prompt; `on_token` sees each token.
    pub async fn write(
        &mut self,
        input: &str,
        variant: Variant,
        mut on_token: impl FnMut(StepToken),
    ) -> Result<Written, TabError> {
        let prompt = self.data.prompt_of(input, self.tokenizer, self.card)?;
        let generation = Generation {
            prompt: &prompt,
            unrolling: (variant == Variant::Mixture).then(|| self.unrolling(input)).transpose()?,
            consult: match variant {
                Variant::Plm => Consult::Always,
                Variant::Mixture => consult(self.decoding),
            },
            chooser: Chooser::new(self.decoding.sampling.map(Into::into))?,
            endings: &self.card.end_of_generation,
            no_repeat: self.decoding.no_repeat as usize,
            max_tokens: self.room(prompt.len()),
        };
        let mut draft = Draft::new(self.decoding.one_line);
        let (mut decoded, mut stopped) = (Ok(()), false);
        pema_adapter::generate(&mut self.stream, &self.mixer, generation, |chosen| {
            let piece = match chosen.is_end {
                true => Ok(String::new()),
                false => draft.push(self.tokenizer, chosen.token),
            };
            let text = match piece {
                Ok(text) => text,
                Err(error) => {
                    decoded = Err(error);
                    return ControlFlow::Break(());
                }
            };
            let Chosen { lambda, p_pema, p_plm, p_mixture, .. } = chosen;
            on_token(StepToken { text, lambda, p_pema, p_plm, p_mixture });
            stopped = self.page.stop_requested();
            if stopped || draft.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
        self.stream.show();
        decoded?;
        Ok(Written { text: draft.finish(self.tokenizer)?, stopped })
    }

    /// Steps that the user wants and the context allows.
    fn room(&self, prompt: usize) -> usize {
        (self.decoding.max_tokens as usize).min((self.card.context_length as usize).saturating_sub(prompt))
    }

    fn unrolling(&self, input: &str) -> Result<GradualUnrolling, TabError> {
        unrolling(self.mixture, self.tokenizer.encode(input)?.len() as u32)
    }
}

/// The mixture of the model and the adapter in use.
pub(crate) async fn mixer(state: &mut State) -> Result<Mixer, TabError> {
    let (store, (_, device), pool) = (state.store()?, state.device()?, state.pool()?);
    let connection: &mut Connection = state.connection.as_mut().ok_or(crate::session::NOT_CONNECTED)?;
    let head = connection.head(&store, &device, pool).await?.clone();
    let adapter = match &mut state.adapter {
        Some(selected) => Some(selected.on_device(&connection.card, &device)?.clone()),
        None => None,
    };
    Ok(Mixer::new(head, adapter, device))
}

/// The adapter's weight after an input of `source_len` tokens.
pub(crate) fn unrolling(mixture: Mixture, source_len: u32) -> Result<GradualUnrolling, TabError> {
    let Mixture { mixing, schedule, lambda_max } = mixture;
    let mixing = match mixing {
        MixingKind::Arithmetic => Mixing::Arithmetic,
        MixingKind::Geometric => Mixing::Geometric,
        MixingKind::Contrast => Mixing::Contrast,
    };
    let schedule = match schedule {
        ScheduleKind::Linear => Schedule::Linear,
        ScheduleKind::Quadratic => Schedule::Quadratic,
        ScheduleKind::Constant => Schedule::Constant,
        ScheduleKind::Learned => Schedule::Learned,
    };
    Ok(GradualUnrolling::new(schedule, lambda_max, source_len)?.with_mixing(mixing))
}

fn consult(decoding: &Decoding) -> Consult {
    match decoding.consult {
        None => Consult::Always,
        Some(Asking::First(tokens)) => Consult::First(tokens as usize),
        Some(Asking::Above(nats)) => Consult::Above(nats),
    }
}

impl From<crate::protocol::Sampling> for Sampling {
    fn from(s: crate::protocol::Sampling) -> Self {
        Self { temperature: s.temperature, top_k: s.top_k as usize, top_p: s.top_p, seed: s.seed.into() }
    }
}

/// Generates for one input, with the model alone and with the mixture; with the mixture alone if the
/// model is not to learn it.
pub(crate) async fn generate(state: &mut State, page: &Page, input: &str, decoding: &Decoding) -> Result<(), TabError> {
    let mut generator = Generator::open(state, page, decoding).await?;
    let show = |variant| move |token| page.post(&Event::Token { variant, token });
    let (mut plm, mut mixture, mut stopped) = (None, None, false);
    if generator.compares() {
        let written = generator.write(input, Variant::Plm, show(Variant::Plm)).await?;
        stopped = written.stopped;
        plm = Some(written.text);
    }
    if generator.has_adapter() && !stopped {
        let written = generator.write(input, Variant::Mixture, show(Variant::Mixture)).await?;
        stopped = written.stopped;
        mixture = Some(written.text);
    }
    page.post(&Event::Generated { plm, mixture, stopped });
    Ok(())
}
