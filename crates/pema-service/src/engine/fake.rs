//! An engine for tests: a "model" whose hidden state depends on the last token and the length.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use half::f16;
use pema_core::id::TokenId;
use pema_core::wire::PromptStates;
use tokio::sync::{Semaphore, oneshot};

use super::{Engine, EngineError, EngineInfo, Group, Pending, PromptRows, Rows, Session, Step, argmax};

#[derive(Clone)]
pub(crate) struct FakeEngine {
    pub info: EngineInfo,
    /// `[v, d]`, values that f16 holds exactly.
    pub head: Arc<Vec<f32>>,
    pub scale: f32,
    pub softcap: Option<f32>,
    /// A permit for every prompt that may be answered.
    pub gate: Arc<Semaphore>,
    pub asked: Arc<AtomicUsize>,
}

impl FakeEngine {
    pub(crate) fn new(hidden_size: usize, vocab_size: usize) -> Self {
        let info = EngineInfo {
            name: "fake".to_owned(),
            hidden_size,
            vocab_size,
            context_length: 256,
            parallel: 2,
            max_sessions: 1,
            bos: None,
            eos: TokenId(0),
            end_of_generation: vec![TokenId(0)],
        };
        let weight = |i: usize| f16::from_f32(((i * 37 + i / 7) as f32).sin()).to_f32();
        let head = Arc::new((0..hidden_size * vocab_size).map(weight).collect());
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { info, head, scale: 1.0, softcap: None, gate, asked: Arc::default() }
    }

    fn step(&self, sequence: &[TokenId], index: u32) -> Step {
        let last = sequence.last().map_or(0, |token| token.0) as usize;
        let entry = |j: usize| f16::from_f32(((last * 13 + sequence.len() * 5 + j) as f32).sin()).to_f32();
        let h: Vec<f32> = (0..self.info.hidden_size).map(entry).collect();
        let rule = crate::proof::LogitRule { scale: self.scale, softcap: self.softcap };
        let product = |row: &[f32]| row.iter().zip(&h).map(|(a, b)| a * b).sum();
        let products: Vec<f32> = self.head.chunks(self.info.hidden_size).map(product).collect();
        let logits = rule.logits(&products);
        let greedy = argmax(&logits, |_| true);
        Step { index, h, earlier: Vec::new(), logits, greedy }
    }

    fn rows(&self, mut sequence: Vec<TokenId>, rows: Rows) -> PromptRows {
        let (from, steps) = match rows {
            Rows::Steps(steps) => (sequence.len(), steps),
            Rows::Last => (sequence.len(), 1),
            Rows::All => (1, sequence.len()),
        };
        let mut done = PromptRows::default();
        for length in from..from + steps {
            let step = self.step(&sequence[..length], 0);
            done.h.extend(step.h.iter().map(|&x| f16::from_f32(x)));
            done.tokens.push(step.greedy);
            sequence.push(step.greedy);
        }
        done
    }
}

impl Engine for FakeEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn tokenize(&self, text: &str) -> Vec<TokenId> {
        text.bytes().map(|b| TokenId(u32::from(b) % self.info.vocab_size as u32)).collect()
    }

    fn extract(&self, _: Group, prompt: Vec<TokenId>, rows: Rows) -> Pending<PromptRows> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (reply, answer) = oneshot::channel();
        let engine = self.clone();
        tokio::spawn(async move {
            if let Ok(permit) = engine.gate.acquire().await {
                permit.forget();
                let _ = reply.send(Ok(engine.rows(prompt, rows)));
            }
        });
        answer
    }

    fn open(&self) -> Result<Box<dyn Session>, EngineError> {
        Ok(Box::new(FakeSession { engine: self.clone(), sequence: Vec::new(), index: 0 }))
    }
}

struct FakeSession {
    engine: FakeEngine,
    sequence: Vec<TokenId>,
    index: u32,
}

impl FakeSession {
    fn answer(&self, earlier: Vec<f16>) -> Pending<Step> {
        let (reply, answer) = oneshot::channel();
        let _ = reply.send(Ok(Step { earlier, ..self.engine.step(&self.sequence, self.index) }));
        answer
    }
}

impl Session for FakeSession {
    fn start(&mut self, prompt: Vec<TokenId>, states: PromptStates) -> Pending<Step> {
        let mut earlier = self.engine.rows(prompt.clone(), Rows::All).h;
        earlier.truncate(states.earlier(prompt.len()) * self.engine.info.hidden_size);
        (self.sequence, self.index) = (prompt, 0);
        self.answer(earlier)
    }

    fn push(&mut self, token: TokenId) -> Pending<Step> {
        self.sequence.push(token);
        self.index += 1;
        self.answer(Vec::new())
    }
}
