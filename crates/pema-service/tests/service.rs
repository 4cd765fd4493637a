//! The service with the real default model, over real sockets.

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{ALICE, BOB, ORIGIN, Service, bearer, config, tokens};
use half::f16;
use pema_core::head::Int8Head;
use pema_core::id::{ContentHash, TokenId};
use pema_core::memory::Shard;
use pema_core::wire::frame::FrameLogits;
use pema_core::wire::{ClientMessage, LogitsMode, MemoryKind, MemoryManifest, MemoryState, ModelCard, PromptSpec, PromptStates};
use pema_service::config::{ModelConfig, ServeConfig};
use pema_service::model::{Model, ModelSource};
use tokenizers::Tokenizer;
use tokio_tungstenite::tungstenite::Message;

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

fn shard(service: &Service, manifest: &MemoryManifest) -> Shard {
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
fn start(prompt: Vec<TokenId>, logits: LogitsMode) -> ClientMessage {
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

#[test]
fn bad_input_gets_a_problem_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(&config(dir.path()));
    let refused = |body: &str| {
        let answer = service.post("/v1/memories", &[], body);
        (answer.status(), answer.problem())
    };
    let expect = |body: &str, status: u16, kind: &str| assert_eq!(refused(body), (status, kind.to_owned()), "{body}");
    let prompt = |tokens: &str, steps: u32| format!(r#"{{"kind":"steps","prompts":[{{"tokens":[{tokens}],"steps":{steps}}}]}}"#);
    let long = vec!["1"; 600].join(",");
    expect(r#"{"kind":"steps","prompts":[]}"#, 422, "no-prompts");
    expect(&prompt("", 16), 422, "prompt-empty");
    expect(&prompt(&long, 16), 422, "prompt-too-long");
    expect(&prompt("1,49152", 16), 422, "token-out-of-range");
    expect(&prompt("1", 17), 422, "steps-not-bucketed");
    expect(&prompt("1", 0), 422, "steps-not-bucketed");
    expect(&prompt("1", 16_000), 422, "too-many-steps");
    expect(&prompt(&long[..2 * 500 - 1], 512), 422, "context-too-long");
    expect(r#"{"kind":"prompt","prompts":[{"tokens":[1],"steps":16}]}"#, 422, "steps-not-zero");
    expect(r#"{"kind":"prompt-all","prompts":[{"tokens":[1],"steps":16}]}"#, 422, "steps-not-zero");
    let rows_of_all = vec![format!(r#"{{"tokens":[{}],"steps":0}}"#, vec!["1"; 500].join(",")); 21].join(",");
    expect(&format!(r#"{{"kind":"prompt-all","prompts":[{rows_of_all}]}}"#), 422, "too-many-rows");
    expect("{", 400, "malformed");
    expect(r#"{"kind":"steps","prompts":[{"tokens":[-1],"steps":16}]}"#, 400, "malformed");
    expect(r#"{"kind":"steps","targets":[],"prompts":[{"tokens":[1],"steps":16}]}"#, 400, "malformed");
    expect(&prompt(&vec!["1"; 60_000].join(","), 16), 413, "body-too-large");
    let many = vec![r#"{"tokens":[1],"steps":16}"#; 101].join(",");
    expect(&format!(r#"{{"kind":"steps","prompts":[{many}]}}"#), 422, "too-many-prompts");

    let problem = |answer: common::Answer| (answer.status(), answer.problem());
    let other = |status: u16, kind: &str| (status, kind.to_owned());
    let text = service.post("/v1/memories", &[("content-type", "text/plain")], &prompt("1", 16));
    assert_eq!(problem(text), other(415, "not-json"));
    let unknown = "/v1/memories/0123456789abcdef0123456789abcdef";
    assert_eq!(problem(service.get(unknown, &[])), other(404, "memory-not-found"));
    assert_eq!(problem(service.get("/v1/memories/..%2f..%2fetc", &[])), other(404, "memory-not-found"));
    assert_eq!(problem(service.get(&format!("{unknown}/shards/x"), &[])), other(400, "malformed"));
    assert_eq!(problem(service.get("/v2/model", &[])), other(404, "no-such-call"));
    assert_eq!(problem(service.send("DELETE", "/v1/model", &[], None)), other(405, "method-not-allowed"));
    assert_eq!(problem(service.get("/v1/generate", &[])), other(426, "websocket-required"));
    for path in ["/v1/model", "/v1/head", "/v1/head/int8", "/v1/tokenizer.json", unknown, "/metrics"] {
        assert_eq!(problem(service.get(path, &[("authorization", "Bearer wrong")])), other(401, "key-unknown"));
        assert_eq!(problem(service.get(path, &[("authorization", "")])), other(401, "key-missing"));
    }
    let created = service.post("/v1/memories", &[("authorization", "Bearer wrong")], "{");
    assert_eq!(problem(created), other(401, "key-unknown"));

    streams_refuse_and_go_on(&service);
    assert_eq!(service.get("/readyz", &[]).status(), 200);
    let metrics = service.get("/metrics", &[]).text();
    assert!(metrics.contains(r#"pema_errors_total{type="prompt-empty"}"#), "{metrics}");
    service.stop();
}

fn streams_refuse_and_go_on(service: &Service) {
    let key = |key: &str| format!("pema.v1, pema.key.{}", URL_SAFE_NO_PAD.encode(key));
    assert_eq!(service.socket(&key("wrong"), Some(ORIGIN)).err(), Some(401));
    assert_eq!(service.socket("pema.v1", Some(ORIGIN)).err(), Some(401));
    assert_eq!(service.socket(&key(ALICE), Some("https://evil.example")).err(), Some(403));

    let mut socket = service.socket(&key(ALICE), Some(ORIGIN)).unwrap();
    let kind = |answer: Result<_, pema_core::wire::Problem>| answer.err().map(|p: pema_core::wire::Problem| p.kind);
    let start = |ids: &[u32]| start(tokens(ids), LogitsMode::None);
    assert_eq!(kind(socket.say(&ClientMessage::Token { token: TokenId(1) })).as_deref(), Some("not-started"));
    assert_eq!(kind(socket.say(&start(&[]))).as_deref(), Some("prompt-empty"));
    assert_eq!(kind(socket.say(&start(&[49152]))).as_deref(), Some("token-out-of-range"));
    assert_eq!(kind(socket.say_text("nonsense")).as_deref(), Some("malformed"));
    assert_eq!(kind(socket.say_text(r#"{"type":"token","token":1,"target":2}"#)).as_deref(), Some("malformed"));
    let other_states = r#"{"type":"start","prompt":[1],"logits":{"mode":"none"},"states":"some"}"#;
    assert_eq!(kind(socket.say_text(other_states)).as_deref(), Some("malformed"));
    let greedy = socket.say(&start(&[1, 2, 3])).unwrap().greedy;
    assert_eq!(kind(socket.say(&ClientMessage::Token { token: TokenId(49152) })).as_deref(), Some("token-out-of-range"));
    assert_eq!(socket.say(&ClientMessage::Token { token: greedy }).unwrap().step, 1);
    // The context is full after 512 tokens; the stream takes another prompt.
    socket.say(&start(&[1; 511])).unwrap();
    socket.say(&ClientMessage::Token { token: TokenId(1) }).unwrap();
    assert_eq!(kind(socket.say(&ClientMessage::Token { token: TokenId(1) })).as_deref(), Some("context-full"));
    socket.say(&start(&[1])).unwrap();
    // Two streams have places, a third has none until one closes.
    let mut second = service.socket(&key(BOB), None).unwrap();
    second.say(&start(&[1])).unwrap();
    let mut third = service.socket(&key(ALICE), None).unwrap();
    assert_eq!(kind(third.say(&start(&[1]))).as_deref(), Some("streams-busy"));
    drop(second);
    let freed = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        third.say(&start(&[1])).is_ok()
    });
    assert!(freed, "a closed stream frees its place");
}

#[test]
fn files_and_memories_are_cached_private_and_repeatable() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(&config(dir.path()));
    let card: ModelCard = service.get("/v1/model", &[]).json();

    let etag = format!("\"{}\"", card.tokenizer.sha256);
    let whole = service.get("/v1/tokenizer.json", &[]);
    assert_eq!((whole.status(), whole.header("etag")), (200, etag.as_str()));
    assert!(whole.header("cache-control").contains("immutable"));
    assert_eq!(whole.0.body().len() as u64, card.tokenizer.bytes);
    let again = service.get("/v1/tokenizer.json", &[("if-none-match", &etag)]);
    assert_eq!((again.status(), again.0.body().len()), (304, 0));
    let part = service.get("/v1/tokenizer.json", &[("range", "bytes=100-199"), ("if-range", &etag)]);
    assert_eq!((part.status(), part.0.body().as_slice()), (206, &whole.0.body()[100..200]));
    assert_eq!(part.header("content-range"), format!("bytes 100-199/{}", card.tokenizer.bytes));
    let past = service.get("/v1/head", &[("range", "bytes=999999999-")]);
    assert_eq!((past.status(), past.problem()), (416, "range-not-satisfiable".to_owned()));

    let preflight = [
        ("origin", ORIGIN),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,idempotency-key,range"),
        ("access-control-request-private-network", "true"),
    ];
    let allowed = service.send("OPTIONS", "/v1/memories", &preflight, None);
    assert_eq!(allowed.header("access-control-allow-origin"), ORIGIN);
    assert_eq!(allowed.header("access-control-allow-private-network"), "true");
    for name in ["authorization", "idempotency-key", "range"] {
        assert!(allowed.header("access-control-allow-headers").contains(name), "{name}");
    }
    let seen = service.get("/v1/model", &[("origin", ORIGIN)]);
    assert!(seen.header("access-control-expose-headers").contains("etag"));
    let stranger = service.get("/v1/model", &[("origin", "https://evil.example")]);
    assert_eq!(stranger.header("access-control-allow-origin"), "");

    let key = [("idempotency-key", "one")];
    let body = r#"{"kind":"prompt","prompts":[{"tokens":[1,2,3],"steps":0}]}"#;
    let first = service.post("/v1/memories", &key, body);
    let second = service.post("/v1/memories", &key, body);
    assert_eq!((first.status(), second.status()), (201, 200));
    let id = first.json::<MemoryManifest>().id;
    assert_eq!(second.json::<MemoryManifest>().id, id);
    assert_eq!(first.header("location"), format!("/v1/memories/{id}"));
    let other = service.post("/v1/memories", &key, &body.replace("1,2,3", "1,2"));
    assert_eq!((other.status(), other.problem()), (409, "idempotency-key-reused".to_owned()));

    let path = format!("/v1/memories/{id}");
    service.get(&format!("{path}/events"), &[]);
    let manifest: MemoryManifest = service.get(&path, &[]).json();
    assert_eq!((manifest.model, manifest.rows_done), (card.model, 1));
    let bytes = service.get(&format!("{path}/shards/0"), &[]);
    let rest = service.get(&format!("{path}/shards/0"), &[("range", "bytes=10-")]);
    assert_eq!((rest.status(), rest.0.body().as_slice()), (206, &bytes.0.body()[10..]));
    assert_eq!(service.get(&format!("{path}/shards/1"), &[]).problem(), "shard-not-found");
    let bob = bearer(BOB);
    for call in [path.clone(), format!("{path}/events"), format!("{path}/shards/0")] {
        let answer = service.get(&call, &[("authorization", &bob)]);
        assert_eq!((answer.status(), answer.problem()), (404, "memory-not-found".to_owned()), "{call}");
    }
    assert_eq!(service.send("DELETE", &path, &[("authorization", &bob)], None).status(), 404);

    // A memory survives the service that made it; streams are told that it ends.
    let mut socket = service.socket(&format!("pema.v1, pema.key.{}", URL_SAFE_NO_PAD.encode(ALICE)), None).unwrap();
    socket.say(&start(tokens(&[1]), LogitsMode::None)).unwrap();
    service.stop.cancel();
    let Some(Message::Close(Some(close))) = socket.hear() else { panic!("a close frame") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1001, "the service is stopping"));
    drop(socket);
    service.stop();
    drop(service);
    let service = Service::start(&config(dir.path()));
    assert_eq!(service.get(&format!("{path}/shards/0"), &[]).0.body(), bytes.0.body());
    assert_eq!(service.send("DELETE", &path, &[], None).status(), 204);
    assert_eq!(service.get(&path, &[]).problem(), "memory-not-found");
}

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
    let sample = include_str!("../../../web/public/samples/formality.train.jsonl");
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

#[test]
fn a_service_without_keys_answers_under_this_machines_names_alone() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(&ServeConfig { keys: Vec::new(), ..config(dir.path()) });
    assert_eq!(service.get("/v1/model", &[("authorization", "")]).status(), 200);
    let rebound = service.get("/v1/model", &[("host", "evil.example")]);
    assert_eq!((rebound.status(), rebound.problem()), (421, "host-not-local".to_owned()));
}

#[test]
fn a_given_tokenizer_is_served_if_it_is_the_models() {
    let dir = tempfile::tempdir().unwrap();
    let ServeConfig { model, limits, .. } = config(dir.path());
    let load = |tokenizer: &str| {
        let path = dir.path().join("tokenizer.json");
        std::fs::write(&path, tokenizer).unwrap();
        Model::load(&ModelConfig { tokenizer: Some(path), ..model.clone() }, &limits)
    };
    let exported = std::fs::read_to_string(Model::load(&model, &limits).unwrap().tokenizer).unwrap();
    // The same tokenizer, written otherwise.
    let given = exported + "\n";
    assert_eq!(load(&given).unwrap().card.tokenizer.sha256, ContentHash::of(given.as_bytes()));
    let other = r#"{"version":"1.0","model":{"type":"BPE","vocab":{"a":0},"merges":[]}}"#;
    let error = load(other).err().unwrap().to_string();
    assert!(error.contains("Pema will not serve this model") && error.contains("`--tokenizer FILE`"), "{error}");
    let error = load("{").err().unwrap().to_string();
    assert!(error.contains("tokenizer.json is no tokenizer"), "{error}");
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, b"GGUF but torn").unwrap();
    let ServeConfig { model, limits, .. } = config(dir.path());
    let error = Model::load(&ModelConfig { source: ModelSource::File(path), ..model }, &limits).err().unwrap().to_string();
    assert!(error.contains("the model could not be loaded"), "{error}");
}
