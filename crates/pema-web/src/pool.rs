//! The CPU's workers: each holds some rows of each head, so that training and generating use every
//! core without shared memory. The page's TypeScript starts them and carries messages.

use std::{cell::RefCell, fmt};

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use js_sys::{Array, Float32Array, Int8Array, Object, Reflect, Uint16Array};
use pema_adapter::{HeadPool, HeadSlice, PoolError, PoolFuture, PooledId, SliceRequest, SliceRows, SliceWant, SliceWeights};
use pema_core::head::Int8Rows;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** Workers that hold heads, some rows of each. */
export interface Slices {
  /** Gives a head's rows to as many workers, in their order; what it is called from now on. */
  load(weights: SliceWeights[], d: number, scale: number, softcap: number | undefined): Promise<number>;
  /** What every worker that has rows of a head answers, in their order. */
  ask(head: number, h: Float32Array, want: Want): Promise<Float32Array[]>;
  /** Lets the workers forget a head. */
  forget(head: number): void;
  /** Whether every worker still answers. */
  isAlive(): boolean;
  /** Ends the workers. */
  close(): void;
}

/** Some rows of the head: f16 `[rows, d]`, or int8 with a scale a row. */
export type SliceWeights = { rows: Uint16Array } | { rows: Int8Array; scales: Float32Array };

/** Starts so many workers. */
export type StartSlices = (workers: number) => Slices;
"#;

#[wasm_bindgen]
extern "C" {
    /// See the TypeScript above.
    #[wasm_bindgen(typescript_type = "Slices")]
    type Slices;

    #[wasm_bindgen(method, catch)]
    async fn load(this: &Slices, weights: Array, d: usize, scale: f32, softcap: Option<f32>) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch)]
    async fn ask(this: &Slices, head: PooledId, h: Float32Array, want: Want) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method)]
    fn forget(this: &Slices, head: PooledId);

    #[wasm_bindgen(method, js_name = isAlive)]
    fn is_alive(this: &Slices) -> bool;

    #[wasm_bindgen(method)]
    fn close(this: &Slices);

    /// See the TypeScript above.
    #[wasm_bindgen(extends = js_sys::Function, typescript_type = "StartSlices")]
    #[derive(Clone, Debug)]
    pub type StartSlices;
}

/// What a worker is asked for; see [`SliceWant`].
#[wasm_bindgen]
#[derive(Clone, Copy, Debug)]
pub enum Want {
    /// Logits.
    Logits,
    /// Maxima and masses.
    Softmax,
    /// And what pulls `h`.
    SoftmaxAndPull,
}

/// One worker's rows of the head.
#[wasm_bindgen]
pub struct Slice(HeadSlice);

#[wasm_bindgen]
impl Slice {
    /// Takes f16 rows `[rows, d]`.
    #[wasm_bindgen(constructor)]
    pub fn new(rows: &[u16], d: usize, scale: f32, softcap: Option<f32>) -> Self {
        Self::of(SliceRows { rows: SliceWeights::F16(rows.reinterpret_cast()), d, scale, softcap })
    }

    /// Takes int8 rows `[rows, d]` and their scales.
    pub fn int8(entries: &[i8], scales: &[f32], d: usize, scale: f32, softcap: Option<f32>) -> Self {
        Self::of(SliceRows { rows: SliceWeights::Int8(Int8Rows { entries, scales }), d, scale, softcap })
    }

    fn of(rows: SliceRows<'_>) -> Self {
        console_error_panic_hook::set_once();
        Self(HeadSlice::new(rows))
    }

    /// Answers for hidden states `[n, d]`.
    pub fn answer(&self, h: Vec<f32>, want: Want) -> Vec<f32> {
        let want = match want {
            Want::Logits => SliceWant::Logits,
            Want::Softmax => SliceWant::Softmax,
            Want::SoftmaxAndPull => SliceWant::SoftmaxAndPull,
        };
        self.0.answer(&SliceRequest { h, want })
    }
}

/// This tab's workers, started when they are given a head; they end with it.
pub(crate) struct TabPool {
    workers: usize,
    start: StartSlices,
    slices: RefCell<Option<Slices>>,
}

impl TabPool {
    /// So many workers.
    pub(crate) fn new(workers: usize, start: StartSlices) -> Self {
        Self { workers, start, slices: RefCell::default() }
    }

    /// The workers, if they are started.
    fn slices(&self) -> Option<Slices> {
        self.slices.borrow().as_ref().map(|slices| JsValue::from(slices).unchecked_into())
    }
}

impl fmt::Debug for TabPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TabPool").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Drop for TabPool {
    fn drop(&mut self) {
        if let Some(slices) = self.slices.get_mut() {
            slices.close();
        }
    }
}

impl HeadPool for TabPool {
    fn workers(&self) -> usize {
        self.workers
    }

    fn load<'a>(&'a self, slices: Vec<SliceRows<'a>>) -> PoolFuture<'a, PooledId> {
        Box::pin(async move {
            let Some(first) = slices.first() else { return Err(PoolError("it was given no rows".into())) };
            let (d, scale, softcap) = (first.d, first.scale, first.softcap);
            let weights = slices.iter().map(|slice| weights(slice.rows)).collect::<Result<Array, _>>().map_err(said)?;
            if self.slices.borrow().is_none() {
                let started = self.start.call1(&JsValue::NULL, &self.workers.into()).map_err(said)?;
                self.slices.replace(Some(started.unchecked_into()));
            }
            let workers = self.slices().ok_or_else(not_started)?;
            let head = workers.load(weights, d, scale, softcap).await.map_err(said)?;
            head.as_f64().map(|head| head as PooledId).ok_or_else(|| PoolError("it gave the head no name".into()))
        })
    }

    fn ask(&self, head: PooledId, SliceRequest { h, want }: SliceRequest) -> PoolFuture<'_, Vec<Vec<f32>>> {
        Box::pin(async move {
            let want = match want {
                SliceWant::Logits => Want::Logits,
                SliceWant::Softmax => Want::Softmax,
                SliceWant::SoftmaxAndPull => Want::SoftmaxAndPull,
            };
            let workers = self.slices().ok_or_else(not_started)?;
            let answers = workers.ask(head, Float32Array::from(h.as_slice()), want).await.map_err(said)?;
            Ok(Array::from(&answers).iter().map(|answer| Float32Array::new(&answer).to_vec()).collect())
        })
    }

    fn forget(&self, head: PooledId) {
        if let Some(workers) = self.slices() {
            workers.forget(head);
        }
    }

    fn is_alive(&self) -> bool {
        self.slices.borrow().as_ref().is_some_and(Slices::is_alive)
    }
}

/// As `SliceWeights` of the TypeScript.
fn weights(weights: SliceWeights<'_>) -> Result<Object, JsValue> {
    let object = Object::new();
    let set = |name: &str, value: &JsValue| Reflect::set(&object, &name.into(), value);
    match weights {
        SliceWeights::F16(rows) => set("rows", &Uint16Array::from(rows.reinterpret_cast()))?,
        SliceWeights::Int8(Int8Rows { entries, scales }) => {
            set("rows", &Int8Array::from(entries))?;
            set("scales", &Float32Array::from(scales))?
        }
    };
    Ok(object)
}

fn said(error: JsValue) -> PoolError {
    PoolError(error.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{error:?}"), |error| String::from(error.message())))
}

fn not_started() -> PoolError {
    PoolError("it was not started".into())
}
