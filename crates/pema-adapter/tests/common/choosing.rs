//! A device's choices of tokens against the CPU's, on the same f16 head.

use pema_adapter::{Hidden, MemoryBuilder, Mixer, Picked, Vocabulary};
use pema_core::align::{Contexts, Targets};
use pema_core::memory::Shard;
use pema_core::prepare::Prepared;
use pema_core::sampling::{Choice, Chooser, Sampling, repeats};
use pema_core::schedule::{Mix, Mixing};
use pema_core::wire::PromptSpec;

use super::*;

/// Vocabularies of one tile and of several.
const SHORT: usize = 31;
const LONG: usize = 1000;

/// What has contrast takes the kernels of the others and one more: one vocabulary each will do.
const CASES: [(usize, Kind); 7] = [
    (SHORT, Kind::Paper),
    (LONG, Kind::Paper),
    (SHORT, Kind::LooksBack),
    (LONG, Kind::LooksBack),
    (SHORT, Kind::Contrast),
    (LONG, Kind::ContrastLooksBack),
    (SHORT, Kind::Residual),
];

const D: usize = 16;

/// Of running sums of probabilities.
const ROUNDING: f32 = 1e-5;

/// The PLM alone, all mixtures, the adapter alone and with contrast alone; contrast last.
const MIXES: [Mix; 6] = [
    Mix::PLM,
    Mix { mixing: Mixing::Arithmetic, lambda: 0.3 },
    Mix { mixing: Mixing::Geometric, lambda: 0.3 },
    Mix::ADAPTER,
    Mix { mixing: Mixing::Contrast, lambda: 0.3 },
    Mix { mixing: Mixing::Contrast, lambda: 1.0 },
];

/// Temperature, top-k, top-p: each alone, none and all.
const SETTINGS: [(f32, usize, f32); 5] = [(1.0, 0, 1.0), (0.5, 0, 1.0), (1.0, 5, 1.0), (1.0, 0, 0.6), (1.4, 20, 0.8)];

fn halves(count: usize, width: f32, seed: u64) -> Vec<half::f16> {
    noise(count, width, seed).into_iter().map(half::f16::from_f32).collect()
}

fn tokens<const N: usize>(ids: [usize; N]) -> [TokenId; N] {
    ids.map(|id| TokenId(id as u32))
}

/// Tokens of the prompt.
const PROMPT: usize = 7;

/// A prompt with repeated tokens, the first and the last of the vocabulary among them.
fn prompt(v: usize) -> [TokenId; PROMPT] {
    tokens([3, 7, v - 1, 3, 0, 7, 3])
}

/// What an adapter has beside what the paper's has.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Nothing: it sees contexts of steps alone.
    Paper,
    /// All that there is to look back at, in contexts of the prompt, and a small vocabulary.
    LooksBack,
    /// Contrast alone.
    Contrast,
    /// With all that there is to look back at in contexts of steps, and a small vocabulary.
    ContrastLooksBack,
    /// A change to the PLM's own predictions, learned over a small vocabulary.
    Residual,
}

impl Kind {
    fn config(self) -> AdapterConfig {
        let paper = small_config();
        let vocabulary = Vocabulary::Met { top_k: 3 };
        let looks_back = AdapterConfig { prefix: 2, recall: true, copy: true, vocabulary, ..paper.clone() };
        // Targets must move it, or it leaves the PLM as it is.
        let contrast = |config| AdapterConfig { contrast: true, kappa: 0.0, lr: 3e-2, ..config };
        match self {
            Self::Paper => paper,
            Self::LooksBack => AdapterConfig { contexts: Contexts::PromptAll, attend: true, ..looks_back },
            Self::Contrast => contrast(paper),
            Self::ContrastLooksBack => contrast(looks_back),
            Self::Residual => AdapterConfig { residual: true, kappa: 0.0, lr: 3e-2, ..looks_back },
        }
    }

    /// The mixtures that it has.
    fn mixes(self) -> &'static [Mix] {
        match self {
            Self::Paper | Self::LooksBack | Self::Residual => &MIXES[..4],
            Self::Contrast | Self::ContrastLooksBack => &MIXES,
        }
    }
}

/// An adapter's file.
async fn adapter_file(head: &Head, kind: Kind) -> Vec<u8> {
    let (pairs, steps, config) = (8, 5, kind.config());
    let (contexts, keeps_runs) = (config.contexts, config.needs_runs());
    let rows_each = if contexts == Contexts::PromptAll { PROMPT as u32 } else { steps };
    let word = |pair: u32, i: u32| TokenId(1 + (pair * 7 + i * 13) % (head.v() as u32 - 1));
    let target = |pair| (1..steps).map(|i| word(pair, i)).chain([TokenId(0)]).collect();
    let prepared = Prepared {
        prompts: (0..pairs).map(|_| PromptSpec { tokens: prompt(head.v()).to_vec(), steps }).collect(),
        targets: Targets::new((0..pairs).map(target).collect(), TokenId(0)).unwrap(),
        source_lens: vec![1; pairs as usize],
    };
    let rows = pairs * rows_each;
    let shard = Shard {
        h: halves(rows as usize * D, 1.0, 4),
        hidden_size: D,
        prompt: (0..rows).map(|i| i / rows_each).collect(),
        step: (0..rows).map(|i| i % rows_each).collect(),
        token: (0..rows).map(|i| word(i / rows_each + 3, i % rows_each)).collect(),
    };
    let memory = MemoryBuilder::new(&prepared, contexts, D, pairs - 2);
    let mut memory = if keeps_runs { memory.keep_runs() } else { memory };
    memory.add(0, &shard).unwrap();
    let mut trainer = Trainer::new(config, memory.finish().unwrap(), head.clone(), model(), Device::flex()).await.unwrap();
    while !trainer.is_done() {
        trainer.step().await.unwrap();
    }
    trainer.adapter().unwrap().export("choosing").await.unwrap()
}

/// The likeliest token, and draws of two seeds with each of the settings.
fn choices() -> Vec<Choice> {
    let draws = SETTINGS.iter().flat_map(|&(temperature, top_k, top_p)| {
        (0..2).map(move |seed| Chooser::new(Some(Sampling { temperature, top_k, top_p, seed })).unwrap().choice())
    });
    [Choice::Greedy].into_iter().chain(draws).collect()
}

/// A choice, and the same with draws just before and after its own: where a draw falls between two
/// tokens, rounding tells which.
fn near(choice: Choice) -> Vec<Choice> {
    match choice {
        Choice::Greedy => vec![choice],
        Choice::Draw(sampling, u) => [0.0, -ROUNDING, ROUNDING].map(|by| Choice::Draw(sampling, u + by)).into(),
    }
}

#[track_caller]
fn assert_one_of(expected: &[Picked], ours: Picked, what: &str) {
    let same = expected.iter().find(|expected| expected.token == ours.token);
    let same = same.unwrap_or_else(|| panic!("{what}: {ours:?} instead of {expected:?}"));
    assert_eq!(ours.p_plm.is_some(), same.p_plm.is_some(), "{what}");
    let numbers = |picked: &Picked| [picked.p_pema, picked.p_plm.unwrap_or(0.0), picked.p_mixture];
    assert_close(&numbers(&ours), &numbers(same).map(f64::from), 1e-4, what);
    assert_close(&[ours.entropy], &[same.entropy.into()], 1e-4, what);
}

/// Tokens and their probabilities are the CPU's: of several mixtures and of the adapter
/// alone, with and without copying and contrast, and with tokens ruled out that are likely.
pub async fn assert_same_choices(device: &Device) {
    for (v, kind) in CASES {
        let adapter = adapter_file(&lm_head(v, &Device::flex()), kind).await;
        let flex = Device::flex();
        let [ours, plain] = [device, &flex].map(|device| mixer(lm_head(v, device), &adapter, device));
        assert_same_mixtures(&ours, &plain, v, kind).await;
        if plain.private().is_ok() {
            assert_same_alone(&ours, &plain, v).await;
        }
    }
}

fn lm_head(v: usize, device: &Device) -> Head {
    let values: Vec<f32> = halves(v * D, 1.0, 99).iter().map(|x| x.to_f32()).collect();
    Head::from_safetensors(&head_file(&values, v, D), 1.0, Some(9.0), device).unwrap()
}

fn mixer(head: Head, adapter: &[u8], device: &Device) -> Mixer {
    let (_, adapter) = Adapter::import(adapter, head.hash(), device).unwrap();
    Mixer::new(head, Some(adapter), device.clone())
}

/// A device that writes with an adapter, and what it writes after.
pub struct Writer {
    mixer: Mixer,
    mix: Mix,
    h: [Vec<half::f16>; 2],
}

impl Writer {
    /// With an adapter of this kind.
    pub async fn new(device: &Device, kind: Kind) -> Self {
        let adapter = adapter_file(&lm_head(LONG, &Device::flex()), kind).await;
        let mixer = mixer(lm_head(LONG, device), &adapter, device);
        let mix = if mixer.has_contrast() { MIXES[4] } else { MIXES[1] };
        Self { mixer, mix, h: [halves(PROMPT * D, 2.0, 1), halves(D, 2.0, 2)] }
    }

    /// One token of a mixture, with contrast if it has it, drawn with every setting.
    pub async fn write(&self) {
        let hidden = Hidden { prompt: &self.h[0], current: &self.h[1] };
        let sampling = Sampling { temperature: 1.4, top_k: 20, top_p: 0.8, seed: 0 };
        let choice = Choice::Draw(sampling, 0.5);
        self.mixer.choose(hidden, &prompt(LONG), &tokens([3, 7]), self.mix, choice, &[]).await.unwrap();
    }
}

async fn assert_same_mixtures(ours: &Mixer, plain: &Mixer, v: usize, kind: Kind) {
    let (h_prompt, h) = (halves(PROMPT * D, 2.0, 1), halves(D, 2.0, 2));
    let (hidden, prompt) = (Hidden { prompt: &h_prompt, current: &h }, prompt(v));
    // Each choice with some of the mixtures and repeats, all with some of the choices.
    let mut turn = 0..;
    for &mix in kind.mixes() {
        // After the last token, the text so far has already had the likeliest.
        let mut written = tokens([5, 0, 5]);
        written[1] = plain.choose(hidden, &prompt, &written, mix, Choice::Greedy, &[]).await.unwrap().token;
        for no_repeat in [0, 1, 2] {
            let ruled_out = repeats(&written, no_repeat);
            for choice in choices().into_iter().skip(turn.next().unwrap_or(0) % 3).step_by(3) {
                let mut expected = Vec::new();
                for choice in near(choice) {
                    expected.push(plain.choose(hidden, &prompt, &written, mix, choice, &ruled_out).await.unwrap());
                }
                let ours = ours.choose(hidden, &prompt, &written, mix, choice, &ruled_out).await.unwrap();
                let what = format!("v {v}, {kind:?}, {mix:?}, no repeat {no_repeat}, {choice:?}");
                assert!(!ruled_out.contains(&ours.token), "{what}");
                assert_one_of(&expected, ours, &what);
            }
        }
    }
}

async fn assert_same_alone(ours: &Mixer, plain: &Mixer, v: usize) {
    let (h, prompt, written) = (halves(PROMPT * D, 2.0, 1), prompt(v), tokens([3, 7]));
    let (ours, plain) = (ours.private().unwrap(), plain.private().unwrap());
    for choice in choices() {
        let mut expected = Vec::new();
        for choice in near(choice) {
            expected.push(plain.choose(&h, &prompt, &written, choice, &[]).await.unwrap());
        }
        let ours = ours.choose(&h, &prompt, &written, choice, &[]).await.unwrap();
        assert_one_of(&expected, ours, &format!("v {v}, alone, {choice:?}"));
    }
}
