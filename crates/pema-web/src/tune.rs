//! Trying mixtures on validation pairs: that whose texts are best is the one to use.

use pema_core::{
    schedule::{Mix, Mixing},
    tuning::{Trials, Tried},
};

use crate::{
    error::TabError,
    generate::Generator,
    page::Page,
    protocol::{Decoding, Event, MixingKind, Mixture, ScheduleKind, Stage, TriedMixture, Variant},
    session::State,
};

/// Tries the mixtures that fit the adapter on the first `limit` validation pairs.
pub(crate) async fn tune(state: &mut State, page: &Page, decoding: &Decoding, limit: usize) -> Result<(), TabError> {
    if decoding.consult.is_some() {
        return Err(TabError::NotYet("mixtures are tried where the model is asked at every token: choose that"));
    }
    let pairs: Vec<_> = state.data()?.validation.iter().take(limit).cloned().collect();
    if pairs.is_empty() {
        return Err(TabError::NotYet("there are no validation pairs: load some, or set a part of your pairs aside"));
    }
    // Any adapter can be mixed so.
    let decoding = Decoding { mixture: mixture(Mix { mixing: Mixing::Geometric, lambda: 0.5 }), ..decoding.clone() };
    let mut generator = Generator::open(state, page, &decoding).await?;
    if !generator.has_adapter() {
        return Err(TabError::NotYet("there is no adapter to mix: train one, or select one that fits this model"));
    }
    let mut trials = Trials::new(generator.has_contrast(), pairs.iter().map(|pair| pair.target.clone()).collect());
    let mut stopped = false;
    while let Some((mix, pair)) = trials.next() {
        let (done, of) = trials.progress();
        page.progress(Stage::Tuning, done as u64, of as u64, "texts");
        generator.mix(mixture(mix));
        let written = generator.write(&pairs[pair].input, Variant::Mixture, drop).await?;
        stopped = written.stopped;
        if stopped {
            break;
        }
        if let Some(Tried { mix, pairs, chrf }) = trials.push(written.text)? {
            page.post(&Event::Tried { tried: TriedMixture { mixture: mixture(mix), pairs: pairs as u32, chrf } });
        }
    }
    let best = trials.best().ok_or(TabError::Stopped)?;
    page.post(&Event::Tuned { mixture: mixture(best), stopped });
    Ok(())
}

fn mixture(Mix { mixing, lambda }: Mix) -> Mixture {
    let mixing = match mixing {
        Mixing::Arithmetic => MixingKind::Arithmetic,
        Mixing::Geometric => MixingKind::Geometric,
        Mixing::Contrast => MixingKind::Contrast,
    };
    Mixture { mixing, schedule: ScheduleKind::Constant, lambda_max: lambda }
}
