//! The report's rows: first what each method gave, then how it compares with the others.

use anyhow::Result;
use pema_core::{data::Pair, schedule::Mixing};
use serde_json::{Value, json};

use super::{
    baselines::Trained,
    bench::{Bench, Job, Outcome},
    bootstrap::{Share, interval, no_better},
    command::Command,
    costs::Costs,
    likelihood::{Choice, LAMBDAS, Likelihood, PLM_ALONE, Scored, choose, known_forms, likelihoods, perplexity},
    methods::{Method, PEMA, Way},
    report::{Cell, Measured, Row, TextScores},
    texts::{Desk, TextShares, Texts, Wanted},
};
use crate::writer::{Mixture, Written};

/// A method with one form of mixture, measured and not yet compared.
pub struct Candidate {
    method: Method,
    settings: Value,
    mixture: Option<Mixture>,
    validation_perplexity: f64,
    /// Of test references.
    likelihoods: Vec<Likelihood>,
    texts: Option<Text>,
    costs: Costs,
    grid: Vec<Cell>,
}

impl Candidate {
    /// Whether this is the paper's method, mixed as in the paper.
    fn is_papers(&self) -> bool {
        self.method.name == PEMA && self.mixture.is_some_and(|mixture| mixture.form.mixing == Mixing::Arithmetic)
    }

    /// The method with its mixture.
    pub fn label(&self) -> String {
        self.label_with(self.mixture)
    }

    fn label_with(&self, mixture: Option<Mixture>) -> String {
        let title = &self.method.title;
        mixture.map_or(title.clone(), |mixture| format!("{title}, {} {}", mixture.form, mixture.lambda_max))
    }
}

/// Texts of test pairs.
struct Text {
    texts: Texts,
    shares: TextShares,
    /// What wrote them; none for the PLM alone.
    mixture: Option<Mixture>,
}

/// What is written, and how.
pub struct Writing<'a> {
    /// Who writes, if anyone.
    pub wanted: Option<&'a Wanted>,
    /// Pairs whose texts choose each mixture's largest weight by their chrF; where there are none,
    /// perplexity has chosen it.
    pub tuning: &'a [Pair],
    /// Pairs whose texts are scored.
    pub test: &'a [Pair],
}

/// Weights that are compared by their texts.
const TEXT_LAMBDAS: [f32; 6] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.7];

/// What a method gives with each form of its mixture.
pub fn candidates(bench: &Bench<'_>, desk: &Desk<'_>, job: &Job, writing: &Writing<'_>) -> Result<Vec<Candidate>> {
    let outcome = bench.run(job)?;
    let method = &job.method;
    let [on_validation, on_test] = &outcome.scored;
    let mut all = Vec::new();
    for form in method.forms() {
        let (mixture, validation_perplexity) = match method.way {
            Way::Plm => (None, perplexity(PLM_ALONE, on_validation)?),
            _ => {
                let Choice { mixture, perplexity } = choose(on_validation, &[form])?;
                (Some(mixture), perplexity)
            }
        };
        let writes = writing.wanted.is_some_and(|wanted| wanted.includes(method, form));
        let texts = writes.then(|| text(desk, &outcome, mixture, writing)).transpose()?;
        all.push(Candidate {
            method: method.clone(),
            settings: outcome.settings.clone(),
            mixture,
            validation_perplexity,
            likelihoods: likelihoods(mixture.unwrap_or(PLM_ALONE), on_test)?,
            texts,
            costs: outcome.costs,
            grid: Vec::new(),
        });
    }
    if let Some(last) = all.last_mut().filter(|candidate| candidate.mixture.is_some()) {
        last.grid = grid(on_validation)?;
    }
    Ok(all)
}

/// What a comparator gave.
pub fn white_box(trained: Trained, test: &[Pair]) -> Candidate {
    let (name, title) = trained.baseline.names();
    let shares = TextShares::new(trained.outputs.iter().map(String::as_str), test);
    // The script counts no tokens and times no texts.
    let outputs = trained.outputs.into_iter().map(|text| Written { text, tokens: 0 }).collect();
    Candidate {
        method: Method { name: name.to_owned(), title: title.to_owned(), way: Way::WhiteBox },
        settings: trained.settings,
        mixture: None,
        validation_perplexity: trained.validation_perplexity,
        likelihoods: trained.likelihoods,
        texts: Some(Text { texts: Texts { outputs, seconds: 0.0 }, shares, mixture: None }),
        costs: trained.costs,
        grid: Vec::new(),
    }
}

/// The trained method that keeps targets and is best on validation pairs.
pub fn best(candidates: &[Candidate]) -> Option<&Method> {
    let trained = candidates.iter().filter(|candidate| matches!(candidate.method.way, Way::Adapter { discloses: false, .. }));
    let best = trained.min_by(|a, b| a.validation_perplexity.total_cmp(&b.validation_perplexity));
    best.map(|candidate| &candidate.method)
}

fn text(desk: &Desk<'_>, outcome: &Outcome, mixture: Option<Mixture>, writing: &Writing<'_>) -> Result<Text> {
    let write = |mixture, pairs: &[Pair]| -> Result<(Texts, TextShares)> {
        let texts = desk.write(&outcome.key, &outcome.other, mixture, pairs)?;
        let shares = TextShares::new(texts.outputs.iter().map(|output| output.text.as_str()), pairs);
        Ok((texts, shares))
    };
    let mixture = match mixture {
        Some(mixture) if !writing.tuning.is_empty() => {
            let mut best = (f64::NEG_INFINITY, mixture);
            for lambda_max in TEXT_LAMBDAS {
                let mixture = Mixture { lambda_max, ..mixture };
                let (_, shares) = write(Some(mixture), writing.tuning)?;
                let chrf = interval(&shares.chrf, 0).value;
                if chrf > best.0 {
                    best = (chrf, mixture);
                }
            }
            Some(best.1)
        }
        mixture => mixture,
    };
    let (texts, shares) = write(mixture, writing.test)?;
    Ok(Text { texts, shares, mixture })
}

fn grid(validation: &[Scored]) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for form in known_forms(validation) {
        for lambda_max in LAMBDAS {
            let mixture = Mixture { form, lambda_max };
            cells.push(Cell { mixture, perplexity: perplexity(mixture, validation)? });
        }
    }
    Ok(cells)
}

/// The rows, each beside the PLM alone and the paper's method, where these were measured.
pub fn measured(candidates: &[Candidate], seed: u64, command: &Command) -> Vec<Row> {
    let all = Baselines::among(candidates, |_| true);
    let writing = Baselines::among(candidates, |candidate| candidate.texts.is_some());
    let row = |candidate: &Candidate| {
        let Candidate { method, mixture, .. } = candidate;
        let form = mixture.map_or(String::new(), |mixture| format!("-{}", mixture.form));
        let texts = candidate.texts.as_ref().map(|Text { texts, mixture, .. }| TextScores {
            label: candidate.label_with(*mixture),
            chrf: writing.compare(candidate, seed, |candidate| Some(&candidate.texts.as_ref()?.shares.chrf)),
            bleu: writing.compare(candidate, seed, |candidate| Some(&candidate.texts.as_ref()?.shares.bleu)),
            exact_match: writing.compare(candidate, seed, |candidate| Some(&candidate.texts.as_ref()?.shares.exact)),
            seconds_per_token: texts.seconds_per_token(),
            outputs: texts.outputs.iter().map(|output| output.text.clone()).collect(),
        });
        Row {
            id: format!("{}{form}", method.name),
            method: method.name.clone(),
            title: method.title.clone(),
            label: candidate.label(),
            discloses: method.discloses(),
            white_box: method.way == Way::WhiteBox,
            settings: candidate.settings.clone(),
            mixture: *mixture,
            validation_perplexity: candidate.validation_perplexity,
            perplexity: all.compare(candidate, seed, |candidate| Some(&candidate.likelihoods)),
            texts,
            costs: candidate.costs,
            grid: candidate.grid.clone(),
            command: repetition(command, method),
        }
    };
    candidates.iter().map(row).collect()
}

/// What the others are compared with.
struct Baselines<'a> {
    plm: Option<&'a Candidate>,
    /// The paper's method, mixed as in the paper, with the schedule that is best on validation pairs.
    pema: Option<&'a Candidate>,
}

impl<'a> Baselines<'a> {
    fn among(candidates: &'a [Candidate], may_be: fn(&Candidate) -> bool) -> Self {
        let may_be = || candidates.iter().filter(|candidate| may_be(candidate));
        let by_perplexity = |a: &&Candidate, b: &&Candidate| a.validation_perplexity.total_cmp(&b.validation_perplexity);
        Self {
            plm: may_be().find(|candidate| candidate.method.way == Way::Plm),
            pema: may_be().filter(|candidate| candidate.is_papers()).min_by(by_perplexity),
        }
    }

    fn compare<S: Share>(&self, candidate: &Candidate, seed: u64, shares: fn(&Candidate) -> Option<&Vec<S>>) -> Measured {
        let own = shares(candidate).map_or(&[][..], Vec::as_slice);
        let beside = |other: Option<&Candidate>| {
            let other = other.filter(|other| !std::ptr::eq(*other, candidate))?;
            Some(no_better(own, shares(other)?, seed))
        };
        Measured { interval: interval(own, seed), p_plm: beside(self.plm), p_pema: beside(self.pema) }
    }
}

/// The command that measures a method again, beside what it is compared with.
fn repetition(command: &Command, method: &Method) -> String {
    if method.way == Way::WhiteBox {
        return command.repeat(&["--methods", "plm,pema", "--baselines", &method.name]).to_string();
    }
    let mut names = vec!["plm", PEMA];
    let own = match &method.way {
        Way::Adapter { settings, .. } if !method.is_built_in() => Some(format!("{}={}", method.name, json!(settings))),
        _ => None,
    };
    if own.is_none() && !names.contains(&method.name.as_str()) {
        names.push(&method.name);
    }
    let names = names.join(",");
    let mut options = vec!["--methods", &names];
    options.extend(own.iter().flat_map(|own| ["--method", own]));
    options.extend(method.discloses().then_some("--disclose-targets"));
    command.repeat(&options).to_string()
}
