import { expect, test } from 'vitest';
import { PRESETS, settingsFor } from './presets';

test.each([
  ['context', undefined, 64, 10],
  ['context', 5000, 64, 10],
  ['context', 640, 40, 38],
  ['context', 4, 16, 100],
  ['quick', 240, 16, 20],
  ['paper', 240, 2048, 20],
])('%s has for %s pairs batches of %d and %d epochs', (id, pairs, jointBatch, jointEpochs) => {
  const preset = PRESETS.find((candidate) => candidate.id === id);
  expect(preset && settingsFor(preset, pairs)).toEqual({ ...preset?.settings, jointBatch, jointEpochs });
});
