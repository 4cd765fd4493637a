//! Which column is the input and which the target.

use serde::{Deserialize, Serialize};

/// Usual names of an input column, best first.
const INPUTS: [&str; 14] = [
    "input",
    "source",
    "src",
    "prompt",
    "question",
    "instruction",
    "query",
    "informal",
    "original",
    "before",
    "text",
    "sentence",
    "en",
    "x",
];
/// Usual names of a target column, best first.
const TARGETS: [&str; 17] = [
    "target",
    "output",
    "tgt",
    "answer",
    "response",
    "completion",
    "reference",
    "ref",
    "formal",
    "rewrite",
    "after",
    "translation",
    "label",
    "de",
    "du",
    "sie",
    "y",
];

/// The two columns to read, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// Holds the inputs.
    pub input: String,
    /// Holds the targets.
    pub target: String,
}

impl Default for Columns {
    /// `input` and `target`.
    fn default() -> Self {
        Self { input: "input".to_owned(), target: "target".to_owned() }
    }
}

impl Columns {
    /// A first choice among a file's columns: by usual names, whatever their case. Of exactly two
    /// columns, one without a usual name takes the role that is left, and two such are input and
    /// target in this order. `None` when the user has to choose.
    pub fn guess(names: &[String]) -> Option<Self> {
        let find =
            |usual: &[&str]| usual.iter().find_map(|usual| names.iter().find(|name| name.trim().eq_ignore_ascii_case(usual)));
        let (input, target) = match (find(&INPUTS), find(&TARGETS), names) {
            (Some(input), Some(target), _) => (input, target),
            (Some(input), None, [a, b]) => (input, if input == a { b } else { a }),
            (None, Some(target), [a, b]) => (if target == a { b } else { a }, target),
            (None, None, [a, b]) => (a, b),
            _ => return None,
        };
        (input != target).then(|| Self { input: input.clone(), target: target.clone() })
    }
}
