//! Which devices this browser offers, and the one in use.

use burn::tensor::Device;
use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::{
    error::TabError,
    pool::{StartSlices, TabPool},
    protocol::{DeviceChoice, DeviceInfo, DeviceKind},
};

/// Names under which browsers present adapters that run on the CPU.
const SOFTWARE_ADAPTERS: [&str; 4] = ["swiftshader", "llvmpipe", "lavapipe", "microsoft basic render"];

/// Uploads and launches that go to the GPU together: more than any token needs. In training the head's loss sends
/// them off earlier.
const TASKS_MAX: usize = 512;

/// The devices of this worker. WebGPU can be initialised once.
#[derive(Default)]
pub struct Devices {
    webgpu: Option<Device>,
    /// How many workers the CPU may use, and how they are started.
    workers: Option<(usize, StartSlices)>,
}

impl Devices {
    /// Devices whose CPU may use so many workers.
    pub fn new(workers: usize, start: StartSlices) -> Self {
        Self { webgpu: None, workers: Some((workers, start)) }
    }

    /// Workers for a device of this kind: none beside WebGPU, or where there is one core.
    pub fn pool(&self, kind: DeviceKind) -> Option<TabPool> {
        let (workers, start) = self.workers.as_ref().filter(|(workers, _)| kind == DeviceKind::Cpu && *workers > 1)?;
        Some(TabPool::new(*workers, start.clone()))
    }

    /// Looks at what there is.
    pub async fn survey() -> Vec<DeviceInfo> {
        vec![webgpu_info().await, cpu_info()]
    }

    /// The device for a choice, given what [`Self::survey`] found.
    ///
    /// # Errors
    /// [`TabError::NoWebGpu`] when WebGPU is asked for and not there.
    pub async fn open(&mut self, choice: DeviceChoice, found: &[DeviceInfo]) -> Result<(DeviceKind, Device), TabError> {
        let gpu = found.iter().find(|device| device.kind == DeviceKind::Webgpu);
        let wanted = match choice {
            DeviceChoice::Webgpu => true,
            DeviceChoice::Cpu => false,
            DeviceChoice::Auto => gpu.is_some_and(|gpu| gpu.recommended),
        };
        if !wanted {
            return Ok((DeviceKind::Cpu, Device::flex()));
        }
        if let Some(missing) = gpu.filter(|gpu| gpu.name.is_empty()) {
            return Err(TabError::NoWebGpu(missing.note.clone().unwrap_or_default()));
        }
        if self.webgpu.is_none() {
            let device = Device::wgpu_options().tasks_max(TASKS_MAX).init_async().await;
            self.webgpu = Some(device.map_err(|error| TabError::NoWebGpu(error.to_string()))?);
        }
        let device = self.webgpu.clone().ok_or_else(|| TabError::NoWebGpu("it did not start".into()))?;
        Ok((DeviceKind::Webgpu, device))
    }
}

fn cpu_info() -> DeviceInfo {
    DeviceInfo { kind: DeviceKind::Cpu, name: "CPU (wasm SIMD)".into(), recommended: true, note: None }
}

/// An empty name says that there is none.
async fn webgpu_info() -> DeviceInfo {
    let missing = |note: &str| DeviceInfo {
        kind: DeviceKind::Webgpu,
        name: String::new(),
        recommended: false,
        note: Some(note.to_owned()),
    };
    let Some(gpu) = field(&js_sys::global(), "navigator").and_then(|navigator| field(&navigator, "gpu")) else {
        return missing("this browser has no WebGPU");
    };
    let Some(adapter) = request_adapter(&gpu).await else {
        return missing("the browser found no adapter");
    };
    let info = field(&adapter, "info").unwrap_or(JsValue::UNDEFINED);
    let words = ["vendor", "architecture", "description"].map(|name| text(&info, name));
    let name = words.iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join(" ");
    let fallback = [&info, &adapter].iter().any(|o| field(o, "isFallbackAdapter").is_some_and(|v| v.is_truthy()));
    let lower = name.to_lowercase();
    let software = fallback || SOFTWARE_ADAPTERS.iter().any(|known| lower.contains(known));
    DeviceInfo {
        kind: DeviceKind::Webgpu,
        name: if name.is_empty() { "WebGPU".into() } else { name },
        recommended: !software,
        note: software.then(|| "a software adapter, slower than the CPU device".into()),
    }
}

async fn request_adapter(gpu: &JsValue) -> Option<JsValue> {
    let request: Function = field(gpu, "requestAdapter")?.dyn_into().ok()?;
    let promise: Promise = request.call0(gpu).ok()?.dyn_into().ok()?;
    JsFuture::from(promise).await.ok().filter(|adapter| !adapter.is_null() && !adapter.is_undefined())
}

fn field(object: &JsValue, name: &str) -> Option<JsValue> {
    Reflect::get(object, &JsValue::from_str(name)).ok().filter(|value| !value.is_undefined() && !value.is_null())
}

fn text(object: &JsValue, name: &str) -> String {
    field(object, name).and_then(|value| value.as_string()).unwrap_or_default()
}
