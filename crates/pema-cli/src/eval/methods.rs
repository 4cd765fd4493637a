//! The methods, as data: what each sets beyond the settings that all share.

use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use pema_adapter::AdapterConfig;
use pema_core::{
    align::Contexts,
    schedule::{Mixing, Schedule},
};
use serde_json::{Map, Value};

use super::likelihood::{CONSTANT, FORMS};
use crate::writer::Form;

/// One way to adapt the PLM.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// For the command line.
    pub name: String,
    /// For people.
    pub title: String,
    /// What it does.
    pub way: Way,
}

/// What a method does.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// Nothing: the PLM alone.
    Plm,
    /// kNN-LM on the external memory.
    Knn,
    /// Trains the model itself, which takes its weights: an outside comparator.
    WhiteBox,
    /// Trains an adapter.
    Adapter {
        /// Settings of [`AdapterConfig`] on top of the shared ones.
        settings: Map<String, Value>,
        /// Whether it learns from contexts along the targets, which tells them to the PLM's owner.
        discloses: bool,
    },
}

/// The paper's method, which the others are compared with.
pub const PEMA: &str = "pema";

/// Adapters that keep targets: name, title, settings beyond the shared ones. The paper's has none.
const ADAPTERS: [(&str, &str, &str); 10] = [
    (PEMA, "PEMA", "{}"),
    ("pema-kappa-0", "PEMA, kappa 0", r#"{"kappa": 0}"#),
    ("window", "PEMA + last tokens", r#"{"kappa": 0, "prefix": 3, "activation": "silu"}"#),
    ("copy", "PEMA + last tokens, copying", r#"{"kappa": 0, "prefix": 3, "activation": "silu", "copy": true}"#),
    ("context", "PEMA + local context", r#"{"kappa": 0, "prefix": 3, "activation": "silu", "copy": true, "recall": true}"#),
    (
        "short",
        "PEMA + local context, vocabulary met",
        r#"{"kappa": 0, "prefix": 3, "activation": "silu", "copy": true, "recall": true, "vocabulary": {"met": {"top_k": 8}}, "pairing": "prompt"}"#,
    ),
    (
        "contrast",
        "PEMA + local context, vocabulary met, contrast",
        r#"{"kappa": 0, "prefix": 3, "activation": "silu", "copy": true, "recall": true, "vocabulary": {"met": {"top_k": 8}}, "pairing": "prompt", "contrast": true}"#,
    ),
    (
        "residual",
        "PEMA + local context, vocabulary met, residual",
        r#"{"kappa": 0, "prefix": 3, "activation": "silu", "copy": true, "recall": true, "vocabulary": {"met": {"top_k": 8}}, "pairing": "alignment", "residual": true}"#,
    ),
    (
        "gated",
        "PEMA + local context, vocabulary met, gate",
        r#"{"kappa": 0, "prefix": 3, "activation": "silu", "copy": true, "recall": true, "vocabulary": {"met": {"top_k": 8}}, "gate": true}"#,
    ),
    (
        "attend",
        "PEMA + local context, attention over the prompt",
        r#"{"kappa": 0, "prefix": 3, "activation": "silu", "copy": true, "recall": true, "attend": true}"#,
    ),
];

/// The upper bound, behind `--disclose-targets`.
pub const DISCLOSED: &str = "disclosed";

/// Settings of the paper's own method, which all methods may share. The others make a method, and
/// the seed of training is one of these.
const SHARED: [&str; 13] = [
    "rank",
    "alpha",
    "dropout",
    "kappa",
    "lr",
    "lr_decay",
    "reconstruction_batch",
    "reconstruction_epochs",
    "prediction_batch",
    "prediction_epochs",
    "validate_every",
    "patience",
    "seed",
];

impl Method {
    fn new(name: &str, title: &str, way: Way) -> Self {
        Self { name: name.to_owned(), title: title.to_owned(), way }
    }

    /// Every method that is known by name, in the report's order.
    pub fn built_in() -> Result<Vec<Self>> {
        let mut all = vec![Self::new("plm", "PLM alone", Way::Plm), Self::new("knn", "kNN-LM", Way::Knn)];
        for (name, title, settings) in ADAPTERS {
            let settings = serde_json::from_str(settings).with_context(|| format!("the settings of {name}"))?;
            all.push(Self::new(name, title, Way::Adapter { settings, discloses: false }));
        }
        let disclosed = Way::Adapter { settings: Map::new(), discloses: true };
        all.push(Self::new(DISCLOSED, "PEMA, targets disclosed", disclosed));
        Ok(all)
    }

    /// The methods of these names, then those of the user's own; all that keep targets, if there are
    /// no names.
    pub fn chosen(names: &[String], own: &[Self]) -> Result<Vec<Self>> {
        let known = Self::built_in()?;
        if let Some(taken) = own.iter().find(|method| known.iter().any(|known| known.name == method.name)) {
            anyhow::bail!("there is a method {} already: call yours otherwise", taken.name);
        }
        if names.is_empty() {
            return Ok(known.into_iter().filter(|method| !method.discloses()).chain(own.iter().cloned()).collect());
        }
        let list = || known.iter().map(|method| method.name.as_str()).collect::<Vec<_>>().join(", ");
        let find = |name: &String| known.iter().find(|method| method.name == *name).cloned();
        let find = |name| find(name).with_context(|| format!("there is no method {name}; there are {}", list()));
        let named = names.iter().map(find).collect::<Result<Vec<_>>>()?;
        Ok(named.into_iter().chain(own.iter().cloned()).collect())
    }

    /// Whether it is known by name, and not of the user's making.
    pub fn is_built_in(&self) -> bool {
        ["plm", "knn", DISCLOSED].into_iter().chain(ADAPTERS.map(|(name, ..)| name)).any(|name| name == self.name)
    }

    /// Whether it tells targets to the PLM's owner.
    pub fn discloses(&self) -> bool {
        matches!(self.way, Way::Adapter { discloses: true, .. })
    }

    /// Why it cannot be measured on a memory with these contexts, if so.
    pub fn misfit(&self, contexts: Contexts) -> Option<String> {
        let Way::Adapter { settings, .. } = &self.way else { return None };
        let lacks = |setting, needed| settings.get(setting) == Some(&Value::Bool(true)) && contexts != needed;
        let why = match () {
            () if lacks("attend", Contexts::PromptAll) => {
                "it attends over all the prompt's tokens: extract a memory with --contexts prompt-all"
            }
            () if lacks("contrast", Contexts::Steps) => {
                "contrast imitates what follows contexts of steps: extract a memory of these"
            }
            () if lacks("residual", Contexts::Steps) => {
                "it changes what the PLM predicts after each of its words: extract a memory of steps"
            }
            () if lacks("gate", Contexts::Steps) => "a gate learns from contexts of steps: extract a memory of these",
            () => return None,
        };
        Some(format!("{}: {why}", self.title))
    }

    /// The mixtures of the report's rows, but for their weights.
    pub fn forms(&self) -> Vec<Form> {
        let Way::Adapter { settings, .. } = &self.way else { return vec![CONSTANT] };
        let has = |setting| settings.get(setting) == Some(&Value::Bool(true));
        let fits = |form: &Form| match (form.mixing, form.schedule) {
            (Mixing::Contrast, _) => has("contrast"),
            (_, Schedule::Learned) => has("gate"),
            _ => true,
        };
        FORMS.into_iter().filter(fits).collect()
    }
}

/// `name={"prefix": 4}`: an adapter of the user's own.
impl FromStr for Method {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, settings) = text.split_once('=').context("a method is written as name={\"setting\": value}")?;
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        ensure!(!name.is_empty() && name.chars().all(safe), "{name:?} is no name: use letters, digits and -_.");
        let settings = serde_json::from_str(settings).with_context(|| format!("the settings of {name}"))?;
        config(&Map::new(), &settings, needed_contexts(&settings)).with_context(|| format!("the settings of {name}"))?;
        Ok(Self::new(name, name, Way::Adapter { settings, discloses: false }))
    }
}

/// Reads `--settings`: only what all methods may share.
pub fn shared(text: &str) -> Result<Map<String, Value>> {
    let settings: Map<String, Value> = serde_json::from_str(text).context("--settings")?;
    let own = settings.keys().find(|name| !SHARED.contains(&name.as_str()));
    if let Some(name) = own {
        anyhow::bail!(
            "--settings holds what all methods share, and {name} makes a method: name one with --method 'own={{\"{name}\": …}}'"
        );
    }
    config(&settings, &Map::new(), Contexts::default()).context("--settings")?;
    Ok(settings)
}

/// Contexts with which settings can be valid.
fn needed_contexts(settings: &Map<String, Value>) -> Contexts {
    match settings.get("attend") {
        Some(Value::Bool(true)) => Contexts::PromptAll,
        _ => Contexts::default(),
    }
}

/// The settings of a method on a memory with these contexts.
pub fn config(shared: &Map<String, Value>, own: &Map<String, Value>, contexts: Contexts) -> Result<AdapterConfig> {
    let merged: Map<String, Value> = shared.clone().into_iter().chain(own.clone()).collect();
    let config: AdapterConfig = serde_json::from_value(Value::Object(merged))?;
    let config = AdapterConfig { contexts, ..config };
    config.validate()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(methods: &[Method]) -> Vec<&str> {
        methods.iter().map(|method| method.name.as_str()).collect()
    }

    #[test]
    fn built_in_methods_are_valid_settings() {
        let shared = shared(r#"{"rank": 16}"#).unwrap();
        for method in Method::built_in().unwrap() {
            if let Way::Adapter { settings, .. } = &method.way {
                let contexts = needed_contexts(settings);
                let config = config(&shared, settings, contexts).unwrap();
                assert_eq!((config.rank, config.contexts), (16, contexts), "{}", method.name);
            }
        }
    }

    #[test]
    fn a_method_is_left_out_where_the_memory_has_not_what_it_needs() {
        let own: Method = r#"mine={"attend": true}"#.parse().unwrap();
        let all = Method::chosen(&[], &[own]).unwrap();
        let misfits = |contexts| -> (Vec<_>, Vec<_>) {
            all.iter().filter_map(|method| Some((method.name.as_str(), method.misfit(contexts)?))).unzip()
        };
        let (of_steps, why) = misfits(Contexts::Steps);
        assert_eq!(of_steps, ["attend", "mine"]);
        assert!(why.iter().all(|why| why.contains("--contexts prompt-all")), "{why:?}");
        assert_eq!(misfits(Contexts::Prompt).0, ["contrast", "residual", "gated", "attend", "mine"]);
        assert_eq!(misfits(Contexts::PromptAll).0, ["contrast", "residual", "gated"]);
    }

    #[test]
    fn targets_are_disclosed_by_name_only() {
        assert_eq!(
            names(&Method::chosen(&[], &[]).unwrap()),
            [
                "plm",
                "knn",
                "pema",
                "pema-kappa-0",
                "window",
                "copy",
                "context",
                "short",
                "contrast",
                "residual",
                "gated",
                "attend"
            ]
        );
        assert_eq!(names(&Method::chosen(&[DISCLOSED.to_owned()], &[]).unwrap()), [DISCLOSED]);
        assert!(Method::chosen(&["penna".to_owned()], &[]).is_err());
    }

    #[test]
    fn a_method_of_the_users_own_has_its_settings() {
        let own: Method = r#"deep={"prefix": 4, "kappa": 0.5}"#.parse().unwrap();
        let chosen = Method::chosen(&["plm".to_owned()], std::slice::from_ref(&own)).unwrap();
        assert_eq!(names(&chosen), ["plm", "deep"]);
        let Way::Adapter { settings, .. } = &own.way else { panic!("{own:?}") };
        let config = config(&shared(r#"{"kappa": 0.1}"#).unwrap(), settings, Contexts::Steps).unwrap();
        assert_eq!((config.prefix, config.kappa), (4, 0.5));
        for bad in ["deep", "deep={", r#"deep={"no_such": 1}"#, r#"a b={}"#, r#"deep={"kappa": 2}"#] {
            assert!(bad.parse::<Method>().is_err(), "{bad}");
        }
        let taken: Method = "pema={}".parse().unwrap();
        assert!(Method::chosen(&[], &[taken]).is_err());
    }

    #[test]
    fn what_makes_a_method_is_not_shared() {
        let refused = shared(r#"{"prefix": 2}"#).unwrap_err().to_string();
        assert!(refused.contains("--method"), "{refused}");
    }
}
