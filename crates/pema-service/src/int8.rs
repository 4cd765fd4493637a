//! The LM head in int8, half the f16 head's download: made from it, and offered if the probe texts have
//! the same loss through either, to within half a percent.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use pema_core::head::{Int8Head, int8_header, quantise};
use pema_core::id::{ContentHash, TokenId};

use crate::engine::{Engine, EngineError, EngineInfo, Group, Rows};
use crate::proof::{LogitRule, PROBES, ProofError, f16_rows, probe_tokens, products};

/// By how much the loss may differ, relative to the f16 head's. Rounding moves each token's by some 0.07
/// either way, so that it takes all of the probe texts' hundreds of tokens to see less than this.
const MAX_LOSS_DIFFERENCE: f64 = 0.005;

/// The f16 head that is rounded.
pub(crate) struct Source<'a> {
    pub path: &'a Path,
    pub hash: &'a ContentHash,
    pub rule: LogitRule,
}

/// The int8 head's file in the folder of exports: that of an earlier start, or a new one. None if it
/// cannot be offered, which the log explains.
///
/// # Errors
/// [`ProofError`] when the engine or a file fails.
pub(crate) fn int8_head(engine: &dyn Engine, source: &Source<'_>, exports: &Path) -> Result<Option<PathBuf>, ProofError> {
    let path = exports.join("head-int8.safetensors");
    if path.exists() {
        return Ok(Some(path));
    }
    tracing::info!("rounding the LM head to int8");
    // Only a proven file gets the name that a later start trusts; services that start at once do not
    // meet in another.
    let unproven = exports.join(format!("head-int8.unproven-{}-{:?}", std::process::id(), std::thread::current().id()));
    write(engine.info(), source, &unproven)?;
    let texts = Predictions::of_probes(engine)?;
    let f16 = texts.loss(engine.info(), source.rule, f16_rows(source.path)?)?;
    let int8 = texts.int8_loss(engine.info(), source.rule, &unproven)?;
    // Written so that NaN fails.
    if (int8 / f16 - 1.0).abs() <= MAX_LOSS_DIFFERENCE {
        tracing::info!(f16, int8, "the int8 head has the f16 head's loss on the probe texts");
        fs::rename(&unproven, &path)?;
        return Ok(Some(path));
    }
    tracing::warn!(
        f16,
        int8,
        "no int8 head is offered: its loss on the probe texts differs from the f16 head's by more than {MAX_LOSS_DIFFERENCE} of it"
    );
    fs::remove_file(&unproven)?;
    Ok(None)
}

fn write(&EngineInfo { vocab_size, hidden_size, .. }: &EngineInfo, source: &Source<'_>, path: &Path) -> io::Result<()> {
    let mut read = f16_rows(source.path)?;
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(&int8_header([vocab_size, hidden_size], source.hash))?;
    let mut rows = vec![0.0; hidden_size];
    let mut entries = vec![0i8; hidden_size];
    let mut scales = Vec::with_capacity(vocab_size);
    for _ in 0..vocab_size {
        read(&mut rows)?;
        scales.push(quantise(&rows, &mut entries));
        out.write_all(bytemuck::cast_slice(&entries))?;
    }
    scales.iter().try_for_each(|scale| out.write_all(&scale.to_le_bytes()))?;
    out.into_inner()?.sync_all()
}

/// Hidden states and the tokens that follow them.
struct Predictions {
    states: Vec<Vec<f32>>,
    next: Vec<TokenId>,
}

impl Predictions {
    fn of_probes(engine: &dyn Engine) -> Result<Self, ProofError> {
        let mut all = Self { states: Vec::new(), next: Vec::new() };
        for (_, text) in PROBES {
            let tokens = probe_tokens(engine, text);
            let rows =
                engine.extract(Group::new(), tokens.clone(), Rows::All).blocking_recv().map_err(|_| EngineError::Gone)??;
            let rows = rows.h.chunks_exact(engine.info().hidden_size).zip(tokens.iter().skip(1));
            // A sequence's first state is like no other, and no prompt ends there.
            for (h, &next) in rows.skip(1) {
                all.states.push(h.iter().map(|x| x.to_f32()).collect());
                all.next.push(next);
            }
        }
        Ok(all)
    }

    /// The mean cross-entropy through a head whose rows `read` gives.
    fn loss(&self, info: &EngineInfo, rule: LogitRule, read: impl FnMut(&mut [f32]) -> io::Result<()>) -> io::Result<f64> {
        let losses = products(info, &self.states, read)?.into_iter().zip(&self.next).map(|(products, next)| {
            let logits = rule.logits(&products);
            let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mass: f64 = logits.iter().map(|logit| f64::from(logit - top).exp()).sum();
            mass.ln() + f64::from(top - logits[next.0 as usize])
        });
        Ok(losses.sum::<f64>() / self.next.len() as f64)
    }

    fn int8_loss(&self, info: &EngineInfo, rule: LogitRule, path: &Path) -> io::Result<f64> {
        let bytes = fs::read(path)?;
        let head = Int8Head::open(&bytes).map_err(io::Error::other)?;
        let mut start = 0;
        self.loss(info, rule, |rows| {
            let end = start + rows.len() / info.hidden_size;
            rows.copy_from_slice(&head.rows(start..end).to_f32());
            start = end;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
