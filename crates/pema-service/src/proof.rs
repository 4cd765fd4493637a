//! The start-up proof: what tabs download computes what the engine computes.
//!
//! A tab trusts the exported tokenizer and LM head. If either disagreed with the engine, training
//! would go wrong without a sign, so the service refuses to start.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use pema_core::id::TokenId;
use pema_core::wire::PromptStates;
use tokenizers::Tokenizer;

use crate::engine::{Engine, EngineError, EngineInfo, Step, argmax};

/// Cosine of recomputed and engine's logits: quantised engines round, so it is not 1.
const MIN_COSINE: f64 = 0.999;
/// Relative error of recomputed logits; the cosine alone would not see a wrong scale.
const MAX_RELATIVE_ERROR: f64 = 0.05;
/// Two largest logits that differ by less than this share of the logits' spread are a tie.
const TIE: f32 = 0.01;
/// Head rows held in memory at once.
pub(crate) const ROWS_AT_ONCE: usize = 1024;

/// Probe texts, by name.
pub(crate) const PROBES: [(&str, &str); 10] = [
    ("English", "The committee didn't expect that we'd finish early, but it's what they'll remember."),
    ("code", "fn main() {\n    let x: Vec<u8> = vec![0x1f; 16];\n\tprintln!(\"{:?} != {}\", x, i32::MAX);\n}\n"),
    ("whitespace", "one  two   three\t\ttabs\n\n\nlines \r\n  and the end   "),
    ("digits", "3.14159 26535 1,000,000 2024-02-29 0xDEADBEEF 1234567890 ½ ٣ Ⅷ"),
    ("German", "Größenwahn, Straßenbahn und Äpfel: „Fünf Füchse“ übten jäh."),
    ("CJK", "機械学習は楽しい。我们在学习语言模型。안녕하세요 세계!"),
    ("emoji", "well 👍🏽 done 🎉🎉 👩‍👩‍👧‍👦 ok ❤️"),
    ("scripts", "Привет, мир! Γειά σου κόσμε. שלום עולם مرحبا नमस्ते"),
    ("punctuation", "¿Qué?! -- \"a\" 'b' (c) [d] {e} <f> @g #h $i %j ^k &l *m ~n `o` |p| \\q/ …"),
    ("markup", "<html><body class='x'>Tom &amp; Jerry</body></html> https://example.org/a?b=c#d"),
];

/// How products with the head become logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitRule {
    /// Factor.
    pub scale: f32,
    /// Bound of the tanh, if there is one.
    pub softcap: Option<f32>,
}

/// What does not agree.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The two tokenisations differ.
    #[error(
        "on the probe text `{probe}` the exported tokenizer gives {ours} tokens and the model {theirs}, different from \
         place {place} on: give the model's own tokenizer with `--tokenizer FILE`"
    )]
    Tokens {
        /// Probe's name.
        probe: String,
        /// Number of ids.
        ours: usize,
        /// Number of ids.
        theirs: usize,
        /// First difference.
        place: usize,
    },
    /// Decoding does not give the text back.
    #[error("the exported tokenizer does not give the probe text `{probe}` back: it gives {text:?}")]
    Decode {
        /// Probe's name.
        probe: String,
        /// What decoding gave.
        text: String,
    },
    /// The tokenizers library failed.
    #[error("the exported tokenizer fails on the probe text `{0}`: {1}")]
    Tokenizer(String, String),
    /// The logits differ.
    #[error(
        "on the probe text `{probe}` the exported LM head gives other logits than the model (cosine {cosine:.5}, \
         relative error {error:.4}, same best token: {same_argmax}): its last layer is more than norm and head"
    )]
    Logits {
        /// Probe's name.
        probe: String,
        /// Cosine of the two vectors of logits.
        cosine: f64,
        /// Length of their difference over the length of the engine's.
        error: f64,
        /// Whether the largest logit is the same token's.
        same_argmax: bool,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The head's file.
    #[error("the exported LM head cannot be read: {0}")]
    Head(#[from] std::io::Error),
}

/// Checks that the tokenizer gives the engine's ids and the text back.
///
/// # Errors
/// [`ProofError`] names the probe.
pub fn tokenizer_agrees(engine: &dyn Engine, tokenizer: &Tokenizer) -> Result<(), ProofError> {
    let special = special_probe(engine, tokenizer);
    let probes = PROBES.iter().map(|&(name, text)| (name, text.to_owned()));
    for (name, text) in probes.chain(special.map(|text| ("special tokens", text))) {
        let failed = |e: tokenizers::Error| ProofError::Tokenizer(name.to_owned(), e.to_string());
        let encoding = tokenizer.encode_fast(text.as_str(), false).map_err(failed)?;
        let ours: Vec<TokenId> = encoding.get_ids().iter().map(|&id| TokenId(id)).collect();
        let theirs = engine.tokenize(&text);
        if ours != theirs {
            let place = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            return Err(ProofError::Tokens { probe: name.to_owned(), ours: ours.len(), theirs: theirs.len(), place });
        }
        let back = tokenizer.decode(encoding.get_ids(), false).map_err(failed)?;
        if back != text {
            return Err(ProofError::Decode { probe: name.to_owned(), text: back });
        }
    }
    Ok(())
}

/// Chat templates put the model's special tokens into prompts, so these must agree as well.
/// Not decoded through SentencePiece, which loses spaces around them: then this is left out.
fn special_probe(engine: &dyn Engine, tokenizer: &Tokenizer) -> Option<String> {
    tokenizer.get_normalizer().is_none().then_some(())?;
    let ends: Vec<String> = engine.info().end_of_generation.iter().filter_map(|token| tokenizer.id_to_token(token.0)).collect();
    (!ends.is_empty()).then(|| format!("before{}after {}\n", ends.join(""), ends.join(" ")))
}

/// Finds the rule by which the head's products give the engine's logits on every probe.
///
/// # Errors
/// [`ProofError::Logits`] of the best rule when none fits.
pub fn head_agrees(engine: &dyn Engine, head: &Path, rules: &[LogitRule]) -> Result<LogitRule, ProofError> {
    let steps = PROBES.iter().map(|(_, text)| probe_step(engine, text)).collect::<Result<Vec<_>, _>>()?;
    // As on the wire.
    let states: Vec<Vec<f32>> = steps.iter().map(|step| step.h.iter().map(|&x| f16::from_f32(x).to_f32()).collect()).collect();
    let products = products(engine.info(), &states, f16_rows(head)?)?;
    let mut best: Option<(f64, LogitRule, Result<(), ProofError>)> = None;
    for &rule in rules {
        let mut worst = 0.0f64;
        let mut outcome = Ok(());
        for (((name, _), step), products) in PROBES.iter().zip(&steps).zip(&products) {
            let agreement = Agreement::of(&rule.logits(products), &step.logits);
            if agreement.error > worst || worst == 0.0 {
                worst = agreement.error;
            }
            if outcome.is_ok() {
                outcome = agreement.verdict(name);
            }
        }
        if best.as_ref().is_none_or(|(error, ..)| worst < *error) {
            best = Some((worst, rule, outcome));
        }
    }
    let (_, rule, outcome) = best.unwrap_or((0.0, LogitRule { scale: 1.0, softcap: None }, Ok(())));
    outcome.map(|()| rule)
}

fn probe_step(engine: &dyn Engine, text: &str) -> Result<Step, ProofError> {
    let step =
        engine.open()?.start(probe_tokens(engine, text), PromptStates::Last).blocking_recv().map_err(|_| EngineError::Gone)?;
    Ok(step?)
}

pub(crate) fn probe_tokens(engine: &dyn Engine, text: &str) -> Vec<TokenId> {
    let info = engine.info();
    let mut tokens: Vec<TokenId> = info.bos.into_iter().chain(engine.tokenize(text)).collect();
    tokens.truncate(info.context_length);
    tokens
}

/// `W_hd h` for every state; `read` fills blocks of the head's rows, in their order.
pub(crate) fn products(
    info: &EngineInfo,
    states: &[Vec<f32>],
    mut read: impl FnMut(&mut [f32]) -> std::io::Result<()>,
) -> std::io::Result<Vec<Vec<f32>>> {
    let &EngineInfo { vocab_size, hidden_size, .. } = info;
    let mut products = vec![Vec::with_capacity(vocab_size); states.len()];
    let mut block = vec![0.0f32; ROWS_AT_ONCE * hidden_size];
    for start in (0..vocab_size).step_by(ROWS_AT_ONCE) {
        let rows = &mut block[..ROWS_AT_ONCE.min(vocab_size - start) * hidden_size];
        read(rows)?;
        for (h, out) in states.iter().zip(&mut products) {
            out.extend(rows.chunks_exact(hidden_size).map(|row| dot(row, h)));
        }
    }
    Ok(products)
}

/// Reads the f16 head's file from its first row on.
pub(crate) fn f16_rows(head: &Path) -> std::io::Result<impl FnMut(&mut [f32]) -> std::io::Result<()>> {
    let mut file = File::open(head)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    file.seek(SeekFrom::Current(i64::try_from(u64::from_le_bytes(length)).unwrap_or(i64::MAX)))?;
    let mut halves = Vec::new();
    Ok(move |rows: &mut [f32]| {
        halves.resize(rows.len(), f16::ZERO);
        file.read_exact(bytemuck::cast_slice_mut(&mut halves))?;
        halves.convert_to_f32_slice(rows);
        Ok(())
    })
}

/// With as many sums as keep a processor busy.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    rest + sums.iter().sum::<f32>()
}

impl LogitRule {
    pub(crate) fn logits(self, products: &[f32]) -> Vec<f32> {
        let cap = |x: f32| self.softcap.map_or(x, |cap| cap * (x / cap).tanh());
        products.iter().map(|&x| cap(self.scale * x)).collect()
    }
}

/// How near two vectors of logits are.
struct Agreement {
    cosine: f64,
    error: f64,
    same_argmax: bool,
}

impl Agreement {
    fn of(ours: &[f32], theirs: &[f32]) -> Self {
        let sum =
            |f: &dyn Fn(f64, f64) -> f64| ours.iter().zip(theirs).map(|(&a, &b)| f(f64::from(a), f64::from(b))).sum::<f64>();
        let (aa, bb, ab) = (sum(&|a, _| a * a), sum(&|_, b| b * b), sum(&|a, b| a * b));
        let (our_best, their_best) = (argmax(ours, |_| true).0 as usize, argmax(theirs, |_| true).0 as usize);
        let lowest = theirs.iter().copied().fold(f32::INFINITY, f32::min);
        let tie = TIE * (theirs[their_best] - lowest);
        Self {
            cosine: ab / (aa * bb).sqrt(),
            error: (sum(&|a, b| (a - b).powi(2)) / bb).sqrt(),
            same_argmax: theirs[their_best] - theirs[our_best] <= tie,
        }
    }

    fn verdict(&self, probe: &str) -> Result<(), ProofError> {
        // Written so that NaN fails.
        if self.cosine > MIN_COSINE && self.error < MAX_RELATIVE_ERROR && self.same_argmax {
            return Ok(());
        }
        let &Self { cosine, error, same_argmax } = self;
        Err(ProofError::Logits { probe: probe.to_owned(), cosine, error, same_argmax })
    }
}

#[cfg(test)]
mod tests;
