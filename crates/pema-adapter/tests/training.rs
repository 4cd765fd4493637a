//! What training does over many steps: resumes exactly, keeps the best, stops when it should.

mod common;

use burn::tensor::Device;
use common::{block_on, head, model, small_config, small_memory, small_trainer, train, values};
use pema_adapter::{
    Activity, AdapterConfig, Checkpoint, CheckpointError, ConfigError, HostRows, LossError, Memory, Phase, TrainError, Trainer,
};
use pema_core::id::TokenId;

fn bytes(trainer: &Trainer<HostRows<f32>>) -> Vec<u8> {
    block_on(trainer.checkpoint()).unwrap().into_bytes()
}

fn resume(bytes: Vec<u8>) -> Trainer<HostRows<f32>> {
    let head = head(21, 8, 1.0, None);
    block_on(Trainer::resume(&Checkpoint::from_bytes(bytes), small_memory(), head, Device::flex())).unwrap()
}

#[test]
fn training_resumes_bit_for_bit_from_any_step() {
    let mut straight = small_trainer(small_config());
    let mut stops = vec![bytes(&straight)];
    let mut progress = Vec::new();
    while !straight.is_done() {
        progress.push(block_on(straight.step()).unwrap());
        stops.push(bytes(&straight));
    }
    let end = stops.last().unwrap();
    for (taken, stop) in stops.iter().enumerate() {
        let mut resumed = resume(stop.clone());
        assert_eq!(&bytes(&resumed), stop, "after {taken} steps");
        assert_eq!(train(&mut resumed), progress[taken..], "after {taken} steps");
        assert_eq!(&bytes(&resumed), end, "after {taken} steps");
    }
}

#[test]
fn training_learns_and_says_where_it_is() {
    let config = AdapterConfig { lr: 1e-2, dropout: 0.0, reconstruction_epochs: 40, prediction_epochs: 40, ..small_config() };
    let mut trainer = small_trainer(config);
    let progress = train(&mut trainer);
    for phase in [Phase::Reconstruction, Phase::Prediction] {
        let losses: Vec<f32> =
            progress.iter().filter(|p| p.phase == phase && p.activity == Activity::Training).map(|p| p.loss).collect();
        assert!(losses.last() < losses.first(), "{phase:?}: {losses:?}");
    }
    assert!(progress.iter().take(progress.len() - 1).all(|p| !p.done));
    assert!(progress.last().unwrap().done);
    assert_eq!(block_on(trainer.step()), Err(TrainError::Done));
    assert!(progress.iter().all(|p| p.l_pd.is_some() == (p.phase == Phase::Prediction)));
    let (first, second) = (&progress[0], &progress[1]);
    assert_eq!((first.rows, first.step, first.steps_in_epoch), (16, 1, 2));
    assert_eq!((second.rows, second.step, second.epoch), (16, 2, 0));
}

#[test]
fn a_phase_ends_when_its_patience_is_used_up_and_keeps_its_best_weights() {
    // Too fast to settle, so that validations get worse.
    let config = AdapterConfig { lr: 0.2, validate_every: 1, prediction_epochs: 200, kappa: 0.0, ..small_config() };
    let mut trainer = small_trainer(config);
    let mut best = None;
    let mut validations = Vec::new();
    while !trainer.is_done() {
        let progress = block_on(trainer.step()).unwrap();
        if let Some(validation) = progress.validation {
            if validation.best {
                best = Some(values(trainer.adapter().unwrap().h_pd(common::tensor(&[1.0; 8], [1, 8]))));
            }
            validations.push(validation);
        }
    }
    let [.., a, b] = &validations[..] else { panic!("{validations:?}") };
    assert!(!a.best && !b.best, "{validations:?}");
    assert!(validations.len() < 200);
    let kept = values(trainer.adapter().unwrap().h_pd(common::tensor(&[1.0; 8], [1, 8])));
    assert_eq!(Some(kept), best);
}

#[test]
fn a_learning_rate_that_decays_falls_evenly_to_nothing() {
    // So small that the output moves as `B` does, which starts at 0.
    let config =
        AdapterConfig { lr: 1e-6, dropout: 0.0, kappa: 0.0, prediction_epochs: 1, validate_every: 100, ..small_config() };
    let moved = |lr_decay| -> Vec<Vec<f32>> {
        let mut trainer = small_trainer(AdapterConfig { lr_decay, ..config.clone() });
        let mut all = Vec::new();
        loop {
            let progress = block_on(trainer.step()).unwrap();
            all.push(values(trainer.adapter().unwrap().h_pd(common::tensor(&[1.0; 8], [1, 8]))));
            if progress.step == progress.steps_in_epoch {
                return all;
            }
        }
    };
    let (even, falling) = (moved(false), moved(true));
    assert_eq!(even[0], falling[0]);
    for step in 1..even.len() {
        let share = 1.0 - step as f32 / even.len() as f32;
        for entry in 0..8 {
            let moved = |all: &[Vec<f32>]| all[step][entry] - all[step - 1][entry];
            let (found, expected) = (moved(&falling), share * moved(&even));
            assert!((found - expected).abs() < 1e-8, "step {step}: {found} instead of {expected}");
        }
    }
}

#[test]
fn without_kappa_there_is_no_reconstruction_phase() {
    let mut trainer = small_trainer(AdapterConfig { kappa: 0.0, ..small_config() });
    assert!(trainer.adapter().is_some());
    let progress = train(&mut trainer);
    assert!(progress.iter().all(|p| p.phase == Phase::Prediction && p.l_rct.is_none()));
    assert!(trainer.adapter().unwrap().b_rct().is_none());
}

#[test]
fn without_validation_rows_every_epoch_is_trained() {
    let rows = HostRows::new(8, common::noise(20 * 8, 1.0, 3)).unwrap();
    let memory = Memory::new(rows, vec![TokenId(3); 20], (0..20).collect(), vec![]).unwrap();
    let mut trainer = block_on(Trainer::new(small_config(), memory, head(21, 8, 1.0, None), model(), Device::flex())).unwrap();
    let progress = train(&mut trainer);
    assert_eq!(progress.len(), 3 * 2 + 3 * 3);
    assert!(progress.iter().all(|p| p.validation.is_none()));
}

#[test]
fn training_that_cannot_work_is_refused_before_its_first_step() {
    let new = |config, memory, head| block_on(Trainer::new(config, memory, head, model(), Device::flex())).unwrap_err();
    let config = AdapterConfig { dropout: 1.0, ..small_config() };
    let refused = ConfigError::NotAShare { name: "dropout", value: 1.0 };
    assert_eq!(new(config, small_memory(), head(21, 8, 1.0, None)), refused.into());
    let other = TrainError::OtherModel { memory: 8, head: 6 };
    assert_eq!(new(small_config(), small_memory(), head(21, 6, 1.0, None)), other);
    let refused = new(small_config(), small_memory(), head(20, 8, 1.0, None));
    assert_eq!(refused, LossError::Target { target: TokenId(20), v: 20 }.into());
}

#[test]
fn a_diverged_step_keeps_the_weights_before_it() {
    let config = AdapterConfig { lr: 1e30, ..small_config() };
    let mut trainer = small_trainer(config);
    let error = loop {
        let before = bytes(&trainer);
        if let Err(error) = block_on(trainer.step()) {
            assert_eq!(bytes(&trainer), before);
            break error;
        }
    };
    assert_eq!(error, TrainError::Diverged { phase: Phase::Reconstruction });
}

#[test]
fn a_checkpoint_is_refused_with_another_head_or_memory() {
    let mut trainer = small_trainer(small_config());
    block_on(trainer.step()).unwrap();
    let checkpoint = block_on(trainer.checkpoint()).unwrap();
    let resume = |memory, head| block_on(Trainer::resume(&checkpoint, memory, head, Device::flex())).unwrap_err();
    let other_head = head(22, 8, 1.0, None);
    assert!(matches!(resume(small_memory(), other_head), CheckpointError::OtherHead { .. }));
    let rows = HostRows::new(8, common::noise(40 * 8, 1.0, 3)).unwrap();
    let memory = Memory::new(rows, vec![TokenId(1); 40], (0..40).collect(), vec![]).unwrap();
    assert_eq!(resume(memory, head(21, 8, 1.0, None)), CheckpointError::OtherMemory);
}

#[test]
fn debug_output_shows_no_row_and_no_target() {
    let trainer = small_trainer(small_config());
    let checkpoint = block_on(trainer.checkpoint()).unwrap();
    let text = format!("{trainer:?} {:?} {checkpoint:?}", small_memory());
    assert!(!text.contains("TokenId") && !text.contains("0.7307316"), "{text}");
}
