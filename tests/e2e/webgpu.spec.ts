// The same path on WebGPU, in software and therefore on very little.

import { sampleFiles, samplePairs, TEMPLATE } from './support/data';
import { expect, test } from './support/fixtures';
import { WEBGPU_STEPS } from './support/settings';

test('a few steps of both phases run on WebGPU', async ({ openTab, service, folder }) => {
  const pema = await openTab(service, { device: 'webgpu' });
  expect(await pema.device()).toBe('webgpu');
  await pema.connect(service.url);
  await pema.loadFiles(sampleFiles(folder, { train: 2, dev: 1, test: 1 }), { template: TEMPLATE });
  await pema.downloadMemory();
  const { losses, adapter } = await pema.train({ ...WEBGPU_STEPS, name: 'few steps' });
  expect(adapter).toBe('few steps');
  expect([...losses.reconstruction, ...losses.joint].every(Number.isFinite)).toBe(true);
  expect(losses.joint.length).toBeGreaterThan(0);

  const [{ input } = { input: '' }] = samplePairs('test', 1);
  const { mixture, lambdas } = await pema.generate(input, { maxTokens: 2 });
  expect(mixture).toBeDefined();
  expect(lambdas.length).toBeGreaterThan(0);
});

test('a software adapter is not chosen unless it is asked for', async ({ openTab, service }) => {
  const pema = await openTab(service, { device: 'auto' });
  expect(await pema.device()).toBe('cpu');
});
