use std::path::Path;

use proptest::prelude::*;
use safetensors::SafeTensors;
use serde::Deserialize;

use super::*;

/// Schedules and mixtures must agree with the golden numbers to this.
const TOLERANCE: f64 = 1e-6;

/// `tests/samples/schedules.json`, made by the script beside it.
#[derive(Deserialize)]
struct Sample {
    schedules: Vec<GoldenSchedule>,
    mixtures: Vec<SampleMixture>,
}

/// The design's golden numbers, which lie outside the repository.
#[derive(Deserialize)]
struct Golden {
    alpha: f64,
    schedules: Vec<GoldenSchedule>,
    mixtures: Vec<GoldenMixture>,
}

#[derive(Deserialize)]
struct GoldenSchedule {
    kind: Schedule,
    lambda_max: f32,
    source_len: u32,
    values: Vec<f64>,
}

impl GoldenSchedule {
    fn check(&self) {
        let schedule = GradualUnrolling::new(self.kind, self.lambda_max, self.source_len).unwrap();
        let ours = (0..self.values.len()).map(|t| schedule.lambda(t).unwrap()).collect::<Vec<_>>();
        assert_close(&ours, &self.values);
    }
}

#[derive(Deserialize)]
struct SampleMixture {
    lam: f32,
    pema: Vec<f32>,
    plm: Vec<f32>,
    log_prob: Vec<f64>,
}

/// The mixture for one row of `h`, whose logits the adapter and the head give.
#[derive(Deserialize)]
struct GoldenMixture {
    row: usize,
    lam: f32,
    log_prob: Vec<f64>,
}

/// A matrix of the golden file, row after row.
struct Matrix {
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    fn read(file: &SafeTensors<'_>, name: &str) -> Self {
        let tensor = file.tensor(name).unwrap();
        let values = tensor.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
        Self { columns: tensor.shape()[1], values }
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns)
    }

    /// `x [k] * self [k, columns]`.
    fn left(&self, x: &[f64]) -> Vec<f64> {
        (0..self.columns).map(|j| x.iter().zip(self.rows()).map(|(x, row)| x * row[j]).sum()).collect()
    }

    /// `self [rows, columns] * x [columns]`.
    fn right(&self, x: &[f64]) -> Vec<f64> {
        self.rows().map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    }
}

fn arithmetic(lambda: f32) -> Mix {
    Mix { mixing: Mixing::Arithmetic, lambda }
}

fn geometric(lambda: f32) -> Mix {
    Mix { mixing: Mixing::Geometric, lambda }
}

#[track_caller]
fn assert_close(ours: &[f32], golden: &[f64]) {
    assert_eq!(ours.len(), golden.len());
    for (&ours, golden) in ours.iter().zip(golden) {
        assert!((f64::from(ours) - golden).abs() < TOLERANCE, "{ours} is not {golden}");
    }
}

#[test]
fn golden_sample_of_schedules_and_mixtures() {
    let sample: Sample = serde_json::from_str(include_str!("../../tests/samples/schedules.json")).unwrap();
    sample.schedules.iter().for_each(GoldenSchedule::check);
    for m in &sample.mixtures {
        assert_close(&arithmetic(m.lam).log_probs(&log_softmax(&m.pema), &log_softmax(&m.plm)), &m.log_prob);
    }
}

#[test]
fn golden_schedules_and_mixtures() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden/pema_tiny.json");
    if !path.exists() {
        return;
    }
    let golden: Golden = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    golden.schedules.iter().for_each(GoldenSchedule::check);

    let bytes = std::fs::read(path.with_extension("safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let [h, w_hd, a, b_pd] = ["h", "w_hd", "phase2.a", "phase2.b_pd"].map(|name| Matrix::read(&file, name));
    let scale = golden.alpha / a.columns as f64;
    let log_p = |logits: &[f64]| log_softmax(&logits.iter().map(|&x| x as f32).collect::<Vec<_>>());
    for g in &golden.mixtures {
        let h = h.rows().nth(g.row).unwrap();
        let z = a.left(h).iter().map(|x| scale * x).collect::<Vec<_>>();
        let (pema, plm) = (log_p(&w_hd.right(&b_pd.left(&z))), log_p(&w_hd.right(h)));
        assert_close(&arithmetic(g.lam).log_probs(&pema, &plm), &g.log_prob);
    }
}

#[test]
fn schedules_fall_as_computed_by_hand() {
    let lambdas = |schedule| {
        let g = GradualUnrolling::new(schedule, 0.8, 4).unwrap();
        (0..6).map(|t| g.lambda(t).unwrap()).collect::<Vec<_>>()
    };
    assert_close(&lambdas(Schedule::Linear), &[0.8, 0.6, 0.4, 0.2, 0.0, 0.0]);
    assert_close(&lambdas(Schedule::Quadratic), &[0.64, 0.36, 0.16, 0.04, 0.0, 0.0]);
    assert_close(&lambdas(Schedule::Constant), &[0.8; 6]);
}

#[test]
fn a_gate_says_the_weight_of_a_learned_schedule() {
    let g = GradualUnrolling::new(Schedule::Learned, 0.8, 4).unwrap();
    assert_eq!((g.lambda(0), g.mix(3), g.lambda_max()), (None, None, 0.8));
    assert_eq!((g.progress(0), g.progress(6)), (0.0, 1.5));
    assert_eq!(serde_json::to_string(&Schedule::Learned).unwrap(), r#""learned""#);
    assert_eq!(Schedule::Learned.to_string(), "learned");
}

#[test]
fn mixtures_are_as_computed_by_hand() {
    let (pema, plm) = ([0.5f32.ln(), 0.5f32.ln()], [0.9f32.ln(), 0.1f32.ln()]);
    assert_close(&arithmetic(0.25).log_probs(&pema, &plm), &[0.8f64.ln(), 0.2f64.ln()]);
    // The adapter's is smoothed to 0.508 and 0.492.
    let (one, other) = ((0.508f64 * 0.9).sqrt(), (0.492f64 * 0.1).sqrt());
    let expected = [one, other].map(|p| (p / (one + other)).ln());
    assert_close(&geometric(0.5).log_probs(&pema, &plm), &expected);
}

#[test]
fn lambda_0_and_1_are_exact() {
    let (pema, plm) = ([-1.0, f32::NEG_INFINITY], [-2.5, -0.1]);
    for mix in [arithmetic, geometric] {
        assert_eq!(mix(0.0).log_probs(&pema, &plm), plm);
        assert_eq!(mix(1.0).log_probs(&pema, &plm), pema);
    }
}

#[test]
fn impossible_tokens_stay_impossible() {
    let mixed = arithmetic(0.5).log_probs(&[f32::NEG_INFINITY; 2], &[f32::NEG_INFINITY, 0.0]);
    assert_eq!(mixed[0], f32::NEG_INFINITY);
    assert!((mixed[1] - 0.5f32.ln()).abs() < 1e-6);
    let mixed = geometric(0.5).log_probs(&[-0.1, -2.0], &[f32::NEG_INFINITY, 0.0]);
    assert_eq!(mixed, [f32::NEG_INFINITY, 0.0]);
    let unmet = geometric(0.5).log_probs(&[f32::NEG_INFINITY, 0.0], &[0.5f32.ln(); 2]);
    assert!(unmet[0] > 0.09f32.ln(), "{unmet:?}");
    assert_eq!(log_softmax(&[f32::NEG_INFINITY, 0.0]), [f32::NEG_INFINITY, 0.0]);
}

#[test]
fn weights_out_of_range_are_refused() {
    for lambda_max in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
        let error = GradualUnrolling::new(Schedule::Linear, lambda_max, 4).unwrap_err();
        assert!(matches!(error, ScheduleError::LambdaMax(_)));
    }
    assert_eq!(GradualUnrolling::new(Schedule::Linear, 0.5, 0), Err(ScheduleError::SourceLen));
}

#[test]
fn stored_schedules_are_checked_as_they_are_read() {
    let json = r#"{"mixing":"geometric","schedule":"quadratic","lambda_max":0.5,"source_len":7}"#;
    let schedule: GradualUnrolling = serde_json::from_str(json).unwrap();
    let arithmetic = GradualUnrolling::new(Schedule::Quadratic, 0.5, 7).unwrap();
    assert_eq!(schedule, arithmetic.with_mixing(Mixing::Geometric));
    assert_eq!(serde_json::to_string(&schedule).unwrap(), json);
    let older = json.replace(r#""mixing":"geometric","#, "");
    assert_eq!(serde_json::from_str::<GradualUnrolling>(&older).unwrap(), arithmetic);
    let error = serde_json::from_str::<GradualUnrolling>(&json.replace("0.5", "5")).unwrap_err();
    assert!(error.to_string().contains("lambda_max is 5"));
}

proptest! {
    #[test]
    fn mixtures_are_distributions(
        logits in prop::collection::vec((-50f32..50.0, -50f32..50.0), 1..40),
        lambda in 0f32..=1.0,
    ) {
        let (pema, plm): (Vec<_>, Vec<_>) = logits.into_iter().unzip();
        for mix in [arithmetic, geometric] {
            let mixed = mix(lambda).log_probs(&log_softmax(&pema), &log_softmax(&plm));
            let sum = mixed.iter().map(|&x| f64::from(x).exp()).sum::<f64>();
            prop_assert!((sum - 1.0).abs() < 1e-4);
        }
    }

    #[test]
    fn schedules_never_rise_or_leave_the_range(lambda_max in 0f32..=1.0, source_len in 1u32..50, t in 0usize..60) {
        for schedule in [Schedule::Linear, Schedule::Quadratic, Schedule::Constant] {
            let g = GradualUnrolling::new(schedule, lambda_max, source_len).unwrap();
            let (before, after) = (g.lambda(t).unwrap(), g.lambda(t + 1).unwrap());
            prop_assert!(0.0 <= after && after <= before && before <= lambda_max);
        }
    }
}
