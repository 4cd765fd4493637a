//! The engine's thread: one llama.cpp context, many sequences, one decode after another.
//!
//! Every decode mixes whatever is waiting: generation steps, free-run steps of several prompts,
//! and prompts being read. So extraction keeps the model busy and generation never waits for
//! more than the decode under way.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, mpsc};
use std::thread;

use half::f16;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{LlamaContextParams, LlamaPoolingType};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use pema_core::id::TokenId;
use pema_core::wire::PromptStates;

use super::batch::{BATCH_TOKENS, Run, plan};
use super::llama::backend;
use super::sequence::{Next, Owner, PromptWork, Reply, Sequence, SessionWork};
use super::{EngineError, EngineInfo, Group, PromptRows, Rows, Step, argmax};

/// What the handle asks of the thread.
pub(super) enum Command {
    Extract { group: Group, prompt: Vec<TokenId>, rows: Rows, reply: Reply<PromptRows> },
    Start { sequence: usize, prompt: Vec<TokenId>, states: PromptStates, reply: Reply<Step> },
    Push { sequence: usize, token: TokenId, reply: Reply<Step> },
    Close { sequence: usize },
}

/// Starts the thread; it ends when every sender of `inbox` is gone.
pub(super) fn spawn(
    model: Arc<LlamaModel>,
    info: EngineInfo,
    threads: u32,
    inbox: mpsc::Receiver<Command>,
) -> Result<(), EngineError> {
    let (ready, started) = mpsc::sync_channel(1);
    let run = move || match context(&model, &info, threads) {
        Ok(context) => {
            let _ = ready.send(Ok(()));
            Worker::new(context, info).run(&inbox);
        }
        Err(error) => drop(ready.send(Err(error))),
    };
    thread::Builder::new().name("engine".to_owned()).spawn(run).map_err(|e| EngineError::Load(e.to_string()))?;
    started.recv().map_err(|_| EngineError::Gone)?
}

fn context<'m>(model: &'m LlamaModel, info: &EngineInfo, threads: u32) -> Result<LlamaContext<'m>, EngineError> {
    let sequences = info.parallel + info.max_sessions;
    let threads = threads as i32;
    // Each sequence has its own cells (`kv_unified` off): attention then reads the tokens of one
    // prompt only, not everyone's.
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new((info.context_length * sequences) as u32))
        .with_n_seq_max(sequences as u32)
        .with_n_batch(BATCH_TOKENS as u32)
        .with_n_ubatch(BATCH_TOKENS as u32)
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_embeddings(true)
        .with_pooling_type(LlamaPoolingType::None)
        .with_kv_unified(false);
    model.new_context(backend()?, params).map_err(|e| EngineError::Load(e.to_string()))
}

struct Worker<'m> {
    context: LlamaContext<'m>,
    info: EngineInfo,
    /// Places for prompts first, then places for sessions.
    sequences: Vec<Sequence>,
    queue: VecDeque<(Group, Vec<TokenId>, PromptWork)>,
    ends_generation: Vec<bool>,
}

impl<'m> Worker<'m> {
    fn new(context: LlamaContext<'m>, info: EngineInfo) -> Self {
        let mut ends_generation = vec![false; info.vocab_size];
        for token in &info.end_of_generation {
            ends_generation[token.0 as usize] = true;
        }
        let sequences = (0..info.parallel + info.max_sessions).map(|_| Sequence::default()).collect();
        Self { context, info, sequences, queue: VecDeque::new(), ends_generation }
    }

    fn run(mut self, inbox: &mpsc::Receiver<Command>) {
        let mut batch = LlamaBatch::new(BATCH_TOKENS, 1);
        loop {
            for command in inbox.try_iter() {
                self.command(command);
            }
            self.fill_places();
            let runs = plan(&self.sequences);
            if runs.is_empty() {
                match inbox.recv() {
                    Ok(command) => self.command(command),
                    Err(mpsc::RecvError) => return,
                }
            } else if let Err(error) = self.decode(&mut batch, &runs) {
                tracing::error!(%error, "a batch failed");
                self.fail(&runs, &error);
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Extract { group, prompt, rows, reply } => {
                self.queue.push_back((group, prompt, PromptWork { rows, done: PromptRows::default(), reply }));
            }
            Command::Close { sequence } => self.release(sequence),
            Command::Start { sequence, prompt, states, reply } => {
                // What it has decoded was its owner's: a place that is given up is emptied.
                let is_all = states == PromptStates::All;
                self.begin(sequence, prompt, !is_all, Owner::Session(SessionWork::reading(states, reply)));
            }
            Command::Push { sequence, token, reply } => self.push(sequence, token, reply),
        }
    }

    fn push(&mut self, sequence: usize, token: TokenId, reply: Reply<Step>) {
        let place = &mut self.sequences[sequence];
        let refused = if place.decoded.len() + place.pending.len() == 0 {
            Some(EngineError::NotStarted)
        } else if place.decoded.len() + place.pending.len() >= self.info.context_length {
            Some(EngineError::ContextFull(self.info.context_length))
        } else {
            None
        };
        if let Some(error) = refused {
            let _ = reply.send(Err(error));
        } else if let Owner::Session(work) = &mut place.owner {
            place.pending.push(token);
            work.index += 1;
            work.reply = Some(reply);
        }
    }

    /// Gives waiting prompts the places that are free or whose owner has gone away.
    fn fill_places(&mut self) {
        for sequence in 0..self.info.parallel {
            if self.sequences[sequence].abandoned() {
                self.release(sequence);
            }
            if !matches!(self.sequences[sequence].owner, Owner::Free) {
                continue;
            }
            while let Some((group, prompt, work)) = self.queue.pop_front() {
                if !work.reply.is_closed() {
                    let may_go_on = self.sequences[sequence].group == Some(group) && work.rows != Rows::All;
                    self.begin(sequence, prompt, may_go_on, Owner::Prompt(work));
                    self.sequences[sequence].group = Some(group);
                    break;
                }
            }
        }
    }

    /// Gives a place a prompt to read. With `may_go_on`, what the place has decoded of it is not decoded again.
    fn begin(&mut self, sequence: usize, mut prompt: Vec<TokenId>, may_go_on: bool, owner: Owner) {
        let mut begun = if may_go_on { self.sequences[sequence].has_begun(&prompt) } else { 0 };
        if begun == 0 || !self.cut(sequence, begun) {
            self.release(sequence);
            begun = 0;
        }
        let place = &mut self.sequences[sequence];
        place.decoded.truncate(begun);
        place.pending = prompt.split_off(begun);
        place.owner = owner;
    }

    /// Forgets all but a place's first tokens; false where the model's memory cannot be cut, as that of recurrent models.
    fn cut(&mut self, sequence: usize, length: usize) -> bool {
        matches!(self.context.clear_kv_cache_seq(Some(sequence as u32), Some(length as u32), None), Ok(true))
    }

    /// Empties a place.
    fn release(&mut self, sequence: usize) {
        self.sequences[sequence] = Sequence::default();
        if let Err(error) = self.context.clear_kv_cache_seq(Some(sequence as u32), None, None) {
            tracing::error!(%error, sequence, "a sequence could not be cleared");
        }
    }

    fn decode(&mut self, batch: &mut LlamaBatch<'_>, runs: &[Run]) -> Result<(), EngineError> {
        let failed = |error: &dyn std::fmt::Display| EngineError::Decode(error.to_string());
        batch.clear();
        for run in runs {
            let place = &self.sequences[run.sequence];
            for (i, token) in place.pending[..run.tokens].iter().enumerate() {
                let position = (place.decoded.len() + i) as i32;
                batch
                    // Embedding contexts output every token, whatever is asked for here.
                    .add(LlamaToken(token.0 as i32), position, &[run.sequence as i32], true)
                    .map_err(|e| failed(&e))?;
            }
        }
        self.context.decode(batch).map_err(|e| failed(&e))?;
        let mut row = 0;
        for run in runs {
            let place = &mut self.sequences[run.sequence];
            place.decoded.extend(place.pending.drain(..run.tokens));
            let caught_up = place.pending.is_empty();
            for i in 1..=run.tokens {
                self.take_row(run.sequence, row, caught_up && i == run.tokens)?;
                row += 1;
            }
        }
        Ok(())
    }

    /// Hands row `row` of the last decode to the owner of `sequence`.
    fn take_row(&mut self, sequence: usize, row: i32, last: bool) -> Result<(), EngineError> {
        let place = &mut self.sequences[sequence];
        if !last && !place.wants_all() {
            return Ok(());
        }
        let h = self.context.embeddings_ith(row).map_err(|e| EngineError::Decode(e.to_string()))?;
        let logits = self.context.get_logits_ith(row);
        match &mut place.owner {
            Owner::Prompt(work) => {
                let greedy = |may_end: bool| argmax(logits, |i| may_end || !self.ends_generation[i]);
                match work.take(h, last, greedy) {
                    Next::Wait => {}
                    Next::Push(token) => place.pending.push(token),
                    Next::Finished => {
                        if let Owner::Prompt(work) = std::mem::take(&mut place.owner) {
                            let _ = work.reply.send(Ok(work.done));
                        }
                    }
                }
            }
            Owner::Session(work) if !last => work.earlier.extend(h.iter().map(|&x| f16::from_f32(x))),
            Owner::Session(work) => {
                let earlier = std::mem::take(&mut work.earlier);
                if let Some(reply) = work.reply.take() {
                    let greedy = argmax(logits, |_| true);
                    let step = Step { index: work.index, h: h.to_vec(), earlier, logits: logits.to_vec(), greedy };
                    let _ = reply.send(Ok(step));
                }
            }
            Owner::Free => {}
        }
        Ok(())
    }

    /// After a failed decode the cache's state is unknown: whoever took part starts again.
    fn fail(&mut self, runs: &[Run], error: &EngineError) {
        for run in runs {
            self.sequences[run.sequence].fail(error);
            let session = matches!(self.sequences[run.sequence].owner, Owner::Session(_));
            self.release(run.sequence);
            if session {
                self.sequences[run.sequence].owner = Owner::Session(SessionWork::default());
            }
        }
    }
}
