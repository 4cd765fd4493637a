//! The CPU's workers: each holds some rows of the head, so that training and generating use every
//! core without shared memory. The page's TypeScript starts them and carries messages.

use std::{cell::RefCell, fmt};

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use js_sys::{Array, Float32Array, Int8Array, Object, Reflect, Uint16Array};
use pema_adapter::{HeadPool, HeadSlice, PoolError, PoolFuture, SliceRequest, SliceRows, SliceWant, SliceWeights};
use pema_core::head::Int8Rows;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** Workers that hold the head, some rows each. */
export interface Slices {
  /** Every worker's answer, in their order. */
  ask(h: Float32Array, want: Want): Promise<Float32Array[]>;
  /** Whether every worker still answers. */
  isAlive(): boolean;
  /** Ends the workers. */
  close(): void;
}

/** Some rows of the head: f16 `[rows, d]`, or int8 with a scale a row. */
export type SliceWeights = { rows: Uint16Array } | { rows: Int8Array; scales: Float32Array };

/** Starts workers with these rows of the head. */
export type StartSlices = (weights: SliceWeights[], d: number, scale: number, softcap: number | undefined) => Promise<Slices>;
"#;

#[wasm_bindgen]
extern "C" {
    /// See the TypeScript above.
    #[wasm_bindgen(typescript_type = "Slices")]
    type Slices;

    #[wasm_bindgen(method, catch)]
    async fn ask(this: &Slices, h: Float32Array, want: Want) -> Result<JsValue, JsValue>;

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

/// This tab's workers for one head; they end with it.
pub(crate) struct TabPool {
    workers: usize,
    start: StartSlices,
    slices: RefCell<Option<Slices>>,
}

impl TabPool {
    /// So many workers, started when they are given a head.
    pub(crate) fn new(workers: usize, start: StartSlices) -> Self {
        Self { workers, start, slices: RefCell::default() }
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

    fn load<'a>(&'a self, slices: Vec<SliceRows<'a>>) -> PoolFuture<'a, ()> {
        Box::pin(async move {
            let Some(first) = slices.first() else { return Err(PoolError("it was given no rows".into())) };
            let (d, scale, softcap) = (first.d, first.scale, first.softcap);
            let weights = slices.iter().map(|slice| weights(slice.rows)).collect::<Result<Array, _>>().map_err(said)?;
            let arguments = Array::of4(&weights, &d.into(), &scale.into(), &softcap.into());
            let started = self.start.apply(&JsValue::NULL, &arguments).map_err(said)?;
            let started = wasm_bindgen_futures::JsFuture::from(js_sys::Promise::from(started)).await.map_err(said)?;
            self.slices.replace(Some(started.unchecked_into()));
            Ok(())
        })
    }

    fn ask(&self, SliceRequest { h, want }: SliceRequest) -> PoolFuture<'_, Vec<Vec<f32>>> {
        Box::pin(async move {
            let want = match want {
                SliceWant::Logits => Want::Logits,
                SliceWant::Softmax => Want::Softmax,
                SliceWant::SoftmaxAndPull => Want::SoftmaxAndPull,
            };
            let slices = self.slices.borrow().as_ref().map(|slices| JsValue::from(slices).unchecked_into::<Slices>());
            let slices = slices.ok_or_else(|| PoolError("it was not started".into()))?;
            let answers = slices.ask(Float32Array::from(h.as_slice()), want).await.map_err(said)?;
            Ok(Array::from(&answers).iter().map(|answer| Float32Array::new(&answer).to_vec()).collect())
        })
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
