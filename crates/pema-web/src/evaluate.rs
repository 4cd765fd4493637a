//! Generating for the test pairs, and the scores of both outputs.

use pema_core::metrics;

use crate::{
    error::TabError,
    generate::Generator,
    page::Page,
    protocol::{Decoding, EvaluationRow, EvaluationScores, Event, Stage, Variant},
    session::State,
};

/// Evaluates the first `limit` test pairs, with the model alone and with the mixture; with the mixture
/// alone if the model is not to learn it.
pub(crate) async fn evaluate(state: &mut State, page: &Page, decoding: &Decoding, limit: usize) -> Result<(), TabError> {
    let pairs: Vec<_> = state.data()?.test.iter().take(limit).cloned().collect();
    if pairs.is_empty() {
        return Err(TabError::NotYet("there are no test pairs: load a test file with your data"));
    }
    let mut generator = Generator::open(state, page, decoding).await?;
    if !generator.has_adapter() {
        return Err(TabError::NotYet("there is no adapter to evaluate: train one, or select one that fits this model"));
    }
    let (mut plm, mut mixture, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for (index, pair) in pairs.iter().enumerate() {
        page.progress(Stage::Evaluation, index as u64, pairs.len() as u64, "pairs");
        let alone = match generator.compares() {
            true => Some(generator.write(&pair.input, Variant::Plm, drop).await?),
            false => None,
        };
        let mixed = generator.write(&pair.input, Variant::Mixture, drop).await?;
        if mixed.stopped || alone.as_ref().is_some_and(|alone| alone.stopped) {
            break;
        }
        let alone = alone.map(|alone| alone.text);
        page.post(&Event::Evaluating {
            row: EvaluationRow {
                index: index as u32,
                of: pairs.len() as u32,
                input: pair.input.clone(),
                target: pair.target.clone(),
                plm: alone.clone(),
                mixture: mixed.text.clone(),
            },
        });
        plm.extend(alone);
        mixture.push(mixed.text);
        targets.push(pair.target.clone());
    }
    if targets.is_empty() {
        return Err(TabError::Stopped);
    }
    page.post(&Event::Evaluated {
        pairs: targets.len() as u32,
        plm: generator.compares().then(|| scores(&plm, &targets)).transpose()?,
        mixture: scores(&mixture, &targets)?,
        stopped: targets.len() < pairs.len(),
    });
    Ok(())
}

fn scores(outputs: &[String], targets: &[String]) -> Result<EvaluationScores, TabError> {
    Ok(EvaluationScores {
        chrf: metrics::chrf(outputs, targets)?,
        bleu: metrics::bleu(outputs, targets)?,
        exact: metrics::exact_match(outputs, targets)?,
    })
}
