//! The head in int8.

use half::f16;
use pema_core::head::Int8Head;
use pema_core::id::{ContentHash, TokenId};
use pema_core::wire::{MemoryKind, ModelCard, PromptSpec};
use tokenizers::Tokenizer;

use crate::rows::shard;
use crate::running::{Service, config, tokens};

#[test]
fn the_int8_head_is_half_the_download_and_predicts_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(&config(dir.path()));
    let card: ModelCard = service.get("/v1/model", &[]).json();
    let artifact = card.head_int8.as_ref().expect("the default model's head is good in int8");
    assert!(artifact.bytes < card.head.bytes * 51 / 100, "{} of {}", artifact.bytes, card.head.bytes);

    let etag = format!("\"{}\"", artifact.sha256);
    let whole = service.get("/v1/head/int8", &[]);
    assert_eq!((whole.status(), whole.header("etag"), whole.0.body().len() as u64), (200, etag.as_str(), artifact.bytes));
    assert_eq!(ContentHash::of(whole.0.body()), artifact.sha256);
    assert_eq!(service.get("/v1/head/int8", &[("if-none-match", &etag)]).status(), 304);
    let rest = service.get("/v1/head/int8", &[("range", "bytes=1000000-"), ("if-range", &etag)]);
    assert_eq!((rest.status(), rest.0.body().as_slice()), (206, &whole.0.body()[1_000_000..]));

    let int8 = Int8Head::open(whole.0.body()).unwrap();
    assert_eq!((int8.shape(), int8.f16()), ([49152, 576], &card.head.sha256));
    let f16 = service.get("/v1/head", &[]);
    let f16 = safetensors::SafeTensors::deserialize(f16.0.body()).unwrap();
    let f16 = f16.tensor("w_hd").unwrap();
    let halves = |row: usize| f16.data()[row * 1152..][..1152].chunks(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32());
    // Other texts than the start-up proof's, and enough tokens for rounding to even out.
    let tokenizer = Tokenizer::from_bytes(service.get("/v1/tokenizer.json", &[]).0.body()).unwrap();
    let sample = include_str!("../../../../web/public/samples/formality.train.jsonl");
    let prompt = |pair: &str| {
        let pair: serde_json::Value = serde_json::from_str(pair).unwrap();
        tokens(tokenizer.encode_fast(pair["target"].as_str().unwrap(), false).unwrap().get_ids())
    };
    let prompts: Vec<Vec<TokenId>> = sample.lines().take(16).map(prompt).collect();
    let spec = |tokens: &Vec<TokenId>| PromptSpec { tokens: tokens.clone(), steps: 0 };
    let all = shard(&service, &service.memory(MemoryKind::PromptAll, prompts.iter().map(spec).collect()));
    let goes_on = |&i: &usize| all.prompt[i] == all.prompt[i + 1];
    let prediction = |i: usize| -> (Vec<f32>, TokenId) {
        let next = prompts[all.prompt[i] as usize][all.step[i] as usize + 1];
        (all.row(i).iter().map(|x| x.to_f32()).collect(), next)
    };
    let states: Vec<_> = (0..all.rows() - 1).filter(goes_on).map(prediction).collect();
    assert!(states.len() > 150, "{}", states.len());
    let (exact, rounded) = (loss(&states, |row| halves(row).collect()), loss(&states, |row| int8.rows(row..row + 1).to_f32()));
    assert!((rounded / exact - 1.0).abs() < 0.005, "{rounded} instead of {exact}");
}

/// With several sums, because there are many products.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        (0..8).for_each(|k| sums[k] += a[k] * b[k]);
    }
    sums.iter().sum()
}

/// Mean cross-entropy of the tokens after their states, through a head of these rows.
fn loss(states: &[(Vec<f32>, TokenId)], row: impl Fn(usize) -> Vec<f32>) -> f64 {
    let mut mass = vec![0.0f64; states.len()];
    let mut target = vec![0.0f64; states.len()];
    for v in 0..49152 {
        let row = row(v);
        for (i, (h, next)) in states.iter().enumerate() {
            let logit = f64::from(dot(h, &row));
            // No logit of this model is near f64's largest exponent.
            mass[i] += logit.exp();
            if next.0 == v as u32 {
                target[i] = logit;
            }
        }
    }
    mass.iter().zip(&target).map(|(mass, target)| mass.ln() - target).sum::<f64>() / states.len() as f64
}
