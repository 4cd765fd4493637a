//! A training step to measure in a browser; only in the benchmark's build.

use std::rc::Rc;

use burn::tensor::Device;
use pema_adapter::bench::{PlainStep, SmallStep, Step, StepShape};
use wasm_bindgen::prelude::*;

use crate::{
    device::Devices,
    pool::{StartSlices, TabPool},
    protocol::{DeviceChoice, DeviceKind},
};

/// A device of this tab, to make steps on.
#[wasm_bindgen]
pub struct BenchDevice(Device);

/// A step that lies on its device.
#[wasm_bindgen]
pub struct BenchStep(Way);

enum Way {
    Pema(Step),
    Plain(PlainStep),
    Small(SmallStep),
}

#[wasm_bindgen]
impl BenchDevice {
    /// WebGPU, also on a software adapter, or the CPU.
    #[wasm_bindgen]
    pub async fn open(webgpu: bool) -> Result<Self, JsError> {
        let choice = if webgpu { DeviceChoice::Webgpu } else { DeviceChoice::Cpu };
        let (kind, device) = Devices::default().open(choice, &Devices::survey().await).await?;
        debug_assert_eq!(kind == DeviceKind::Webgpu, webgpu);
        Ok(Self(device))
    }

    /// Pema's step, or a plain composition of Burn's operations.
    pub fn step(&self, plain: bool, n: usize, d: usize, v: usize, r: usize) -> Result<BenchStep, JsError> {
        let shape = StepShape { n, d, v, r };
        Ok(BenchStep(match plain {
            true => Way::Plain(PlainStep::new(shape, &self.0)),
            false => Way::Pema(Step::new(shape, &self.0)?),
        }))
    }

    /// What Pema's step does beside the head.
    #[wasm_bindgen(js_name = smallStep)]
    pub fn small_step(&self, n: usize, d: usize, v: usize, r: usize) -> BenchStep {
        BenchStep(Way::Small(SmallStep::new(StepShape { n, d, v, r }, &self.0)))
    }

    /// Pema's step with the head spread over workers.
    #[wasm_bindgen(js_name = spreadStep)]
    pub async fn spread_step(
        &self,
        workers: usize,
        start: StartSlices,
        n: usize,
        d: usize,
        v: usize,
        r: usize,
    ) -> Result<BenchStep, JsError> {
        let pool = Rc::new(TabPool::new(workers, start));
        Ok(BenchStep(Way::Pema(Step::spread(StepShape { n, d, v, r }, &self.0, pool).await?)))
    }

    /// Bytes that the device's memory pools hold; 0 where there are none.
    #[wasm_bindgen(js_name = bytesReserved)]
    pub fn bytes_reserved(&self) -> f64 {
        self.0.memory_pool_usage().map_or(0.0, |usage| usage.bytes_reserved as f64)
    }
}

#[wasm_bindgen]
impl BenchStep {
    /// Takes the step; its loss.
    pub async fn take(&mut self) -> Result<f32, JsError> {
        Ok(match &mut self.0 {
            Way::Pema(step) => step.take().await?,
            Way::Plain(step) => step.take().await?,
            Way::Small(step) => step.take().await?,
        })
    }
}
