//! A second round's memory: contexts along the adapted mixture's own words. It tells these to the
//! model's owner, so it is rehearsed on stored contexts first, and ends before more of the targets is told
//! than the user allows.

use pema_adapter::{Consult, Mixer, Regeneration, RehearsalError, Who};
use pema_core::{
    align::Contexts, id::ContentHash, memory::ShardBuilder, overlap::Told, prepare::Prepared, schedule::GradualUnrolling,
};

use crate::{
    error::TabError,
    generate,
    memory::{self, Job, Memory, NO_MEMORY},
    page::Page,
    protocol::{Event, Mixture, Stage},
    session::State,
    stream::GenerationStream,
};

/// How the mixture writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing {
    pub mixture: Mixture,
    pub no_repeat: u32,
}

/// An estimate of what would be told.
pub(crate) struct Rehearsal {
    writing: Writing,
    /// Names the memory, the adapter and the writing: the second memory's key.
    key: String,
    /// The share of the targets' sequences.
    sequences: f64,
}

/// What both parts need.
struct Desk {
    mixer: Mixer,
    contexts: Contexts,
    unrollings: Vec<GradualUnrolling>,
    key: String,
}

impl Desk {
    async fn open(state: &mut State, writing: Writing) -> Result<Self, TabError> {
        let Memory { key, rows, .. } = state.memory.as_ref().ok_or(NO_MEMORY)?;
        let contexts = rows.contexts();
        let adapter = state.adapter.as_ref().ok_or(NO_ADAPTER)?.id();
        let key = ContentHash::of(format!("{key}\n{adapter}\n{writing:?}").as_bytes()).as_str()[..32].to_owned();
        let mixer = generate::mixer(state).await?;
        // Rows of all the prompt's tokens are no steps, nor the other way round.
        let of_tokens = |contexts| contexts == Contexts::PromptAll;
        if mixer.contexts().is_some_and(|needed| of_tokens(needed) != of_tokens(contexts)) {
            return Err(OTHER_CONTEXTS);
        }
        let unrolling = |&len: &u32| generate::unrolling(writing.mixture, len);
        let unrollings = state.data()?.prepared.source_lens.iter().map(unrolling).collect::<Result<_, _>>()?;
        Ok(Self { mixer, contexts, unrollings, key })
    }

    fn regeneration<'a>(&'a self, state: &'a State, writing: Writing) -> Result<Regeneration<'a>, TabError> {
        Ok(Regeneration {
            mixer: &self.mixer,
            pairs: &state.data()?.prepared,
            unrollings: &self.unrollings,
            no_repeat: writing.no_repeat as usize,
            endings: &state.connection()?.card.end_of_generation,
        })
    }
}

/// Estimates, from stored contexts, what regenerating would tell. Nothing is sent.
pub(crate) async fn rehearse(state: &mut State, page: &Page, writing: Writing) -> Result<(), TabError> {
    state.rehearsal = None;
    let desk = Desk::open(state, writing).await?;
    let regeneration = desk.regeneration(state, writing)?;
    let store = state.store()?;
    let memory = state.memory.as_ref().ok_or(NO_MEMORY)?;
    let job = Job::new(state, page, &store, desk.contexts, &memory.key)?;
    let manifest = job.stored().await?.ok_or(memory::NOT_STORED)?;
    let writers: &[Who] = match desk.contexts {
        Contexts::Steps => &[Who::Adapter, Who::Mixture],
        Contexts::Prompt | Contexts::PromptAll => &[Who::Adapter],
    };
    let Prepared { prompts, targets, .. } = regeneration.pairs;
    let (total, mut done) = (prompts.len() * writers.len(), 0);
    let (mut sequences, mut tokens) = (0.0_f64, 0.0_f64);
    for who in writers {
        let mut told = Told::nothing(targets);
        for entry in &manifest.shards {
            let shard = job.shard(entry).await?;
            for (prompt, rows) in shard.prompt_rows() {
                regeneration.rehearse(*who, prompt, &shard, rows, &mut told).await?;
                done += 1;
                page.progress(Stage::Rehearsal, done, total as u64, "texts");
                page.breathe().await;
                page.check_stop()?;
            }
        }
        sequences = sequences.max(told.sequences());
        tokens = tokens.max(told.tokens());
    }
    state.rehearsal = Some(Rehearsal { writing, key: desk.key, sequences });
    page.post(&Event::Rehearsed { sequences, tokens });
    Ok(())
}

/// Makes the memory that was rehearsed and puts it in the place of the one in use.
pub(crate) async fn regenerate(state: &mut State, page: &Page, most: f64) -> Result<(), TabError> {
    let Rehearsal { writing, sequences, .. } = *state.rehearsal.as_ref().ok_or(NO_REHEARSAL)?;
    let desk = Desk::open(state, writing).await?;
    if state.rehearsal.as_ref().is_none_or(|rehearsal| rehearsal.key != desk.key) {
        return Err(NO_REHEARSAL);
    }
    if !(0.0..=1.0).contains(&most) || sequences > most {
        return Err(TabError::Resembles { estimate: sequences, most });
    }
    let store = state.store()?;
    let job = Job::new(state, page, &store, Contexts::Steps, &desk.key)?;
    let round = state.memory.as_ref().map_or(1, |memory| memory.round) + 1;
    let manifest = match job.stored().await? {
        Some(manifest) => manifest,
        None => {
            let regeneration = desk.regeneration(state, writing)?;
            let connection = state.connection()?;
            let d = connection.card.hidden_size as usize;
            let mut stream = GenerationStream::open(page, &connection.service, d, Consult::Always)?;
            let mut told = Told::nothing(&regeneration.pairs.targets);
            let mut builder = ShardBuilder::new(d);
            let total = regeneration.pairs.prompts.len() as u32;
            for prompt in 0..total {
                let rewritten = regeneration.rewrite(&mut stream, prompt, &mut told, most).await?;
                let rewritten = rewritten.ok_or(TabError::WouldResemble { prompt: prompt + 1, most })?;
                job.keep(builder.push(rewritten.h, rewritten.tokens)?).await?;
                page.progress(Stage::Regeneration, u64::from(prompt) + 1, total.into(), "texts");
                stream.show();
                page.breathe().await;
                page.check_stop()?;
            }
            let (last, manifest) = builder.finish(connection.card.model.clone(), round)?;
            job.keep(last).await?;
            job.keep_manifest(&manifest).await?;
            manifest.memory
        }
    };
    let rows = job.join(&manifest, state.data()?, false).await?;
    let summary = memory::summary(&rows, &manifest, round, false);
    state.memory = Some(Memory { key: desk.key, rows, round });
    state.rehearsal = None;
    page.post(&Event::MemoryReady { memory: summary });
    Ok(())
}

impl From<RehearsalError> for TabError {
    fn from(error: RehearsalError) -> Self {
        match error {
            RehearsalError::OtherPairs => TabError::NotYet("the memory is of other pairs or contexts: download it again"),
            RehearsalError::Schedule(error) => error.into(),
            RehearsalError::Device(error) => error.into(),
            RehearsalError::NotPrivate(error) => error.into(),
            RehearsalError::NotMixed(error) => error.into(),
        }
    }
}

const NO_ADAPTER: TabError = TabError::NotYet("there is no adapter: train one, or select one that fits this model");
const OTHER_CONTEXTS: TabError = TabError::NotYet(
    "the adapter was trained on other contexts than the memory holds: download those, or select another adapter",
);
const NO_REHEARSAL: TabError = TabError::NotYet("there is no estimate for this memory, adapter and mixture: estimate first");
