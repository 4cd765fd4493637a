//! Trying mixtures on validation pairs: that whose texts are best is the one to use.

use pema_core::{metrics, schedule::Mixing, tuning};

use crate::{
    error::TabError,
    generate::Generator,
    page::Page,
    protocol::{Decoding, Event, MixingKind, Mixture, ScheduleKind, Stage, TriedMixture, Variant},
    session::State,
};

/// Writes the first `limit` validation pairs' texts with each mixture that fits the adapter.
pub(crate) async fn tune(state: &mut State, page: &Page, decoding: &Decoding, limit: usize) -> Result<(), TabError> {
    if decoding.consult.is_some() {
        return Err(TabError::NotYet("mixtures are tried where the model is asked at every token: choose that"));
    }
    let pairs: Vec<_> = state.data()?.validation.iter().take(limit).cloned().collect();
    if pairs.is_empty() {
        return Err(TabError::NotYet("there are no validation pairs: load some, or set a part of your pairs aside"));
    }
    let targets: Vec<&str> = pairs.iter().map(|pair| pair.target.as_str()).collect();
    // Any adapter can be mixed so.
    let decoding = Decoding { mixture: mixture(Mixing::Geometric, 0.5), ..decoding.clone() };
    let mut generator = Generator::open(state, page, &decoding).await?;
    if !generator.has_adapter() {
        return Err(TabError::NotYet("there is no adapter to mix: train one, or select one that fits this model"));
    }
    let mixtures: Vec<_> = tuning::mixtures(generator.has_contrast()).map(|mix| mixture(mix.mixing, mix.lambda)).collect();
    let (of, mut done) = ((mixtures.len() * pairs.len()) as u64, 0);
    let (mut scores, mut stopped) = (Vec::new(), false);
    'all: for &mixture in &mixtures {
        generator.mix(mixture);
        let mut texts = Vec::new();
        for pair in &pairs {
            page.progress(Stage::Tuning, done, of, "texts");
            let written = generator.write(&pair.input, Variant::Mixture, drop).await?;
            stopped = written.stopped;
            if stopped {
                break 'all;
            }
            texts.push(written.text);
            done += 1;
        }
        let chrf = metrics::chrf(&texts, &targets)?;
        page.post(&Event::Tried { tried: TriedMixture { mixture, chrf } });
        scores.push(chrf);
    }
    let best = tuning::best(&scores).ok_or(TabError::Stopped)?;
    page.post(&Event::Tuned { mixture: mixtures[best], stopped });
    Ok(())
}

fn mixture(mixing: Mixing, lambda_max: f32) -> Mixture {
    let mixing = match mixing {
        Mixing::Arithmetic => MixingKind::Arithmetic,
        Mixing::Geometric => MixingKind::Geometric,
        Mixing::Contrast => MixingKind::Contrast,
    };
    Mixture { mixing, schedule: ScheduleKind::Constant, lambda_max }
}
