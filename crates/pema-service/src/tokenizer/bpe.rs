//! Byte-level BPE (`tokenizer.ggml.model` = `gpt2`).

use tokenizers::Tokenizer;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use super::{TokenizerError, Vocabulary, pretokenizer};

pub(super) fn build(vocabulary: &Vocabulary) -> Result<Tokenizer, TokenizerError> {
    let pre = vocabulary.pre.as_deref().unwrap_or("default");
    let rules = pretokenizer::rules(pre).ok_or_else(|| TokenizerError::UnknownPretokenizer(pre.to_owned()))?;
    let merges = vocabulary.merges.iter().filter_map(|merge| split_merge(merge)).collect::<Vec<_>>();
    let model = BPE::builder()
        .vocab_and_merges(vocabulary.ids().into_iter().collect::<tokenizers::models::bpe::Vocab>(), merges)
        .ignore_merges(rules.ignore_merges)
        .build()?;
    let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
    for regex in rules.regexes {
        let pattern = SplitPattern::Regex((*regex).to_owned());
        steps.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into());
    }
    // No space in front, no offsets trimmed, no regex of its own: the rules above have split.
    steps.push(ByteLevel::new(false, false, false).into());
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
    tokenizer.with_decoder(Some(ByteLevel::new(false, false, false)));
    Ok(tokenizer)
}

/// `left right`; the separating space is never the first character, as llama.cpp reads it.
fn split_merge(merge: &str) -> Option<(String, String)> {
    let first = merge.chars().next()?.len_utf8();
    let space = first + merge[first..].find(' ')?;
    Some((merge[..space].to_owned(), merge[space + 1..].to_owned()))
}
