//! The trainer's own path against reference numbers, on flex.

mod common;

use burn::tensor::Device;
use common::{Golden, assert_close, block_on, tensor, train, values};
use pema_adapter::{Batch, Objective, Phase, Weights};

const TOLERANCE: f64 = 1e-5;

#[test]
fn golden_losses_of_every_step_of_both_phases() {
    for golden in Golden::all() {
        let progress = train(&mut golden.trainer(&Device::flex()));
        for (phase, name) in [(Phase::Reconstruction, "/phase1_loss"), (Phase::Prediction, "/phase2_loss")] {
            let losses: Vec<f32> = progress.iter().filter(|p| p.phase == phase).map(|p| p.loss).collect();
            let what = format!("{}{name}", golden.name);
            assert_close(&losses, &golden.list(name), TOLERANCE, &what);
        }
    }
}

#[test]
fn golden_losses_and_gradients_of_the_first_prediction_step() {
    for golden in Golden::all() {
        let mut trainer = golden.trainer(&Device::flex());
        let adapter = loop {
            if let Some(adapter) = trainer.adapter() {
                break adapter;
            }
            block_on(trainer.step()).unwrap();
        };
        let (n, d, r) = (golden.size("n"), golden.size("d"), golden.size("r"));
        let objective = Objective::Prediction {
            scale: golden.config().scale(),
            kappa: golden.config().kappa,
            b_rct: adapter.b_rct().cloned(),
            head: golden.head(&Device::flex()),
        };
        let h = tensor(golden.tensor("h"), [n, d]);
        let batch = Batch { h: h.clone(), h_seen: h, y: golden.y(), copy: None };
        let weights =
            Weights { a: tensor(golden.tensor("init.a"), [d, r]), b: tensor(golden.tensor("init.b_pd"), [r, d]), copy: None };
        let (losses, gradients) = block_on(objective.gradients(&batch, &weights)).unwrap();
        let check = |found: &[f32], name: &str| {
            let what = format!("{} {name}", golden.name);
            let expected = golden.list(&format!("/phase2_step0/{name}"));
            assert_close(found, &expected, TOLERANCE, &what);
        };
        check(&[losses.l_rct.unwrap()], "l_rct");
        check(&[losses.l_pd.unwrap()], "l_pd");
        check(&values(gradients.a), "grad_a");
        check(&values(gradients.b), "grad_b_pd");
    }
}
