//! Pairs made ready for a model: prompts for its service, targets that stay.

use thiserror::Error;

use crate::{
    align::{AlignError, Contexts, Targets, step_budget},
    data::{Pair, Template},
    id::TokenId,
    memory::row_bytes,
    text::{TextError, Tokenizer},
    wire::{CreateMemory, MemoryKind, ModelCard, PromptSpec},
};

/// Pairs, tokenized and within the limits of a model card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// One for each pair, in order.
    pub prompts: Vec<PromptSpec>,
    /// Their targets.
    pub targets: Targets,
    /// Tokens of their inputs alone, `SL` of Gradual Unrolling.
    pub source_lens: Vec<u32>,
}

/// Why pairs cannot be used with a model.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// Text that the tokenizer cannot take.
    #[error("{place}: {source}")]
    Text {
        /// Which text.
        place: String,
        /// Why.
        source: TextError,
    },
    /// No text at all.
    #[error("{place} is empty: write something to continue from")]
    EmptyInput {
        /// Which text.
        place: String,
    },
    /// A prompt beyond the service's limit.
    #[error("{place} has {tokens} tokens in its template and the service accepts {most}: shorten it")]
    PromptTooLong {
        /// Which prompt.
        place: String,
        /// Its length.
        tokens: usize,
        /// The limit.
        most: u32,
    },
    /// Prompt and target beyond the model's context, or the target beyond the service's limit.
    #[error(
        "{place} needs {steps} steps after {tokens} prompt tokens, and the service takes at most {most} steps and \
         {context} tokens in all: shorten it"
    )]
    PairTooLong {
        /// Which pair.
        place: String,
        /// Its step budget.
        steps: u32,
        /// Its prompt's length.
        tokens: usize,
        /// The service's limit on steps.
        most: u32,
        /// The model's context.
        context: u32,
    },
    /// More than the service extracts at once.
    #[error(
        "these are {prompts} prompts with {rows} rows, and the service accepts {max_prompts} prompts and {max_rows} rows: use fewer pairs, or contexts of the prompt alone, one row each"
    )]
    TooMany {
        /// Prompts.
        prompts: usize,
        /// Rows asked for.
        rows: u64,
        /// The limit on prompts.
        max_prompts: u32,
        /// The limit on rows.
        max_rows: u64,
    },
    /// Contexts that the service does not give.
    #[error("the service extracts no memories of kind {kind:?}: choose other contexts")]
    NotOffered {
        /// What they would need.
        kind: MemoryKind,
    },
    /// A target without its end.
    #[error(transparent)]
    Align(#[from] AlignError),
}

impl Prepared {
    /// Puts each input into the template and tokenizes prompts and targets.
    ///
    /// # Errors
    /// [`PrepareError`] names the first pair that the model or its service cannot take.
    pub fn new(pairs: &[Pair], template: &Template, tokenizer: &Tokenizer, card: &ModelCard) -> Result<Self, PrepareError> {
        let (mut prompts, mut targets) = (Vec::with_capacity(pairs.len()), Vec::with_capacity(pairs.len()));
        let mut source_lens = Vec::with_capacity(pairs.len());
        for (number, pair) in (1..).zip(pairs) {
            let text = template.render(&pair.input);
            let place = format!("the input of pair {number}");
            let tokens = prompt_tokens(&pair.input, &place, template, tokenizer, card)?;
            let source = tokenizer.encode(&pair.input).map_err(|source| PrepareError::Text { place, source })?;
            let target = tokenizer
                .encode_target(&text, &pair.target, card.eos)
                .map_err(|source| PrepareError::Text { place: format!("the target of pair {number}"), source })?;
            let steps = step_budget(target.len());
            let context = card.context_length;
            let most = card.limits.max_steps;
            if steps > most || tokens.len() + steps as usize > context as usize {
                let place = format!("pair {number}");
                return Err(PrepareError::PairTooLong { place, steps, tokens: tokens.len(), most, context });
            }
            prompts.push(PromptSpec { tokens, steps });
            targets.push(target);
            source_lens.push(source.len() as u32);
        }
        let prepared = Self { prompts, targets: Targets::new(targets, card.eos)?, source_lens };
        // The contexts with the fewest rows; a request for others is checked when it is made.
        prepared.check_amount(Contexts::Prompt, card)?;
        Ok(prepared)
    }

    /// Rows that the service will be asked for: step budgets added up, one a prompt, or the prompts' tokens.
    pub fn rows(&self, contexts: Contexts) -> u64 {
        match contexts {
            Contexts::Steps => self.prompts.iter().map(|prompt| u64::from(prompt.steps)).sum(),
            Contexts::Prompt => self.prompts.len() as u64,
            Contexts::PromptAll => self.prompts.iter().map(|prompt| prompt.tokens.len() as u64).sum(),
        }
    }

    /// About how many bytes a memory of them takes, for a model of this card.
    pub fn bytes(&self, contexts: Contexts, card: &ModelCard) -> u64 {
        self.rows(contexts).saturating_mul(row_bytes(card.hidden_size as usize) as u64)
    }

    /// The request for the memory of these prompts. With [`Contexts::Prompt`] and [`Contexts::PromptAll`]
    /// it tells no step budget: nothing of the targets but their number.
    ///
    /// # Errors
    /// [`PrepareError::NotOffered`] when the service does not extract such contexts,
    /// [`PrepareError::TooMany`] when it does not extract so much at once.
    pub fn request(&self, contexts: Contexts, card: &ModelCard) -> Result<CreateMemory, PrepareError> {
        let kind = contexts.kind();
        if !card.memory_kinds.contains(&kind) {
            return Err(PrepareError::NotOffered { kind });
        }
        self.check_amount(contexts, card)?;
        let steps = |prompt: &PromptSpec| match contexts {
            Contexts::Steps => prompt.steps,
            Contexts::Prompt | Contexts::PromptAll => 0,
        };
        let prompts = self.prompts.iter().map(|prompt| PromptSpec { tokens: prompt.tokens.clone(), steps: steps(prompt) });
        Ok(CreateMemory { kind, prompts: prompts.collect() })
    }

    fn check_amount(&self, contexts: Contexts, card: &ModelCard) -> Result<(), PrepareError> {
        let (prompts, rows) = (self.prompts.len(), self.rows(contexts));
        let (max_prompts, max_rows) = (card.limits.max_prompts, card.limits.max_rows);
        if prompts as u64 > u64::from(max_prompts) || rows > max_rows {
            return Err(PrepareError::TooMany { prompts, rows, max_prompts, max_rows });
        }
        Ok(())
    }
}

/// The prompt of one input, as the service will read it.
///
/// # Errors
/// [`PrepareError`] begins with `place` when the input is empty, unencodable or too long.
pub fn prompt_tokens(
    input: &str,
    place: &str,
    template: &Template,
    tokenizer: &Tokenizer,
    card: &ModelCard,
) -> Result<Vec<TokenId>, PrepareError> {
    let place = || place.to_owned();
    if input.trim().is_empty() {
        return Err(PrepareError::EmptyInput { place: place() });
    }
    let tokens = tokenizer.encode_prompt(&template.render(input), card.bos);
    let tokens = tokens.map_err(|source| PrepareError::Text { place: place(), source })?;
    let most = card.limits.max_prompt_tokens;
    if tokens.len() > most as usize {
        return Err(PrepareError::PromptTooLong { place: place(), tokens: tokens.len(), most });
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ContentHash;
    use crate::text::tests::byte_level;
    use crate::wire::{Artifact, Limits, WIRE_VERSION};

    const EOS: TokenId = TokenId(0);

    /// Of a service that extracts up to 40 rows of these kinds.
    fn card(memory_kinds: Vec<MemoryKind>) -> ModelCard {
        let artifact = Artifact { sha256: ContentHash::of(b""), bytes: 0 };
        let limits =
            Limits { max_prompts: 10, max_prompt_tokens: 10, max_steps: 64, max_rows: 40, max_body_bytes: 1000, max_streams: 1 };
        ModelCard {
            wire_version: WIRE_VERSION,
            name: "test".to_owned(),
            hidden_size: 8,
            vocab_size: 10,
            logit_scale: 1.0,
            logit_softcap: None,
            context_length: 100,
            bos: None,
            eos: EOS,
            end_of_generation: vec![EOS],
            model: ContentHash::of(b""),
            head: artifact.clone(),
            head_int8: None,
            tokenizer: artifact,
            memory_kinds,
            logits_modes: Vec::new(),
            limits,
        }
    }

    fn three_pairs() -> Prepared {
        let prompts = (1..4).map(|i| PromptSpec { tokens: vec![TokenId(i)], steps: 16 }).collect();
        Prepared { prompts, targets: Targets::new(vec![vec![EOS]; 3], EOS).unwrap(), source_lens: vec![1; 3] }
    }

    #[test]
    fn a_request_for_contexts_of_the_prompt_alone_tells_no_budget() {
        for contexts in [Contexts::Prompt, Contexts::PromptAll] {
            let request = three_pairs().request(contexts, &card(vec![contexts.kind()])).unwrap();
            assert_eq!(request.kind, contexts.kind());
            let expected = (1..4).map(|i| PromptSpec { tokens: vec![TokenId(i)], steps: 0 });
            assert_eq!(request.prompts, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_request_is_within_what_the_service_extracts() {
        let both = card(vec![MemoryKind::Steps, MemoryKind::Prompt]);
        let pairs = three_pairs();
        assert_eq!((pairs.rows(Contexts::Steps), pairs.rows(Contexts::Prompt)), (48, 3));
        assert!(pairs.request(Contexts::Prompt, &both).is_ok());
        assert!(matches!(pairs.request(Contexts::Steps, &both), Err(PrepareError::TooMany { rows: 48, .. })));
        let refused = pairs.request(Contexts::PromptAll, &both);
        assert!(matches!(refused, Err(PrepareError::NotOffered { kind: MemoryKind::PromptAll })));
        let refused = pairs.request(Contexts::Prompt, &card(vec![MemoryKind::Steps]));
        assert!(matches!(refused, Err(PrepareError::NotOffered { kind: MemoryKind::Prompt })));
    }

    #[test]
    fn rows_of_all_the_prompts_tokens_are_counted() {
        let prompt = |tokens: usize| PromptSpec { tokens: vec![TokenId(1); tokens], steps: 16 };
        let card = card(vec![MemoryKind::PromptAll]);
        for (lengths, rows) in [([20, 20], 40), ([20, 21], 41)] {
            let prompts = lengths.map(prompt).to_vec();
            let pairs = Prepared { prompts, targets: Targets::new(vec![vec![EOS]; 2], EOS).unwrap(), source_lens: vec![1; 2] };
            assert_eq!(pairs.rows(Contexts::PromptAll), rows);
            let refused = pairs.request(Contexts::PromptAll, &card).err().map(|error| error.to_string());
            assert_eq!(refused.is_some(), rows > 40);
            assert!(refused.is_none_or(|refused| refused.contains("41 rows") && refused.contains("use fewer pairs")));
        }
    }

    #[test]
    fn a_source_is_the_input_without_its_template() {
        let (tokenizer, card) = (byte_level(), card(vec![MemoryKind::Steps]));
        let pair = Pair { input: "abc".to_owned(), target: "d".to_owned() };
        let prepared = Prepared::new(&[pair], &Template::parse("to {input}:").unwrap(), &tokenizer, &card).unwrap();
        assert_eq!((prepared.prompts[0].tokens.len(), prepared.source_lens), (7, vec![3]));
    }

    #[test]
    fn a_pair_that_a_model_cannot_take_is_named_with_what_to_do() {
        let (tokenizer, card) = (byte_level(), card(vec![MemoryKind::Steps]));
        let template = Template::parse("{input}").unwrap();
        let (long, very_long) = ("x".repeat(20), "x".repeat(70));
        for (input, target, expected) in [
            (" ", "a", "the input of pair 2 is empty: write something"),
            (&long, "a", "the input of pair 2 has 20 tokens in its template and the service accepts 10: shorten it"),
            ("a", &very_long, "pair 2 needs 80 steps after 1 prompt tokens, and the service takes at most 64 steps"),
            ("a", " ", "the target of pair 2: the target cannot be encoded"),
            ("a", "b<eos>", "the target of pair 2: the target holds the control token \"<eos>\""),
        ] {
            let pair = |input: &str, target: &str| Pair { input: input.to_owned(), target: target.to_owned() };
            let error = Prepared::new(&[pair("a", "b"), pair(input, target)], &template, &tokenizer, &card).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
        let alone = |input| prompt_tokens(input, "the input", &template, &tokenizer, &card).unwrap_err().to_string();
        assert!(alone("\n").starts_with("the input is empty"));
        assert!(alone(&long).starts_with("the input has 20 tokens"));
    }
}
