//! What is asked of the service, and who may.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pema_core::id::TokenId;
use pema_core::wire::{ClientMessage, LogitsMode, MemoryManifest, ModelCard};
use tokio_tungstenite::tungstenite::Message;

use crate::rows::start;
use crate::running::{ALICE, Answer, BOB, ORIGIN, Service, bearer, config, tokens};

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

    let problem = |answer: Answer| (answer.status(), answer.problem());
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
