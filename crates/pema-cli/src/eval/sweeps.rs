//! Sweeps: the same method at other ranks, other kappas, or on less of the memory.

use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use pema_adapter::AdapterConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    bench::{Bench, Job},
    bootstrap::interval,
    command::Command,
    likelihood::{choose, likelihoods},
    methods::{DISCLOSED, Method, Way, config},
    report::{Curve, Point},
};

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// The adapter's rank, at the shared settings' `alpha / rank`.
    Rank,
    /// The weight of reconstruction.
    Kappa,
    /// The number of training pairs.
    Memory,
}

/// Values of one quantity.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    quantity: Quantity,
    /// Ranks, kappas, or shares of the training pairs.
    values: Vec<f64>,
}

/// Some axes: `rank,kappa` with values as the paper's, or `rank=16,64` with one's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Axes(Vec<Axis>);

impl Quantity {
    const ALL: [(&'static str, Self, &'static [f64]); 3] = [
        ("rank", Self::Rank, &[16.0, 32.0, 64.0, 128.0, 256.0, 512.0]),
        ("kappa", Self::Kappa, &[0.0, 0.2, 0.4, 0.6, 0.8]),
        ("memory", Self::Memory, &[0.125, 0.25, 0.5, 1.0]),
    ];

    fn named(name: &str) -> Result<Axis> {
        let found = Self::ALL.into_iter().find(|(known, ..)| *known == name);
        let (_, quantity, values) = found.with_context(|| format!("{name:?} is not swept; rank, kappa and memory are"))?;
        Ok(Axis { quantity, values: values.to_vec() })
    }

    fn allows(self, value: f64) -> bool {
        match self {
            Self::Rank => value >= 1.0 && value.fract() == 0.0,
            Self::Kappa => (0.0..1.0).contains(&value),
            Self::Memory => value > 0.0 && value <= 1.0,
        }
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rank => "rank",
            Self::Kappa => "kappa",
            Self::Memory => "memory",
        })
    }
}

impl FromStr for Axes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((name, values)) = text.split_once('=') else {
            return Ok(Self(text.split(',').map(Quantity::named).collect::<Result<_>>()?));
        };
        let Axis { quantity, .. } = Quantity::named(name)?;
        let values = values.split(',').map(|value| value.trim().parse()).collect::<Result<Vec<f64>, _>>()?;
        let refused = values.iter().find(|&&value| !quantity.allows(value));
        ensure!(refused.is_none(), "{name} cannot be {}", refused.copied().unwrap_or_default());
        Ok(Self(vec![Axis { quantity, values }]))
    }
}

/// A method along an axis: one job for each value.
pub struct Sweep {
    method: Method,
    quantity: Quantity,
    cells: Vec<Cell>,
}

/// One value.
struct Cell {
    /// Where it stands on the axis: rank, kappa, or training pairs.
    x: f64,
    /// Options that repeat it.
    options: Vec<String>,
    job: Job,
}

/// Every axis for every method that trains an adapter.
pub fn sweeps(axes: &[Axes], methods: &[Method], shared: &Map<String, Value>, training_pairs: u32) -> Result<Vec<Sweep>> {
    let mut all = Vec::new();
    for Axis { quantity, values } in axes.iter().flat_map(|axes| &axes.0) {
        for method in methods {
            let cells = values.iter().map(|&value| cell(method, *quantity, value, shared, training_pairs));
            all.push(Sweep { method: method.clone(), quantity: *quantity, cells: cells.collect::<Result<_>>()? });
        }
    }
    Ok(all)
}

fn cell(method: &Method, quantity: Quantity, value: f64, shared: &Map<String, Value>, training_pairs: u32) -> Result<Cell> {
    let Way::Adapter { settings, discloses } = &method.way else {
        anyhow::bail!("{} trains no adapter, so there is nothing to sweep", method.title);
    };
    let AdapterConfig { rank, alpha, .. } = config(shared, settings, Default::default())?;
    let (x, changed, train_limit) = match quantity {
        Quantity::Rank => (value, json!({"rank": value as usize, "alpha": value * alpha / rank as f64}), training_pairs),
        Quantity::Kappa => (value, json!({"kappa": value}), training_pairs),
        Quantity::Memory => {
            let pairs = ((value * f64::from(training_pairs)).round() as u32).max(1);
            (f64::from(pairs), json!({}), pairs)
        }
    };
    let changed = changed.as_object().cloned().unwrap_or_default();
    let own: Map<String, Value> = settings.clone().into_iter().chain(changed).collect();
    let mut options: Vec<String> = ["--train-limit", &train_limit.to_string(), "--methods"].map(str::to_owned).to_vec();
    if *discloses {
        // No method of one's own can disclose targets; what is swept is among the shared settings.
        let all: Map<String, Value> = shared.clone().into_iter().chain(own.clone()).collect();
        let settings = json!(all).to_string();
        options.extend([&format!("plm,{DISCLOSED}"), "--disclose-targets", "--settings", &settings].map(str::to_owned));
    } else {
        options.extend(["plm", "--method", &format!("{}-swept={}", method.name, json!(own))].map(str::to_owned));
    }
    let way = Way::Adapter { settings: own, discloses: *discloses };
    Ok(Cell { x, options, job: Job { method: Method { way, ..method.clone() }, train_limit } })
}

impl Sweep {
    /// The jobs, which may be done in any order.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.cells.iter().map(|cell| &cell.job)
    }

    /// Test perplexity along the axis, of the mixture that is best on validation references.
    pub fn curve(&self, bench: &Bench<'_>, seed: u64, command: &Command) -> Result<Curve> {
        let mut points = Vec::with_capacity(self.cells.len());
        for Cell { x, options, job } in &self.cells {
            let outcome = bench.run(job)?;
            let [on_validation, on_test] = &outcome.scored;
            let choice = choose(on_validation, &job.method.forms())?;
            points.push(Point {
                x: *x,
                mixture: choice.mixture,
                validation_perplexity: choice.perplexity,
                perplexity: interval(&likelihoods(choice.mixture, on_test)?, seed),
                costs: outcome.costs,
                settings: outcome.settings,
                command: command.repeat(&options.iter().map(String::as_str).collect::<Vec<_>>()).to_string(),
            });
        }
        let Method { name, title, .. } = &self.method;
        let discloses = self.method.discloses();
        Ok(Curve { quantity: self.quantity, method: name.clone(), title: title.clone(), discloses, points })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(settings: Value) -> Method {
        let Value::Object(settings) = settings else { panic!("{settings}") };
        Method { name: "own".to_owned(), title: "Own".to_owned(), way: Way::Adapter { settings, discloses: false } }
    }

    fn shared() -> Map<String, Value> {
        super::super::methods::shared(r#"{"rank": 128, "alpha": 64, "kappa": 0.1}"#).unwrap()
    }

    #[test]
    fn axes_have_the_papers_values_or_ones_own() {
        let axes: Axes = "rank,kappa".parse().unwrap();
        assert_eq!(axes.0.iter().map(|axis| axis.values.len()).collect::<Vec<_>>(), [6, 5]);
        assert_eq!("kappa=0,0.5".parse::<Axes>().unwrap().0, [Axis { quantity: Quantity::Kappa, values: vec![0.0, 0.5] }]);
        for bad in ["seed", "rank=0", "rank=1.5", "kappa=1", "memory=2", "rank=x"] {
            assert!(bad.parse::<Axes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cell_changes_one_thing() {
        let method = method(json!({"prefix": 2}));
        let of = |quantity, value| {
            let Cell { x, job: Job { method, train_limit }, .. } = cell(&method, quantity, value, &shared(), 200).unwrap();
            let Way::Adapter { settings, .. } = method.way else { panic!() };
            (x, config(&shared(), &settings, Default::default()).unwrap(), train_limit)
        };
        let base = config(&shared(), &Map::from_iter([("prefix".to_owned(), json!(2))]), Default::default()).unwrap();
        let (_, rank, limit) = of(Quantity::Rank, 32.0);
        assert_eq!((rank.scale(), limit), (base.scale(), 200));
        assert_eq!(rank, AdapterConfig { rank: 32, alpha: 16.0, ..base.clone() });
        assert_eq!(of(Quantity::Kappa, 0.4).1, AdapterConfig { kappa: 0.4, ..base.clone() });
        assert_eq!(of(Quantity::Memory, 0.25), (50.0, base, 50));
    }

    #[test]
    fn a_cell_is_repeated_with_targets_disclosed_only_where_they_were() {
        let options = |name: &str| {
            let method = Method::chosen(&[name.to_owned()], &[]).unwrap().swap_remove(0);
            cell(&method, Quantity::Kappa, 0.5, &shared(), 200).unwrap().options.join(" ")
        };
        assert_eq!(
            options("copy"),
            r#"--train-limit 200 --methods plm --method copy-swept={"activation":"silu","copy":true,"kappa":0.5,"prefix":3}"#
        );
        let disclosed =
            r#"--train-limit 200 --methods plm,disclosed --disclose-targets --settings {"alpha":64,"kappa":0.5,"rank":128}"#;
        assert_eq!(options(DISCLOSED), disclosed);
    }
}
