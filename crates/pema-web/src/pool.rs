//! The CPU's workers: each holds some rows of the head, so that training and generating use every
//! core without shared memory. The page's TypeScript starts them and carries messages.

use std::{cell::RefCell, fmt};

use burn::tensor::Device;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use js_sys::{Array, Float32Array, Uint16Array};
use pema_adapter::{HeadPool, HeadSlice, PoolError, PoolFuture, SliceRequest, SliceRows, SliceWant};
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

/** Starts workers with these rows of the head, f16 `[rows, d]` each. */
export type StartSlices = (rows: Uint16Array[], d: number, scale: number, softcap: number | undefined) => Promise<Slices>;
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
    pub fn new(rows: &[u16], d: usize, scale: f32, softcap: Option<f32>) -> Result<Self, JsError> {
        console_error_panic_hook::set_once();
        Ok(Self(HeadSlice::new(SliceRows { rows: rows.reinterpret_cast(), d, scale, softcap }, &Device::flex())?))
    }

    /// Answers for hidden states `[n, d]`.
    pub async fn answer(&self, h: Vec<f32>, want: Want) -> Result<Vec<f32>, JsError> {
        let want = match want {
            Want::Logits => SliceWant::Logits,
            Want::Softmax => SliceWant::Softmax,
            Want::SoftmaxAndPull => SliceWant::SoftmaxAndPull,
        };
        Ok(self.0.answer(SliceRequest { h, want }).await?)
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
            let rows: Array = slices.iter().map(|slice| Uint16Array::from(slice.rows.reinterpret_cast())).collect();
            let arguments = Array::of4(&rows, &d.into(), &scale.into(), &softcap.into());
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

fn said(error: JsValue) -> PoolError {
    PoolError(error.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{error:?}"), |error| String::from(error.message())))
}
