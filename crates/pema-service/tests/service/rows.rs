//! Hidden states: those of a memory and of a stream are each other's, and the model's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use half::f16;
use pema_core::id::{ContentHash, TokenId};
use pema_core::memory::Shard;
use pema_core::wire::frame::FrameLogits;
use pema_core::wire::{ClientMessage, LogitsMode, MemoryKind, MemoryManifest, MemoryState, ModelCard, PromptSpec, PromptStates};
use tokenizers::Tokenizer;

use crate::running::{ALICE, ORIGIN, Service, config, tokens};

fn prompts(service: &Service) -> Vec<Vec<TokenId>> {
    let tokenizer = Tokenizer::from_bytes(service.get("/v1/tokenizer.json", &[]).0.body()).unwrap();
    let texts = [
        "Make it formal: gonna be late, sry\nFormal:",
        "The capital of France is",
        "1, 2, 3, 4,",
        "Once upon a time, in a village by the sea, there lived a clockmaker who",
        "def fibonacci(n):",
        "Say hi.",
    ];
    texts.iter().map(|text| tokens(tokenizer.encode_fast(*text, false).unwrap().get_ids())).collect()
}

pub fn shard(service: &Service, manifest: &MemoryManifest) -> Shard {
    assert_eq!(manifest.state, MemoryState::Done);
    assert_eq!((manifest.rows_done, manifest.shards.len()), (manifest.rows, 1));
    let answer = service.get(&format!("/v1/memories/{}/shards/0", manifest.id), &[]);
    Shard::open(answer.0.body(), &manifest.shards[0], manifest.hidden_size as usize).unwrap()
}

fn cosine(a: &[f16], b: &[f16]) -> f32 {
    let dot = |a: &[f16], b: &[f16]| a.iter().zip(b).map(|(a, b)| a.to_f32() * b.to_f32()).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// To within f16, whose numbers are 2^-11 apart, and the engine's own rounding in batches of other sizes.
fn is_close(a: &[f16], b: &[f16]) -> bool {
    let square = |x: f32| x * x;
    let difference: f32 = a.iter().zip(b).map(|(a, b)| square(a.to_f32() - b.to_f32())).sum();
    let size: f32 = b.iter().map(|x| square(x.to_f32())).sum();
    a.len() == b.len() && difference.sqrt() <= 0.01 * size.sqrt()
}

/// A message that starts a sequence with `f(prompt)` alone.
pub fn start(prompt: Vec<TokenId>, logits: LogitsMode) -> ClientMessage {
    ClientMessage::Start { prompt, logits, states: PromptStates::Last }
}

fn argmax(logits: &[f32], without: &[TokenId]) -> TokenId {
    let allowed = |i: usize| !without.contains(&TokenId(i as u32));
    let best = (0..logits.len()).filter(|&i| allowed(i)).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    TokenId(best.unwrap() as u32)
}

#[test]
fn extraction_and_generation_agree_with_each_other_and_with_the_head() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(&config(dir.path()));
    let card: ModelCard = service.get("/v1/model", &[]).json();
    assert_eq!((card.wire_version, card.hidden_size, card.vocab_size), (1, 576, 49152));
    assert_eq!((card.logit_scale, card.logit_softcap, card.context_length), (1.0, None, 512));
    assert!(card.end_of_generation.contains(&card.eos));
    let prompts = prompts(&service);

    let spec = |steps| move |tokens: &Vec<TokenId>| PromptSpec { tokens: tokens.clone(), steps };
    let together = service.memory(MemoryKind::Steps, prompts.iter().map(spec(16)).collect());
    let together = shard(&service, &together);
    assert_eq!(together.rows(), 16 * prompts.len());

    // Alone, each prompt gives what it gave among others.
    for (i, prompt) in prompts.iter().enumerate().take(2) {
        let alone = service.memory(MemoryKind::Steps, vec![spec(16)(prompt)]);
        let alone = shard(&service, &alone);
        assert_eq!(alone.token, together.token[16 * i..16 * (i + 1)]);
        (0..16).for_each(|t| assert!(cosine(alone.row(t), together.row(16 * i + t)) > 0.999));
    }

    // Prompts that are only read agree with the first step of those that are run.
    let last = shard(&service, &service.memory(MemoryKind::Prompt, prompts.iter().map(spec(0)).collect()));
    let all = shard(&service, &service.memory(MemoryKind::PromptAll, prompts.iter().map(spec(0)).collect()));
    assert_eq!(last.rows(), prompts.len());
    let mut end = 0;
    for (i, prompt) in prompts.iter().enumerate() {
        end += prompt.len();
        assert!(cosine(last.row(i), together.row(16 * i)) > 0.999);
        assert!(cosine(all.row(end - 1), together.row(16 * i)) > 0.999);
    }

    // Step by step, a session says the same; `greedy` of a session may end, a free run may not.
    let mut socket = service.socket(&format!("pema.v1, pema.key.{}", URL_SAFE_NO_PAD.encode(ALICE)), Some(ORIGIN)).unwrap();
    let mut frame = socket.say(&start(prompts[0].clone(), LogitsMode::Full)).unwrap();
    for t in 0..16 {
        let FrameLogits::Full(logits) = &frame.logits else { panic!("full logits") };
        assert_eq!(frame.step, t as u32);
        assert!(cosine(&frame.h, together.row(t)) > 0.9995, "step {t}");
        assert_eq!(argmax(logits, &card.end_of_generation), together.token[t]);
        assert_eq!(argmax(logits, &[]), frame.greedy);
        frame = socket.say(&ClientMessage::Token { token: together.token[t] }).unwrap();
    }

    // The head that tabs download gives the session's logits.
    let head = service.get("/v1/head", &[]);
    assert_eq!(ContentHash::of(head.0.body()), card.head.sha256);
    let head = safetensors::SafeTensors::deserialize(head.0.body()).unwrap();
    let w_hd = head.tensor("w_hd").unwrap();
    assert_eq!((w_hd.dtype(), w_hd.shape()), (safetensors::Dtype::F16, [49152, 576].as_slice()));
    let row = |token: TokenId| {
        let bytes = &w_hd.data()[token.0 as usize * 1152..][..1152];
        bytes.chunks(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect::<Vec<_>>()
    };
    let top = start(prompts[1].clone(), LogitsMode::TopK { k: 5 });
    let frame = socket.say(&top).unwrap();
    let FrameLogits::TopK(top) = &frame.logits else { panic!("top-k logits") };
    assert_eq!((top.len(), top[0].0), (5, frame.greedy));
    for &(token, logit) in top {
        let product: f32 = row(token).iter().zip(&frame.h).map(|(w, h)| w.to_f32() * h.to_f32()).sum();
        assert!((product - logit).abs() < 0.3, "{token:?}: {product} and {logit}");
    }
    let none = start(prompts[2].clone(), LogitsMode::None);
    assert_eq!(socket.say(&none).unwrap().logits, FrameLogits::None);
}

#[test]
fn prompts_that_begin_alike_give_what_they_give_alone() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(&config(dir.path()));
    let tokenizer = Tokenizer::from_bytes(service.get("/v1/tokenizer.json", &[]).0.body()).unwrap();
    let read = |text: &str| tokens(tokenizer.encode_fast(text, false).unwrap().get_ids());
    // More than run side by side. One is another's beginning, one is twice there.
    let inputs =
        ["gonna be late", "gonna be late, sry", "cant come", "gonna be late", "who broke the printer??", "thx a lot", "thx"];
    let prompts: Vec<_> = inputs.iter().map(|input| read(&format!("Make this polite and formal: {input}"))).collect();
    let specs =
        |prompts: &[Vec<TokenId>], steps| prompts.iter().map(|tokens| PromptSpec { tokens: tokens.clone(), steps }).collect();
    for (kind, steps, rows) in [(MemoryKind::Prompt, 0, 1), (MemoryKind::Steps, 16, 16)] {
        let together = shard(&service, &service.memory(kind, specs(&prompts, steps)));
        for (i, prompt) in prompts.iter().enumerate() {
            let alone = shard(&service, &service.memory(kind, specs(std::slice::from_ref(prompt), steps)));
            assert_eq!(alone.token, together.token[rows * i..rows * (i + 1)], "{kind:?}, {}", inputs[i]);
            (0..rows).for_each(|t| assert!(cosine(alone.row(t), together.row(rows * i + t)) > 0.999, "{kind:?}, {}", inputs[i]));
        }
    }
}

#[test]
fn all_the_prompts_states_are_those_of_its_prefixes_in_a_memory_and_in_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(&config(dir.path()));
    let prompts = prompts(&service);
    let memory = |kind, prompts: &[Vec<TokenId>]| {
        let spec = |tokens: &Vec<TokenId>| PromptSpec { tokens: tokens.clone(), steps: 0 };
        shard(&service, &service.memory(kind, prompts.iter().map(spec).collect()))
    };
    let all = memory(MemoryKind::PromptAll, &prompts);
    let last = memory(MemoryKind::Prompt, &prompts);
    let rows: Vec<_> = all.prompt_rows().map(|(_, rows)| rows).collect();
    assert_eq!(rows.iter().map(|rows| rows.len()).collect::<Vec<_>>(), prompts.iter().map(Vec::len).collect::<Vec<_>>());
    for (i, rows) in rows.iter().enumerate() {
        assert!(is_close(all.row(rows.end - 1), last.row(i)), "prompt {i}");
        assert_eq!(all.token[rows.end - 1], last.token[i]);
    }
    let prefixes: Vec<Vec<TokenId>> = (1..=prompts[0].len()).map(|len| prompts[0][..len].to_vec()).collect();
    let apart = memory(MemoryKind::Prompt, &prefixes);
    rows[0].clone().for_each(|at| assert!(is_close(all.row(at), apart.row(at)), "token {at}"));

    let mut socket = service.socket(&format!("pema.v1, pema.key.{}", URL_SAFE_NO_PAD.encode(ALICE)), Some(ORIGIN)).unwrap();
    let ask = |prompt: &[TokenId]| ClientMessage::Start {
        prompt: prompt.to_vec(),
        logits: LogitsMode::None,
        states: PromptStates::All,
    };
    for (prompt, rows) in prompts.iter().zip(&rows) {
        let frame = socket.say(&ask(prompt)).unwrap();
        assert_eq!(frame.check(576, prompt.len() - 1), Ok(()));
        let states = frame.prompt_states();
        rows.clone().zip(states.chunks(576)).for_each(|(at, state)| assert!(is_close(state, all.row(at)), "row {at}"));
        let next = socket.say(&ClientMessage::Token { token: frame.greedy }).unwrap();
        assert_eq!((next.step, next.check(576, 0)), (1, Ok(())));
    }
    // A prompt that is read in more than one batch; and one that is asked for its last state after that.
    let long = tokens(&[&[1][..], &[2; 299]].concat());
    let frame = socket.say(&ask(&long)).unwrap();
    assert_eq!(frame.check(576, 299), Ok(()));
    assert!(frame.earlier.iter().all(|x| x.is_finite()));
    let frame = socket.say(&start(long, LogitsMode::None)).unwrap();
    assert_eq!(frame.check(576, 0), Ok(()));
}
