//! The trainer's own path against reference numbers, on flex.

mod common;

use burn::tensor::Device;
use common::{Golden, assert_close, block_on, train};
use pema_adapter::Phase;

const TOLERANCE: f64 = 1e-5;

#[test]
fn golden_losses_of_every_step_of_both_phases() {
    for golden in Golden::all() {
        let progress = train(&mut block_on(golden.trainer(&Device::flex())));
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
        block_on(golden.assert_first_prediction_step(&Device::flex(), TOLERANCE));
    }
}
