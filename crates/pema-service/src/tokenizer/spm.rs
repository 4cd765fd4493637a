//! SentencePiece as llama.cpp runs it (`tokenizer.ggml.model` = `llama`): pairs merge in order of
//! the merged token's score, which is BPE with merges ranked by score.

use std::cmp::Reverse;
use std::collections::HashMap;

use tokenizers::Tokenizer;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence as Normalizers};

use super::{TokenizerError, Vocabulary};

/// SentencePiece's visible space.
const SPACE: &str = "\u{2581}";

pub(super) fn build(vocabulary: &Vocabulary) -> Result<Tokenizer, TokenizerError> {
    if vocabulary.scores.len() != vocabulary.tokens.len() {
        return Err(TokenizerError::Missing("tokenizer.ggml.scores"));
    }
    let ids = vocabulary.ids();
    let merges = merges(vocabulary, &ids);
    let mut model =
        BPE::builder().vocab_and_merges(ids.into_iter().collect::<Vocab>(), merges).byte_fallback(true).fuse_unk(true);
    if let Some(unknown) = vocabulary.unknown.and_then(|id| vocabulary.tokens.get(id as usize)) {
        model = model.unk_token(unknown.clone());
    }
    let mut normalizers: Vec<NormalizerWrapper> = vec![Replace::new(" ", SPACE)?.into()];
    let mut decoders: Vec<DecoderWrapper> =
        vec![Replace::new(SPACE, " ")?.into(), ByteFallback::new().into(), Fuse::new().into()];
    if vocabulary.add_space_prefix {
        normalizers.insert(0, Prepend::new(SPACE.to_owned()).into());
        decoders.push(Strip::new(' ', 1, 0).into());
    }
    let mut tokenizer = Tokenizer::new(model.build()?);
    tokenizer.with_normalizer(Some(Normalizers::new(normalizers)))?;
    tokenizer.with_decoder(Some(Decoders::new(decoders)));
    Ok(tokenizer)
}

/// Every way to cut a token in two tokens, best merged token first.
fn merges(vocabulary: &Vocabulary, ids: &HashMap<String, u32>) -> Merges {
    let mut ranked: Vec<(u32, &str, &str)> = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        for (cut, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(cut);
            if ids.contains_key(left) && ids.contains_key(right) {
                ranked.push((id as u32, left, right));
            }
        }
    }
    let score = |id: u32| vocabulary.scores[id as usize];
    ranked
        .sort_by(|a, b| score(b.0).total_cmp(&score(a.0)).then(a.0.cmp(&b.0)).then(Reverse(a.1.len()).cmp(&Reverse(b.1.len()))));
    ranked.into_iter().map(|(_, left, right)| (left.to_owned(), right.to_owned())).collect()
}
