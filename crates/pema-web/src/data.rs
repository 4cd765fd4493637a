//! The user's pairs, as prompts for the service and targets that stay here.

use pema_core::{
    align::Contexts,
    data::{Columns, Format, Pair, Split, Template, column_names, import},
    id::TokenId,
    prepare::{Prepared, prompt_tokens},
    text::{Tokenizer, is_one_line},
    wire::ModelCard,
};

use crate::{
    error::TabError,
    page::Page,
    protocol::{Command, DataFile, DataSummary, Event, MemoryEstimate, PairPreview},
    session::State,
};

/// Pairs shown to the user.
const PREVIEW: usize = 5;

/// Pairs, tokenized; nothing of it is stored.
pub(crate) struct Data {
    /// Training pairs, then validation pairs.
    pub prepared: Prepared,
    /// The validation pairs as they came.
    pub validation: Vec<Pair>,
    /// Pairs to evaluate on.
    pub test: Vec<Pair>,
    template: Template,
    /// The first validation prompt.
    pub validation_from: u32,
    #[cfg(feature = "planted-leaks")]
    pub leak: Option<crate::leak::Leak>,
    #[cfg(feature = "planted-leaks")]
    pub first_target: String,
}

impl Data {
    /// The prompt of an input, as the service will read it.
    pub fn prompt_of(&self, input: &str, tokenizer: &Tokenizer, card: &ModelCard) -> Result<Vec<TokenId>, TabError> {
        Ok(prompt_tokens(input, "the input", &self.template, tokenizer, card)?)
    }
}

/// Lists a file's columns.
pub(crate) fn inspect(page: &Page, file: &DataFile) -> Result<(), TabError> {
    let columns = column_names(&file.bytes, Format::detect(&file.name, &file.bytes))?;
    let (input, target) = Columns::guess(&columns).map(|guess| (guess.input, guess.target)).unzip();
    page.post(&Event::DataInspected { columns, input, target });
    Ok(())
}

/// Reads and tokenizes the pairs of a [`Command::LoadData`].
pub(crate) fn load(state: &mut State, page: &Page, command: Command) -> Result<(), TabError> {
    let Command::LoadData { train, validation, test, input_column, target_column, template, validation_fraction, seed } = command
    else {
        return Ok(());
    };
    let connection = state.connection()?;
    let template = Template::parse(&template)?;
    let columns = Columns { input: input_column, target: target_column };
    let (learn, validate) = match &validation {
        Some(file) => (pairs(&train, &columns)?, pairs(file, &columns)?),
        None => split(pairs(&train, &columns)?, validation_fraction, seed)?,
    };
    let test = match &test {
        Some(file) => pairs(file, &columns)?,
        None => Vec::new(),
    };
    let validation_from = learn.len() as u32;
    let mut all: Vec<Pair> = learn.into_iter().chain(validate).collect();
    let prepared = Prepared::new(&all, &template, &connection.tokenizer, &connection.card)?;
    let estimate = |contexts| MemoryEstimate {
        rows: prepared.rows(contexts) as f64,
        bytes: prepared.bytes(contexts, &connection.card) as f64,
    };
    let data = DataSummary {
        train: validation_from,
        validation: all.len() as u32 - validation_from,
        test: test.len() as u32,
        one_line: all.iter().all(|pair| is_one_line(&pair.target)),
        target_tokens: prepared.targets.pairs() as u32,
        prompt_tokens: prepared.prompts.iter().map(|prompt| prompt.tokens.len() as u32).sum(),
        memory_of_steps: estimate(Contexts::Steps),
        memory_of_prompts: estimate(Contexts::Prompt),
        memory_of_prompt_tokens: estimate(Contexts::PromptAll),
        preview: preview(&all, &template, &prepared),
    };
    state.data = Some(Data {
        prepared,
        validation: all.split_off(validation_from as usize),
        test,
        template,
        validation_from,
        #[cfg(feature = "planted-leaks")]
        leak: crate::leak::Leak::of_file(&train.name),
        #[cfg(feature = "planted-leaks")]
        first_target: all.first().map(|pair| pair.target.clone()).unwrap_or_default(),
    });
    state.memory = None;
    page.post(&Event::DataLoaded { data });
    Ok(())
}

fn pairs(file: &DataFile, columns: &Columns) -> Result<Vec<Pair>, TabError> {
    Ok(import(&file.bytes, Format::detect(&file.name, &file.bytes), columns)?.complete()?)
}

fn split(pairs: Vec<Pair>, fraction: f32, seed: u32) -> Result<(Vec<Pair>, Vec<Pair>), TabError> {
    let split = Split::new(pairs.len(), fraction.into(), seed.into())?;
    let take = |indices: &[usize]| indices.iter().map(|&i| pairs[i].clone()).collect();
    Ok((take(&split.train), take(&split.validation)))
}

fn preview(pairs: &[Pair], template: &Template, prepared: &Prepared) -> Vec<PairPreview> {
    let shown = pairs.iter().zip(&prepared.prompts).enumerate().take(PREVIEW);
    let preview = shown.map(|(i, (pair, prompt))| PairPreview {
        prompt: template.render(&pair.input),
        target: pair.target.clone(),
        prompt_tokens: prompt.tokens.len() as u32,
        target_tokens: prepared.targets.of(i as u32).map_or(0, <[TokenId]>::len) as u32,
    });
    preview.collect()
}
