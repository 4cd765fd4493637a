//! A head spread over workers gives the numbers of one that is not.

mod common;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use burn::tensor::Device;
use common::{assert_close, block_on, head_file, int8_file, model, noise, small_config, small_memory, tensor, train, values};
use half::f16;
use pema_adapter::{
    Activity, AdapterConfig, Head, HeadPool, HeadSlice, Hidden, LossError, Mixer, Phase, PoolError, PoolFuture, PooledId,
    SliceRequest, SliceRows, SliceWant, Trainer, Vocabulary, frozen_head_cross_entropy,
};
use pema_core::id::TokenId;
use pema_core::schedule::Mix;

const SHAPES: [(f32, Option<f32>); 2] = [(1.0, None), (0.6, Some(3.0))];

/// Workers in this thread.
#[derive(Debug)]
struct Here {
    workers: usize,
    heads: RefCell<BTreeMap<PooledId, Vec<HeadSlice>>>,
    loaded: Cell<PooledId>,
    /// Rows of each request, and what was wanted of them.
    asked: RefCell<Vec<(usize, SliceWant)>>,
    answers: fn(Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>, PoolError>,
}

impl Here {
    fn new(workers: usize) -> Rc<Self> {
        Self::answering(workers, Ok)
    }

    fn answering(workers: usize, answers: fn(Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>, PoolError>) -> Rc<Self> {
        Rc::new(Self { workers, heads: RefCell::default(), loaded: Cell::default(), asked: RefCell::default(), answers })
    }
}

impl HeadPool for Here {
    fn workers(&self) -> usize {
        self.workers
    }

    fn load<'a>(&'a self, slices: Vec<SliceRows<'a>>) -> PoolFuture<'a, PooledId> {
        let head = self.loaded.replace(self.loaded.get() + 1);
        self.heads.borrow_mut().insert(head, slices.into_iter().map(HeadSlice::new).collect());
        Box::pin(async move { Ok(head) })
    }

    fn ask(&self, head: PooledId, request: SliceRequest) -> PoolFuture<'_, Vec<Vec<f32>>> {
        Box::pin(async move {
            self.asked.borrow_mut().push((request.h.len() / 8, request.want));
            (self.answers)(self.heads.borrow()[&head].iter().map(|slice| slice.answer(&request)).collect())
        })
    }

    fn forget(&self, head: PooledId) {
        self.heads.borrow_mut().remove(&head);
    }

    fn is_alive(&self) -> bool {
        true
    }
}

/// A head's file in either form.
fn files(v: usize, d: usize) -> [Vec<u8>; 2] {
    let halves: Vec<f32> = noise(v * d, 0.5, 99).into_iter().map(|x| f16::from_f32(x).to_f32()).collect();
    [head_file(&halves, v, d), int8_file(&halves, v, d)]
}

fn heads(file: &[u8], scale: f32, softcap: Option<f32>, pool: Rc<dyn HeadPool>) -> [Head; 2] {
    let device = Device::flex();
    let spread = block_on(Head::spread(file, scale, softcap, &device, pool)).unwrap();
    [spread, Head::from_safetensors(file, scale, softcap, &device).unwrap()]
}

#[test]
fn a_spread_head_has_the_losses_gradients_and_logits_of_one() {
    for file in files(40, 6) {
        for workers in [1, 3, 7] {
            for (scale, softcap) in SHAPES {
                let heads = heads(&file, scale, softcap, Here::new(workers));
                let what = format!("{:?}, {workers} workers, softcap {softcap:?}", heads[0].form());
                assert_same_numbers(heads, &what);
            }
        }
    }
}

fn assert_same_numbers(heads: [Head; 2], what: &str) {
    let (n, d) = (5, 6);
    let (h, y) = (noise(n * d, 4.0, 2), [0, 13, 14, 27, 39].map(TokenId));
    let numbers = heads.map(|head| {
        let tracked = tensor(&h, [n, d]).autodiff().require_grad();
        let losses = block_on(frozen_head_cross_entropy(tracked.clone(), &head, &y)).unwrap();
        let gradients = losses.clone().sum().backward();
        let untracked = block_on(frozen_head_cross_entropy(tensor(&h, [n, d]), &head, &y)).unwrap();
        let logits = block_on(head.logits(tensor(&h, [n, d]))).unwrap();
        [losses.inner(), untracked, tracked.grad(&gradients).unwrap(), logits].map(values)
    });
    for (part, (spread, plain)) in numbers[0].iter().zip(&numbers[1]).enumerate() {
        let plain: Vec<f64> = plain.iter().map(|x| f64::from(*x)).collect();
        assert_close(spread, &plain, 1e-6, &format!("{part}, {what}"));
    }
}

#[test]
fn training_on_a_spread_head_takes_the_same_course() {
    // Unspread, rows of an int8 head become f16 for a short vocabulary.
    for (vocabulary, tolerances) in [(Vocabulary::Full, [1e-5, 1e-5]), (Vocabulary::Met { top_k: 2 }, [1e-5, 1e-3])] {
        let config = AdapterConfig { vocabulary, ..small_config() };
        for (file, tolerance) in files(21, 8).into_iter().zip(tolerances) {
            let courses = heads(&file, 1.0, None, Here::new(2)).map(|head| {
                let new = Trainer::new(config.clone(), small_memory(), head, model(), Device::flex());
                train(&mut block_on(new).unwrap()).iter().map(|progress| progress.loss).collect::<Vec<_>>()
            });
            let plain: Vec<f64> = courses[1].iter().map(|x| f64::from(*x)).collect();
            assert_close(&courses[0], &plain, tolerance, &format!("losses, {vocabulary:?}"));
        }
    }
}

#[test]
fn a_short_vocabulary_is_spread_too_and_forgotten() {
    let pool = Here::new(2);
    let [head, _] = heads(&files(21, 8)[0], 1.0, None, pool.clone());
    let config = AdapterConfig { vocabulary: Vocabulary::Met { top_k: 0 }, kappa: 0.0, ..small_config() };
    let mut trainer = block_on(Trainer::new(config, small_memory(), head.clone(), model(), Device::flex())).unwrap();
    pool.asked.take();
    block_on(trainer.step()).unwrap();
    assert_eq!(pool.asked.take().len(), 1);
    assert_eq!(pool.heads.borrow().len(), 2);
    drop(trainer);
    assert_eq!(pool.heads.borrow().len(), 1);
    drop(head);
    assert!(pool.heads.borrow().is_empty());
}

#[test]
fn the_head_works_only_where_its_answer_is_used() {
    let pool = Here::new(1);
    let [head, _] = heads(&files(21, 8)[0], 1.0, None, pool.clone());
    let new = |kappa| {
        let config = AdapterConfig { kappa, ..small_config() };
        block_on(Trainer::new(config, small_memory(), head.clone(), model(), Device::flex())).unwrap()
    };
    // Reconstruction does without; prediction asks once a step, for no gradient where it validates.
    let mut trainer = new(0.2);
    while let Some(progress) = (!trainer.is_done()).then(|| block_on(trainer.step()).unwrap()) {
        let want = match progress.activity {
            Activity::Training => SliceWant::SoftmaxAndPull,
            Activity::Validating => SliceWant::Softmax,
            Activity::Gating => SliceWant::Logits,
        };
        let expected = if progress.phase == Phase::Reconstruction { vec![] } else { vec![(progress.rows, want)] };
        assert_eq!(pool.asked.take(), expected);
    }
    assert_eq!(block_on(new(0.0).step()).unwrap().phase, Phase::Prediction);
    pool.asked.take();

    // A mixture asks for both rows at once, and for the model's alone where the adapter has no weight.
    let mixer = Mixer::new(head.clone(), trainer.adapter(), Device::flex());
    let h = [f16::ONE; 8];
    for (lambda, rows) in [(0.0, 1), (0.3, 2), (1.0, 2)] {
        let mix = Mix { lambda, ..Mix::PLM };
        block_on(mixer.distributions(Hidden { prompt: &h, current: &h }, &[TokenId(1)], &[], mix)).unwrap();
        assert_eq!(pool.asked.take(), [(rows, SliceWant::Logits)], "lambda {lambda}");
    }
}

#[test]
fn workers_that_fail_or_answer_otherwise_are_an_error() {
    for answers in [
        |_| Err(PoolError("it died".into())),
        |mut all: Vec<Vec<f32>>| {
            all[0].pop();
            Ok(all)
        },
    ] {
        let [head, _] = heads(&files(21, 8)[0], 1.0, None, Here::answering(2, answers));
        let loss = block_on(frozen_head_cross_entropy(tensor(&[0.5; 8], [1, 8]), &head, &[TokenId(3)]));
        assert!(matches!(loss, Err(LossError::Read(_))), "{loss:?}");
        assert!(block_on(head.logits(tensor(&[0.5; 8], [1, 8]))).is_err());
    }
}
