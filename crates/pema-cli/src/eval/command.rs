//! Commands that repeat a part of a run.

/// The words of a command after the program's name.
#[derive(Clone, Debug)]
pub struct Command(Vec<String>);

/// Options that choose what is measured, and have a value.
const CHOOSING: [&str; 8] =
    ["--baselines", "--methods", "--method", "--out", "--sweep", "--sweep-methods", "--jobs", "--streams"];

/// Also chooses, and has none.
const DISCLOSE: &str = "--disclose-targets";

/// Where a repetition writes: the run's own folder would give it the run's results.
const REPETITION: [&str; 2] = ["--out", "repetition"];

impl Command {
    /// This program's.
    pub fn this() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// The command with `options` (and their values) instead of what chooses and of what they set.
    pub fn repeat(&self, options: &[&str]) -> Self {
        let mut words = Vec::new();
        let mut rest = self.0.iter();
        while let Some(word) = rest.next() {
            let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
            let is_replaced = CHOOSING.contains(&name) || (name.starts_with("--") && options.contains(&name));
            match name {
                DISCLOSE => {}
                _ if !is_replaced => words.push(word.clone()),
                // Its value is the next word.
                _ if name == word => drop(rest.next()),
                _ => {}
            }
        }
        words.extend(options.iter().chain(&REPETITION).map(|&word| word.to_owned()));
        Self(words)
    }
}

/// As a shell reads it.
impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Words of a command line hold no zero byte, which is all that cannot be quoted.
        let words = self.0.iter().map(|word| shlex::try_quote(word).unwrap_or_default());
        write!(f, "pema {}", words.collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_run_is_repeated_with_the_same_data() {
        let run = "eval --methods plm,pema --disclose-targets --texts --method=a={} --template {input}: --out x --settings {}";
        let run = Command(run.split(' ').map(str::to_owned).collect());
        let one = run.repeat(&["--methods", "pema"]).to_string();
        assert_eq!(one, "pema eval --texts --template '{input}:' --settings '{}' --methods pema --out repetition");
        let other = run.repeat(&["--methods", "disclosed", "--settings", r#"{"rank":8}"#]).to_string();
        assert!(
            other.ends_with(r#"--template '{input}:' --methods disclosed --settings '{"rank":8}' --out repetition"#),
            "{other}"
        );
    }
}
