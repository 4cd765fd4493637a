//! Small vocabularies made here, tokenised by llama.cpp and by the export.

use std::ffi::CString;
use std::path::Path;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_sys_2 as sys;

use super::*;

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
        let tokens: Vec<CString> = vocabulary.tokens.iter().map(|t| c(t)).collect();
        let mut pointers: Vec<_> = tokens.iter().map(|t| t.as_ptr()).collect();
        sys::gguf_set_arr_str(gguf, c("tokenizer.ggml.tokens").as_ptr(), pointers.as_mut_ptr(), pointers.len());
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

#[test]
fn sentencepiece_is_exported_as_llama_cpp_runs_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vocab.gguf");
    write_gguf(&sentencepiece(), &path);
    let vocabulary = Vocabulary::read(&Gguf::open(&path).unwrap()).unwrap();
    let tokenizer = vocabulary.to_tokenizer().unwrap();
    let params = LlamaModelParams::default().with_vocab_only(true);
    let model = LlamaModel::load_from_file(crate::engine::backend().unwrap(), &path, &params).unwrap();
    for text in ["the", "there is a thing in there", "  two  spaces ", "a\nb\tc", "Größe 😀 中", "x<user>the <s>in", "."] {
        let theirs: Vec<u32> =
            model.vocab().tokenize(text.as_bytes(), false, true).iter().map(|&LlamaToken(id)| id as u32).collect();
        let ours = tokenizer.encode_fast(text, false).unwrap();
        assert_eq!(ours.get_ids(), theirs, "{text:?}: {:?}", ours.get_tokens());
        if !text.contains('<') {
            assert_eq!(tokenizer.decode(ours.get_ids(), false).unwrap(), text);
        }
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
    let vocabulary = Vocabulary { model: "rwkv".into(), ..Vocabulary::default() };
    assert!(vocabulary.to_tokenizer().unwrap_err().to_string().contains("--tokenizer"));
}
