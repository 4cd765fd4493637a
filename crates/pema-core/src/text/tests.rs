use std::fmt::Write;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::stream::StreamDecoder;
use super::*;

const EOS: TokenId = TokenId(0);
const BOS: TokenId = TokenId(1);

/// Byte-level BPE with a token for each byte and for a few words, as GPT-2's family has.
pub(crate) fn byte_level() -> Tokenizer {
    let mut vocab = json!({ "<eos>": 0, "<bos>": 1 });
    for symbol in byte_symbols() {
        vocab[symbol.to_string()] = json!(vocab.as_object().unwrap().len());
    }
    let merges = [("Ġ", "h"), ("Ġh", "i"), ("h", "i"), ("Ċ", "Ċ")];
    for (a, b) in merges {
        vocab[format!("{a}{b}")] = json!(vocab.as_object().unwrap().len());
    }
    let merges = merges.map(|(a, b)| format!("{a} {b}"));
    build(json!({
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "vocab": vocab, "merges": merges }
    }))
}

/// The visible characters that stand for the 256 bytes.
fn byte_symbols() -> Vec<char> {
    let mut symbols = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect::<Vec<_>>();
    symbols.sort_unstable();
    symbols
}

/// BPE in SentencePiece's manner: `▁` for spaces, bytes where a character is unknown (if asked
/// for, else `<unk>`).
fn sentence_piece(bytes: bool) -> Tokenizer {
    let mut vocab = json!({ "<eos>": 0, "<bos>": 1, "<unk>": 2 });
    let mut add = |token: String| {
        let id = vocab.as_object().unwrap().len();
        vocab[token] = json!(id);
    };
    "▁hi:F".chars().for_each(|c| add(c.to_string()));
    ["▁h", "▁hi", "hi"].into_iter().for_each(|token| add(token.to_owned()));
    if bytes {
        (0..=255u8).for_each(|byte| add(format!("<0x{byte:02X}>")));
    }
    build(json!({
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" }
        ] },
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "ByteFallback" },
            { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 }
        ] },
        "model": {
            "type": "BPE", "vocab": vocab, "merges": ["▁ h", "▁h i", "h i"],
            "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": bytes
        }
    }))
}

fn build(parts: Value) -> Tokenizer {
    let special = |id: u32, content: &str| {
        json!({
            "id": id, "content": content, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false
        })
    };
    let mut json = json!({ "version": "1.0", "added_tokens": [special(0, "<eos>"), special(1, "<bos>")] });
    for (key, value) in parts.as_object().unwrap() {
        json[key] = value.clone();
    }
    Tokenizer::from_json(json.to_string().as_bytes(), 1000).unwrap()
}

/// The tokens' own texts, joined by `|`.
fn pieces(tokenizer: &Tokenizer, ids: &[TokenId]) -> String {
    let mut out = String::new();
    for id in ids {
        let piece = tokenizer.inner.id_to_token(id.0).unwrap();
        write!(out, "{}{piece}", if out.is_empty() { "" } else { "|" }).unwrap();
    }
    out
}

fn target(tokenizer: &Tokenizer, prompt: &str, text: &str) -> String {
    pieces(tokenizer, &tokenizer.encode_target(prompt, text, EOS).unwrap())
}

#[test]
fn target_follows_a_prompt_after_one_space_in_byte_level_bpe() {
    let t = byte_level();
    assert_eq!(target(&t, "F:", "hi"), "Ġhi|<eos>");
    assert_eq!(target(&t, "F:", " hi"), "Ġhi|<eos>");
    assert_eq!(target(&t, "F: ", "hi"), "hi|<eos>");
    assert_eq!(target(&t, "F:\n", "hi"), "hi|<eos>");
    assert_eq!(target(&t, "F:\n", "\nhi"), "Ċ|hi|<eos>");
    assert_eq!(target(&t, "", "hi"), "hi|<eos>");
    assert_eq!(target(&t, "F<bos>", "hi"), "hi|<eos>");
}

#[test]
fn target_follows_a_prompt_after_one_space_in_sentence_piece() {
    let t = sentence_piece(true);
    assert_eq!(target(&t, "F:", "hi"), "▁hi|<eos>");
    assert_eq!(target(&t, "F:", " hi"), "▁hi|<eos>");
    assert_eq!(target(&t, "F: ", "hi"), "hi|<eos>");
    assert_eq!(target(&t, "F:\n", "hi"), "hi|<eos>");
    assert_eq!(target(&t, "", "hi"), "▁hi|<eos>");
}

#[test]
fn prompt_and_target_read_as_one_text() {
    for t in [byte_level(), sentence_piece(true)] {
        for prompt in ["F:", "F:\n", "F: "] {
            let mut ids = t.encode_prompt(prompt, Some(BOS)).unwrap();
            ids.extend(t.encode_target(prompt, "hi hi", EOS).unwrap());
            let separator = if prompt == "F:" { " " } else { "" };
            assert_eq!(t.decode(&ids).unwrap(), format!("{prompt}{separator}hi hi"));
        }
    }
}

#[test]
fn targets_that_cannot_be_learnt_are_refused() {
    let t = sentence_piece(false);
    let refuse = |text: &str| t.encode_target("F:", text, EOS).unwrap_err();
    assert!(matches!(refuse("hi é"), TextError::UnknownToken { .. }));
    assert!(matches!(refuse(" \n"), TextError::EmptyTarget { .. }));
    for text in ["hi é", ""] {
        assert!(refuse(text).to_string().contains("target cannot be encoded"));
    }
    let control = TextError::ControlToken { token: "<eos>".to_owned(), target: "hi<eos>hi".to_owned() };
    assert_eq!(refuse("hi<eos>hi"), control);
}

#[test]
fn prompts_take_bos_once_and_must_not_be_empty() {
    let t = byte_level();
    assert_eq!(pieces(&t, &t.encode_prompt("hi", Some(BOS)).unwrap()), "<bos>|hi");
    assert_eq!(pieces(&t, &t.encode_prompt("<bos>hi", Some(BOS)).unwrap()), "<bos>|hi");
    assert_eq!(pieces(&t, &t.encode_prompt("hi", None).unwrap()), "hi");
    assert_eq!(t.encode_prompt("", Some(BOS)), Err(TextError::EmptyPrompt));
}

#[test]
fn tokenizer_of_another_model_is_noticed() {
    let mut t = byte_level();
    t.vocab_size = 10;
    assert!(matches!(t.encode("~~"), Err(TextError::OutOfVocabulary { vocab_size: 10, .. })));
    assert!(matches!(Tokenizer::from_json(b"<html>", 10), Err(TextError::NotATokenizer(_))));
}

/// What a stream shows, push by push, and at the end.
fn stream(t: &Tokenizer, ids: &[TokenId]) -> (Vec<Option<String>>, String) {
    let mut decoder = StreamDecoder::default();
    let shown = ids.iter().map(|&id| decoder.push(t, id).unwrap()).collect();
    (shown, decoder.finish(t).unwrap())
}

#[test]
fn stream_holds_back_incomplete_characters() {
    for t in [byte_level(), sentence_piece(true)] {
        let ids = t.encode("hi €").unwrap();
        let (shown, rest) = stream(&t, &ids);
        assert_eq!(shown.iter().flatten().cloned().collect::<String>(), "hi €");
        assert_eq!(shown[shown.len() - 3..], [None, None, Some("€".to_owned())]);
        assert_eq!(rest, "");
        let (_, rest) = stream(&t, &ids[..ids.len() - 1]);
        assert!(rest.starts_with('\u{fffd}'));
    }
}

#[test]
fn stream_keeps_spaces_between_words() {
    for t in [byte_level(), sentence_piece(true)] {
        let [first, second] = ["hi", " hi"].map(|text| t.encode_target("F:", text, EOS).unwrap());
        let ids = [t.encode("hi").unwrap(), first, second].concat();
        let (shown, _) = stream(&t, &ids);
        assert_eq!(shown.into_iter().flatten().collect::<String>(), "hi hi hi");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn streamed_text_is_the_decoded_text(text in "[hi é€😀\n]{1,12}") {
        for t in [byte_level(), sentence_piece(true)] {
            let ids = t.encode(&text).unwrap();
            let (shown, rest) = stream(&t, &ids);
            let streamed = shown.into_iter().flatten().collect::<String>() + &rest;
            prop_assert_eq!(streamed, t.decode(&ids).unwrap());
        }
    }
}

/// What a text shows token by token, and what it is in the end.
fn draft(t: &Tokenizer, ids: &[TokenId], one_line: bool) -> (String, String) {
    let mut draft = Draft::new(one_line);
    let shown = ids.iter().map(|&id| draft.push(t, id).unwrap()).collect();
    (shown, draft.finish(t).unwrap())
}

#[test]
fn draft_of_one_line_ends_where_its_first_words_line_does() {
    for t in [byte_level(), sentence_piece(true)] {
        let ids = t.encode("\n\n hi h\n\nhi\n").unwrap();
        let (shown, text) = draft(&t, &ids, true);
        assert_eq!((shown.trim_start_matches('\n'), text.as_str()), (" hi h", "hi h"));
        assert_eq!(draft(&t, &ids, false).1, "hi h\n\nhi");
        assert_eq!(draft(&t, &t.encode("hi\r\nhi").unwrap(), true).1, "hi");
        // A character that never came to its end.
        let cut = &t.encode("hi €").unwrap();
        let (_, text) = draft(&t, &cut[..cut.len() - 1], true);
        assert_eq!(text.trim_end_matches(char::REPLACEMENT_CHARACTER), "hi ");
    }
}

#[test]
fn draft_is_over_with_the_token_that_ends_its_line() {
    let t = byte_level();
    let mut draft = Draft::new(true);
    let over: Vec<bool> =
        t.encode("\nhi\nh").unwrap().into_iter().map(|id| draft.push(&t, id).map(|_| draft.is_over()).unwrap()).collect();
    assert_eq!(over, [false, false, true, true]);
}

#[test]
fn one_line_is_without_line_ends_but_around_it() {
    assert!(is_one_line(" \n hi hi\n") && is_one_line(""));
    assert!(!is_one_line("hi\nhi") && !is_one_line("hi\rhi"));
}
