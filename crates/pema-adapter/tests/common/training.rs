//! The trainer on a device, against the reference numbers and the CPU.

use burn::tensor::Device;
use half::f16;
use pema_adapter::{Adapter, Hidden, Mixer, Phase};
use pema_core::schedule::{Mix, Mixing};

use super::{Golden, assert_close};

fn golden() -> [Golden; 2] {
    macro_rules! case {
        ($name:literal) => {
            Golden::parse(
                $name,
                include_str!(concat!("../../../../tests/golden/", $name, ".json")),
                include_bytes!(concat!("../../../../tests/golden/", $name, ".safetensors")),
            )
        };
    }
    [case!("plain"), case!("softcap")]
}

/// Losses of every step of both phases, through the trainer.
pub async fn assert_golden_losses(device: &Device, tolerance: f64) {
    for golden in golden() {
        let mut trainer = golden.trainer(device).await;
        let mut progress = Vec::new();
        while !trainer.is_done() {
            progress.push(trainer.step().await.unwrap());
        }
        for (phase, name) in [(Phase::Reconstruction, "/phase1_loss"), (Phase::Prediction, "/phase2_loss")] {
            let losses: Vec<f32> = progress.iter().filter(|p| p.phase == phase).map(|p| p.loss).collect();
            assert_close(&losses, &golden.list(name), tolerance, &format!("{}{name}", golden.name));
        }
    }
}

/// Losses and gradients of phase 2's first step.
pub async fn assert_golden_gradients(device: &Device, tolerance: f64) {
    for golden in golden() {
        golden.assert_first_prediction_step(device, tolerance).await;
    }
}

/// An adapter trained on a device gives, after export and import, the distributions that the CPU
/// computes from the same file.
pub async fn assert_same_distributions(device: &Device, tolerance: f64) {
    let [golden, _] = golden();
    let mut trainer = golden.trainer(device).await;
    while !trainer.is_done() {
        trainer.step().await.unwrap();
    }
    let file = trainer.adapter().unwrap().export("golden").await.unwrap();
    let h: Vec<f16> = golden.tensor("h")[..golden.size("d")].iter().map(|x| f16::from_f32(*x)).collect();
    let hidden = Hidden { prompt: &h, current: &h };
    let mix = Mix { mixing: Mixing::Geometric, lambda: 0.6 };
    let mut mixtures = Vec::new();
    for device in [device.clone(), Device::flex()] {
        let head = golden.head(&device);
        let (_, adapter) = Adapter::import(&file, head.hash(), &device).unwrap();
        let mixed = Mixer::new(head, Some(adapter), device).distributions(hidden, &[], &[], mix).await.unwrap();
        mixtures.push(mixed.mixture);
    }
    let expected: Vec<f64> = mixtures[1].iter().map(|x| f64::from(*x)).collect();
    assert_close(&mixtures[0], &expected, tolerance, "mixture");
}
