//! Small vocabularies made here, tokenised by llama.cpp and by the export.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::Path;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_sys_2 as sys;
use tokenizers::normalizers::byte_level::ByteLevel as ByteLevelText;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{NormalizedString, Normalizer};

use super::*;
use crate::proof::PROBES;

const NORMAL: i32 = 1;
const BYTE: i32 = 6;

/// SentencePiece: bytes, letters and a few words, scored as a trainer would.
fn sentencepiece() -> Vocabulary {
    let mut tokens: Vec<(String, f32, i32)> =
        vec![("<unk>".into(), 0.0, kind::UNKNOWN), ("<s>".into(), 0.0, kind::CONTROL), ("</s>".into(), 0.0, kind::CONTROL)];
    tokens.extend((0..=255).map(|b| (format!("<0x{b:02X}>"), 0.0, BYTE)));
    let pieces = ["▁t", "he", "▁the", "▁a", "in", "er", "▁ther", "▁there", "▁▁", "th", "re", "ing", "▁in"];
    tokens.extend(pieces.iter().enumerate().map(|(i, p)| ((*p).into(), -1.0 - i as f32, NORMAL)));
    tokens.extend("▁abcdefghijklmnopqrstuvwxyz.".chars().map(|c| (c.to_string(), -100.0, NORMAL)));
    tokens.push(("<user>".into(), 0.0, kind::USER_DEFINED));
    Vocabulary {
        model: "llama".into(),
        pre: None,
        tokens: tokens.iter().map(|t| t.0.clone()).collect(),
        scores: tokens.iter().map(|t| t.1).collect(),
        kinds: tokens.iter().map(|t| t.2).collect(),
        merges: Vec::new(),
        add_space_prefix: true,
        unknown: Some(0),
    }
}

/// A GGUF without a model, as llama.cpp's own `ggml-vocab-*.gguf` are.
fn write_gguf(vocabulary: &Vocabulary, path: &Path) {
    let c = |text: &str| CString::new(text).unwrap();
    // SAFETY: a fresh context, C strings that outlive each call, and arrays of the length given.
    unsafe {
        let gguf = sys::gguf_init_empty();
        let text = |key: &str, value: &str| sys::gguf_set_val_str(gguf, c(key).as_ptr(), c(value).as_ptr());
        text("general.architecture", "llama");
        text("tokenizer.ggml.model", &vocabulary.model);
        if let Some(pre) = &vocabulary.pre {
            text("tokenizer.ggml.pre", pre);
        }
        for (key, texts) in [("tokens", &vocabulary.tokens), ("merges", &vocabulary.merges)] {
            let texts: Vec<CString> = texts.iter().map(|t| c(t)).collect();
            let mut pointers: Vec<_> = texts.iter().map(|t| t.as_ptr()).collect();
            let key = c(&format!("tokenizer.ggml.{key}"));
            sys::gguf_set_arr_str(gguf, key.as_ptr(), pointers.as_mut_ptr(), pointers.len());
        }
        let array = |key: &str, kind, data: *const std::ffi::c_void, n| {
            sys::gguf_set_arr_data(gguf, c(key).as_ptr(), kind, data, n);
        };
        let n = vocabulary.tokens.len();
        array("tokenizer.ggml.scores", sys::GGUF_TYPE_FLOAT32, vocabulary.scores.as_ptr().cast(), n);
        array("tokenizer.ggml.token_type", sys::GGUF_TYPE_INT32, vocabulary.kinds.as_ptr().cast(), n);
        for (key, id) in [("bos", 1), ("eos", 2), ("unknown", 0)] {
            sys::gguf_set_val_u32(gguf, c(&format!("tokenizer.ggml.{key}_token_id")).as_ptr(), id);
        }
        sys::gguf_set_val_bool(gguf, c("tokenizer.ggml.add_space_prefix").as_ptr(), vocabulary.add_space_prefix);
        assert!(sys::gguf_write_to_file(gguf, c(path.to_str().unwrap()).as_ptr(), false));
        sys::gguf_free(gguf);
    }
}

/// Byte-level BPE whose merges join any two and three bytes that follow each other in the texts, so
/// that every place where a pre-tokenizer cuts them shows in the tokens. Some words are tokens that no
/// merges lead to.
fn byte_level(pre: &str, texts: &[&str]) -> Vocabulary {
    let symbols = |text: &str| {
        let mut text = NormalizedString::from(text);
        ByteLevelText::new().normalize(&mut text).unwrap();
        text.get().chars().collect::<Vec<_>>()
    };
    let runs = |length: usize| {
        let all = texts.iter().flat_map(|text| symbols(text).windows(length).map(<[char]>::to_vec).collect::<Vec<_>>());
        all.collect::<BTreeSet<_>>()
    };
    let (pairs, triples) = (runs(2), runs(3));
    let mut tokens: Vec<String> =
        ByteLevel::alphabet().into_iter().collect::<BTreeSet<_>>().iter().map(char::to_string).collect();
    tokens.extend(pairs.iter().chain(&triples).map(|run| run.iter().collect::<String>()));
    tokens.extend([" committee", "println"].map(|word| symbols(word).iter().collect::<String>()));
    let joined = |run: &Vec<char>| format!("{} {}", run[..run.len() - 1].iter().collect::<String>(), run[run.len() - 1]);
    Vocabulary {
        model: "gpt2".into(),
        pre: Some(pre.to_owned()),
        scores: vec![0.0; tokens.len()],
        kinds: vec![NORMAL; tokens.len()],
        tokens,
        merges: pairs.iter().chain(&triples).map(joined).collect(),
        add_space_prefix: false,
        unknown: None,
    }
}

/// Texts are exported as llama.cpp reads them, and, unless they hold special tokens, come back.
fn assert_exported_as_llama_cpp_runs_it(vocabulary: &Vocabulary, texts: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vocab.gguf");
    write_gguf(vocabulary, &path);
    let tokenizer = Vocabulary::read(&Gguf::open(&path).unwrap()).unwrap().to_tokenizer().unwrap();
    let params = LlamaModelParams::default().with_vocab_only(true);
    let model = LlamaModel::load_from_file(crate::engine::backend().unwrap(), &path, &params).unwrap();
    for &text in texts {
        let what = format!("{:?}, {text:?}", vocabulary.pre);
        let theirs: Vec<u32> =
            model.vocab().tokenize(text.as_bytes(), false, true).iter().map(|&LlamaToken(id)| id as u32).collect();
        let ours = tokenizer.encode_fast(text, false).unwrap();
        let words = |ids: &[u32]| ids.iter().map(|&id| vocabulary.tokens[id as usize].as_str()).collect::<Vec<_>>();
        assert_eq!(words(ours.get_ids()), words(&theirs), "{what}");
        if !text.contains("<user>") {
            assert_eq!(tokenizer.decode(ours.get_ids(), false).unwrap(), text, "{what}");
        }
    }
}

#[test]
fn sentencepiece_is_exported_as_llama_cpp_runs_it() {
    let texts = ["the", "there is a thing in there", "  two  spaces ", "a\nb\tc", "Größe 😀 中", "x<user>the <s>in", "."];
    for add_space_prefix in [true, false] {
        assert_exported_as_llama_cpp_runs_it(&Vocabulary { add_space_prefix, ..sentencepiece() }, &texts);
    }
}

#[test]
fn text_is_cut_as_llama_cpp_cuts_it_under_every_name() {
    let texts = PROBES.map(|(_, text)| text);
    for pre in pretokenizer::names() {
        assert_exported_as_llama_cpp_runs_it(&byte_level(pre, &texts), &texts);
    }
}

#[test]
fn merges_follow_the_scores_and_survive_the_file() {
    let tokenizer = sentencepiece().to_tokenizer().unwrap();
    let json = tokenizer.to_string(false).unwrap();
    let again = Tokenizer::from_bytes(json).unwrap();
    let tokens = again.encode("there the", false).unwrap().get_tokens().to_vec();
    assert_eq!(tokens, ["▁there", "▁the"]);
}

#[test]
fn an_unknown_pretokenizer_asks_for_a_tokenizer_file() {
    let vocabulary = Vocabulary { model: "gpt2".into(), pre: Some("martian".into()), ..Vocabulary::default() };
    let error = vocabulary.to_tokenizer().unwrap_err().to_string();
    assert!(error.contains("martian") && error.contains("--tokenizer"), "{error}");
}

/// Models with WordPiece and Unigram vocabularies (BERT, T5) have no LM head that continues a text.
#[test]
fn vocabularies_of_other_kinds_are_named() {
    for kind in ["bert", "t5", "rwkv", "plamo2"] {
        let vocabulary = Vocabulary { model: kind.into(), ..Vocabulary::default() };
        let error = vocabulary.to_tokenizer().unwrap_err().to_string();
        assert!(error.contains(&format!("of kind `{kind}`")) && error.contains("--tokenizer"), "{error}");
    }
}
