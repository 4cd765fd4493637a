use super::*;
use proptest::prelude::*;

const EOS: TokenId = TokenId(2);

/// Targets of the given lengths, EOS among them, whose tokens tell prompt and place.
fn targets(lengths: &[usize]) -> Targets {
    let target = |(prompt, &len): (usize, &usize)| {
        let words = (0..len - 1).map(|i| TokenId((100 * (prompt + 1) + i) as u32));
        words.chain([EOS]).collect()
    };
    Targets::new(lengths.iter().enumerate().map(target).collect(), EOS).unwrap()
}

/// `prompt` and `step` columns of prompts from `first` on, with these numbers of steps.
fn columns(first: u32, steps: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let prompt = (first..).zip(steps).flat_map(|(p, &k)| vec![p; k as usize]).collect();
    (prompt, steps.iter().flat_map(|&k| 0..k).collect())
}

/// Prompts of these lengths.
fn prompts(lengths: &[usize]) -> Vec<PromptSpec> {
    lengths.iter().map(|&len| PromptSpec { tokens: vec![TokenId(1); len], steps: 0 }).collect()
}

fn join_all(shards: &[(Vec<u32>, Vec<u32>)], targets: &Targets) -> Result<Joined, AlignError> {
    join(shards.iter().map(|(prompt, step)| (prompt.as_slice(), step.as_slice())), targets, &[], Contexts::Steps)
}

#[test]
fn rows_meet_targets_by_position_and_rows_past_the_end_are_unused() {
    let shards = [columns(0, &[4]), columns(1, &[4, 4])];
    let joined = join_all(&shards, &targets(&[2, 3, 1])).unwrap();
    let row = |shard, row| RowRef { shard, row };
    assert_eq!(joined.rows, [row(0, 0), row(0, 1), row(1, 0), row(1, 1), row(1, 2), row(1, 4)]);
    assert_eq!(joined.y, [100, 2, 200, 201, 2, 2].map(TokenId));
    assert_eq!(joined.prompt, [0, 0, 1, 1, 1, 2]);
}

#[test]
fn one_row_of_a_prompt_meets_its_whole_target() {
    let targets = targets(&[2, 3]);
    let joined = join([(&[0, 1][..], &[0, 0][..])], &targets, &[], Contexts::Prompt).unwrap();
    let row = |row| RowRef { shard: 0, row };
    assert_eq!(joined.rows, [row(0), row(0), row(1), row(1), row(1)]);
    assert_eq!(joined.y, [100, 2, 200, 201, 2].map(TokenId));
    assert_eq!(joined.step, [0, 1, 0, 1, 2]);
    assert_eq!(joined.prompt, [0, 0, 1, 1, 1]);
}

#[test]
fn memories_of_the_other_contexts_are_refused() {
    let targets = targets(&[2, 3]);
    let of_steps = join([(&[0, 0, 1][..], &[0, 1, 0][..])], &targets, &[], Contexts::Prompt).unwrap_err();
    assert_eq!(of_steps, AlignError::SecondRow { prompt: 0 });
    let of_prompts = join([(&[0, 1][..], &[0, 0][..])], &targets, &[], Contexts::Steps).unwrap_err();
    assert_eq!(of_prompts, AlignError::TooLong { prompt: 0, tokens: 2, rows: 1 });
    let missing = join([(&[0][..], &[0][..])], &targets, &[], Contexts::Prompt).unwrap_err();
    assert_eq!(missing, AlignError::MissingPrompt { prompt: 1 });
}

#[test]
fn the_last_row_of_all_the_prompts_tokens_meets_its_whole_target() {
    let targets = targets(&[2, 1]);
    let prompts = prompts(&[3, 1]);
    let joined = join([(&[0, 0, 0, 1][..], &[0, 1, 2, 0][..])], &targets, &prompts, Contexts::PromptAll).unwrap();
    let row = |row| RowRef { shard: 0, row };
    assert_eq!(joined.rows, [row(2), row(2), row(3)]);
    assert_eq!(joined.y, [100, 2, 2].map(TokenId));
    assert_eq!((joined.step, joined.prompt), (vec![0, 1, 0], vec![0, 0, 1]));
}

#[test]
fn rows_that_are_not_those_of_the_prompts_tokens_are_refused() {
    let targets = targets(&[2, 1]);
    let prompts = prompts(&[3, 1]);
    let refused = |prompt: &[u32], step: &[u32]| join([(prompt, step)], &targets, &prompts, Contexts::PromptAll).unwrap_err();
    let too_many = AlignError::PromptRows { prompt: 1, tokens: 1, rows: 2 };
    assert_eq!(refused(&[0, 0, 0, 1, 1], &[0, 1, 2, 0, 1]), too_many);
    let too_few = AlignError::PromptRows { prompt: 0, tokens: 3, rows: 2 };
    assert_eq!(refused(&[0, 0, 1], &[0, 1, 0]), too_few);
    assert_eq!(refused(&[0, 0, 0], &[0, 1, 2]), AlignError::MissingPrompt { prompt: 1 });
    assert!(too_few.to_string().contains("has 3 tokens and the memory has 2 of their rows"), "{too_few}");
}

#[test]
fn every_kind_of_memory_gives_its_contexts() {
    for contexts in [Contexts::Steps, Contexts::Prompt, Contexts::PromptAll] {
        assert_eq!(Contexts::of(contexts.kind()), contexts);
    }
}

#[test]
fn filter_keeps_one_side_of_a_split() {
    let joined = join_all(&[columns(0, &[4, 4])], &targets(&[2, 1])).unwrap();
    let kept = joined.filter(|prompt| prompt == 1);
    assert_eq!((kept.rows, kept.y), (vec![RowRef { shard: 0, row: 4 }], vec![EOS]));
}

#[test]
fn target_longer_than_its_rows_is_named() {
    let error = join_all(&[columns(0, &[4, 4])], &targets(&[2, 6])).unwrap_err();
    assert_eq!(error, AlignError::TooLong { prompt: 1, tokens: 6, rows: 4 });
}

#[test]
fn missing_and_unknown_prompts_are_named() {
    let error = join_all(&[columns(0, &[4])], &targets(&[2, 2])).unwrap_err();
    assert_eq!(error, AlignError::MissingPrompt { prompt: 1 });
    let error = join_all(&[columns(0, &[4, 4])], &targets(&[2])).unwrap_err();
    assert_eq!(error, AlignError::UnknownPrompt { prompt: 1, targets: 1 });
}

#[test]
fn repeated_shards_are_refused() {
    let error = join_all(&[columns(0, &[4]), columns(0, &[4])], &targets(&[2])).unwrap_err();
    assert_eq!(error, AlignError::Step { prompt: 0, expected: 4, found: 0 });
}

#[test]
fn rows_of_other_prompts_in_between_are_refused() {
    let (targets, prompts) = (targets(&[2, 2]), prompts(&[1, 1]));
    let join = |prompt: &[u32], step: &[u32]| Joiner::new(&targets, &prompts, Contexts::Steps).add(0, prompt, step);
    assert_eq!(join(&[0, 1, 0, 1], &[0, 0, 1, 1]), Err(AlignError::Scattered { prompt: 0 }));
    assert!(join(&[1, 1, 0, 0], &[0, 1, 0, 1]).is_ok());
}

#[test]
fn columns_of_different_lengths_are_refused() {
    let targets = targets(&[2]);
    let error = Joiner::new(&targets, &[], Contexts::Steps).add(7, &[0, 0], &[0]).unwrap_err();
    assert_eq!(error, AlignError::Columns { shard: 7, prompts: 2, steps: 1 });
}

#[test]
fn targets_must_end_in_eos() {
    let error = Targets::new(vec![vec![EOS], vec![TokenId(5)]], EOS).unwrap_err();
    assert_eq!(error, AlignError::NoEos { prompt: 1 });
    assert_eq!(Targets::new(vec![vec![]], EOS).unwrap_err(), AlignError::NoEos { prompt: 0 });
}

#[test]
fn budgets_hide_lengths_within_a_bucket() {
    assert_eq!(targets(&[1, 16, 17, 40]).budgets(), [16, 16, 32, 48]);
    assert_eq!(step_budget(0), 16);
}

proptest! {
    #[test]
    fn bucketed_memories_join_completely(lengths in prop::collection::vec(1usize..40, 1..12), cut in 0usize..12) {
        let targets = targets(&lengths);
        let budgets = targets.budgets();
        let (first, second) = budgets.split_at(cut.min(budgets.len()));
        // Shards may arrive in any order.
        let mut joiner = Joiner::new(&targets, &[], Contexts::Steps);
        let (prompt, step) = columns(first.len() as u32, second);
        let mut joined = joiner.add(1, &prompt, &step).unwrap();
        let (prompt, step) = columns(0, first);
        joined.append(joiner.add(0, &prompt, &step).unwrap());
        joiner.finish().unwrap();
        prop_assert_eq!(joined.y.len(), targets.pairs());
        prop_assert_eq!(joined.y.iter().filter(|y| **y == EOS).count(), targets.prompts());
    }
}
