// In the page: the same step, by Pema and by TensorFlow.js.

import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-webgpu';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';

import init, { BenchDevice } from '../../web/src/pkg/pema_web';
import { startSlices } from '../../web/src/slices';

await init();
setWasmPaths('/tf/tfjs-backend-wasm/dist/');
const steps = new Map();
const devices = new Map();

async function deviceFor(webgpu) {
  if (!devices.has(webgpu)) devices.set(webgpu, await BenchDevice.open(webgpu));
  return devices.get(webgpu);
}

globalThis.isSoftware = async () => {
  const { info } = await navigator.gpu.requestAdapter();
  return info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe/i.test(`${info.vendor} ${info.architecture} ${info.description}`);
};

globalThis.makePema = async (name, { webgpu, plain = false, small = false, workers = 0, n, d, v, r }) => {
  const device = await deviceFor(webgpu);
  const step = small ? device.smallStep(n, d, v, r) : workers > 0 ? await device.spreadStep(workers, startSlices, n, d, v, r) : device.step(plain, n, d, v, r);
  steps.set(name, () => step.take());
};

globalThis.makeTf = async (name, backend, { n, d, v, r }) => {
  const enter = async () => {
    await tf.setBackend(backend);
    await tf.ready();
  };
  await enter();
  const noise = (...shape) => tf.randomUniform(shape, -0.5, 0.5);
  const [h, a, b, w] = [noise(n, d), noise(d, r), noise(r, d), noise(v, d)];
  const y = tf.tensor1d(Array.from({ length: n }, (_, i) => (i * 7919) % v), 'int32');
  const wY = tf.gather(w, y);
  const loss = (a, b) => {
    const hPd = tf.matMul(tf.matMul(h, a), b);
    const logits = tf.matMul(hPd, w, false, true);
    return tf.mean(tf.sub(tf.logSumExp(logits, 1), tf.sum(tf.mul(hPd, wY), 1)));
  };
  steps.set(name, async () => {
    await enter();
    const { value, grads } = tf.tidy(() => tf.valueAndGrads(loss)([a, b]));
    const [found] = await Promise.all([value.data(), grads[0].data(), grads[1].data()]);
    tf.dispose([value, grads]);
    return found[0];
  });
};

globalThis.take = async (name) => {
  const start = performance.now();
  const loss = await steps.get(name)();
  const seconds = (performance.now() - start) / 1000;
  if (!Number.isFinite(loss)) throw new Error(`the loss is ${loss}`);
  return seconds;
};

globalThis.bytesOfAStep = async ({ n, d, v, r }) => {
  const device = await deviceFor(true);
  await device.step(false, n, d, v, r).take();
  return device.bytesReserved();
};

globalThis.ready = true;
