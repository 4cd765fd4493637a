//! Fixtures that the tests share.
#![allow(dead_code, reason = "each test file uses some of them")]

pub mod along;
pub mod choosing;
pub mod failure;
pub mod gpu;
pub mod kernels;
pub mod products;
pub mod training;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use pema_adapter::{
    Activation, Adapter, AdapterConfig, Batch, Encoder, Head, HostRows, InitialWeights, Memory, Objective, Progress, Rows,
    Trainer, Weights,
};
use pema_core::head::{Int8Head, int8_header, quantise};
use pema_core::id::{ContentHash, TokenId};
use safetensors::{Dtype, SafeTensors, View};

pub use futures::executor::block_on;

/// Numbers that look random, uniform in `[-width, width)`.
pub fn noise(count: usize, width: f32, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| width * (2.0 * next() - 1.0)).collect()
}

/// A row-major matrix on flex.
pub fn tensor(values: &[f32], shape: [usize; 2]) -> Tensor<2> {
    tensor_on(&Device::flex(), values, shape)
}

/// A row-major matrix.
pub fn tensor_on(device: &Device, values: &[f32], shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// A tensor's entries.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    block_on(read(tensor))
}

/// A tensor's entries, where one cannot block.
pub async fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data_async().await.unwrap().try_into_vec_as().unwrap()
}

struct Floats<'a>(&'a [f32], [usize; 2]);

impl View for Floats<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.1
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(bytemuck::cast_slice(self.0))
    }
    fn data_len(&self) -> usize {
        size_of_val(self.0)
    }
}

/// A head's file of these `[v, d]` values.
pub fn head_file(w: &[f32], v: usize, d: usize) -> Vec<u8> {
    safetensors::serialize([("w_hd", Floats(w, [v, d]))], None).unwrap()
}

/// The int8 form of the head of these `[v, d]` values, whose file is [`head_file`].
pub fn int8_file(w: &[f32], v: usize, d: usize) -> Vec<u8> {
    let mut entries = vec![0; v * d];
    let scales: Vec<f32> = w.chunks(d).zip(entries.chunks_mut(d)).map(|(row, entries)| quantise(row, entries)).collect();
    let mut file = int8_header([v, d], &ContentHash::of(&head_file(w, v, d)));
    file.extend_from_slice(bytemuck::cast_slice(&entries));
    file.extend_from_slice(bytemuck::cast_slice(&scales));
    file
}

/// The head's file in f32 that has the values of an int8 one.
pub fn dequantised(int8: &[u8]) -> Vec<u8> {
    let head = Int8Head::open(int8).unwrap();
    let [v, d] = head.shape();
    head_file(&head.rows(0..v).to_f32(), v, d)
}

/// A small head on flex.
pub fn head(v: usize, d: usize, scale: f32, softcap: Option<f32>) -> Head {
    let file = head_file(&noise(v * d, 0.5, 99), v, d);
    Head::from_safetensors(&file, scale, softcap, &Device::flex()).unwrap()
}

/// The PLM of every test.
pub fn model() -> ContentHash {
    ContentHash::of(b"a model")
}

/// Settings that train a small memory in a blink.
pub fn small_config() -> AdapterConfig {
    AdapterConfig {
        rank: 4,
        alpha: 4.0,
        reconstruction_batch: 16,
        reconstruction_epochs: 3,
        prediction_batch: 8,
        prediction_epochs: 3,
        validate_every: 4,
        seed: 5,
        ..AdapterConfig::default()
    }
}

/// 40 rows of 8 entries, of which every fifth validates.
pub fn small_memory() -> Memory<HostRows<f32>> {
    let rows = HostRows::new(8, noise(40 * 8, 1.0, 3)).unwrap();
    let y = (0..40).map(|i| TokenId(i * 8 % 21)).collect();
    let (valid, train) = (0..40).partition(|i| i % 5 == 0);
    Memory::new(rows, y, train, valid).unwrap()
}

/// A trainer of the above.
pub fn small_trainer(config: AdapterConfig) -> Trainer<HostRows<f32>> {
    block_on(Trainer::new(config, small_memory(), head(21, 8, 1.0, None), model(), Device::flex())).unwrap()
}

/// Takes every step that is left.
pub fn train<R: Rows>(trainer: &mut Trainer<R>) -> Vec<Progress> {
    let mut all = Vec::new();
    while !trainer.is_done() {
        all.push(block_on(trainer.step()).unwrap());
    }
    all
}

/// One reference case: inputs, initial weights, and the numbers to reproduce.
pub struct Golden {
    pub name: String,
    pub numbers: serde_json::Value,
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Golden {
    /// The repository's cases, and those beside the checkout if there are any.
    pub fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let own = ["plain", "softcap"].map(|name| root.join("tests/golden").join(name));
        let shared = root.join("../shared/golden/pema_tiny");
        let shared = shared.with_extension("json").exists().then_some(shared);
        own.into_iter().chain(shared).map(|stem| Self::read(&stem)).collect()
    }

    fn read(stem: &PathBuf) -> Self {
        let json = std::fs::read_to_string(stem.with_extension("json")).unwrap();
        let bytes = std::fs::read(stem.with_extension("safetensors")).unwrap();
        Self::parse(&stem.display().to_string(), &json, &bytes)
    }

    /// A case from the contents of its two files.
    pub fn parse(name: &str, json: &str, bytes: &[u8]) -> Self {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let wide = |data: &[u8]| -> Vec<[u8; 8]> { data.as_chunks().0.to_vec() };
        let tensors = file.iter().map(|(name, view)| {
            let values = match view.dtype() {
                Dtype::F32 => view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
                Dtype::F64 => wide(view.data()).into_iter().map(|b| f64::from_le_bytes(b) as f32).collect(),
                Dtype::I64 => wide(view.data()).into_iter().map(|b| i64::from_le_bytes(b) as f32).collect(),
                other => panic!("{other}"),
            };
            (name.to_owned(), (view.shape().to_vec(), values))
        });
        let tensors = tensors.collect();
        Self { name: name.to_owned(), numbers: serde_json::from_str(json).unwrap(), tensors }
    }

    pub fn number(&self, name: &str) -> f64 {
        self.numbers[name].as_f64().unwrap()
    }

    pub fn size(&self, name: &str) -> usize {
        self.numbers[name].as_u64().unwrap() as usize
    }

    /// A list, or a list of lists, as one.
    pub fn list(&self, pointer: &str) -> Vec<f64> {
        fn flatten(value: &serde_json::Value) -> Vec<f64> {
            match value.as_array() {
                Some(items) => items.iter().flat_map(flatten).collect(),
                None => vec![value.as_f64().unwrap()],
            }
        }
        flatten(self.numbers.pointer(pointer).unwrap())
    }

    pub fn tensor(&self, name: &str) -> &[f32] {
        &self.tensors[name].1
    }

    pub fn y(&self) -> Vec<TokenId> {
        self.tensor("y").iter().map(|&y| TokenId(y as u32)).collect()
    }

    pub fn head(&self, device: &Device) -> Head {
        let file = head_file(self.tensor("w_hd"), self.size("v"), self.size("d"));
        let scale = self.numbers["scale"].as_f64().unwrap_or(1.0) as f32;
        let softcap = self.numbers["softcap"].as_f64().map(|cap| cap as f32);
        Head::from_safetensors(&file, scale, softcap, device).unwrap()
    }

    /// Full batch, no dropout, a fixed number of steps.
    pub fn config(&self) -> AdapterConfig {
        AdapterConfig {
            rank: self.size("r"),
            alpha: self.number("alpha"),
            kappa: self.number("kappa"),
            lr: self.number("lr"),
            dropout: 0.0,
            reconstruction_epochs: self.size("steps"),
            prediction_epochs: self.size("steps"),
            ..AdapterConfig::default()
        }
    }

    pub async fn trainer(&self, device: &Device) -> Trainer<HostRows<f32>> {
        let rows = HostRows::new(self.size("d"), self.tensor("h").to_vec()).unwrap();
        let train = (0..self.size("n")).collect();
        let memory = Memory::new(rows, self.y(), train, Vec::new()).unwrap();
        let initial = |name: &str| self.tensor(&format!("init.{name}")).to_vec();
        let start = InitialWeights {
            a_rct: initial("a_rct"),
            b_rct: initial("b_rct"),
            a: initial("a"),
            b_pd: initial("b_pd"),
            extras: Default::default(),
        };
        Trainer::with_initial_weights(self.config(), memory, self.head(device), model(), device.clone(), start).await.unwrap()
    }

    /// Whether phase 2's first step has the losses and gradients of the reference.
    pub async fn assert_first_prediction_step(&self, device: &Device, tolerance: f64) {
        let mut trainer = self.trainer(device).await;
        let adapter = loop {
            if let Some(adapter) = trainer.adapter() {
                break adapter;
            }
            trainer.step().await.unwrap();
        };
        let (n, d, r) = (self.size("n"), self.size("d"), self.size("r"));
        let objective = Objective::Prediction {
            encoder: Encoder { scale: self.config().scale(), activation: Activation::Linear, residual: false },
            kappa: self.config().kappa,
            b_rct: adapter.b_rct().cloned(),
            head: self.head(device),
        };
        let of = |name: &str, shape| tensor_on(device, self.tensor(name), shape);
        let batch = Batch::new(of("h", [n, d]), self.y());
        let weights = Weights::new(of("init.a", [d, r]), of("init.b_pd", [r, d]));
        let (losses, gradients) = objective.gradients(&batch, &weights).await.unwrap();
        for (name, found) in [
            ("l_rct", vec![losses.l_rct.unwrap()]),
            ("l_pd", vec![losses.l_pd.unwrap()]),
            ("grad_a", read(gradients.a).await),
            ("grad_b_pd", read(gradients.b).await),
        ] {
            let expected = self.list(&format!("/phase2_step0/{name}"));
            assert_close(&found, &expected, tolerance, &format!("{} {name}", self.name));
        }
    }
}

/// Whether each number is the expected one to within `relative` of the largest expected one.
pub fn assert_close(found: &[f32], expected: &[f64], relative: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f64, |top, x| top.max(x.abs()));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= relative * largest, "{what}[{i}]: {found} instead of {expected}");
    }
}
