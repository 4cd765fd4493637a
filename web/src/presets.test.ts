import { expect, test } from 'vitest';
import { PRESETS, settingsFor } from './presets';

test.each([
  ['context', undefined, 64],
  ['context', 5000, 64],
  ['context', 640, 40],
  ['quick', 240, 16],
  ['paper', 240, 2048],
])('the batch of %s for %s pairs is %d', (id, pairs, batch) => {
  const preset = PRESETS.find((candidate) => candidate.id === id);
  expect(preset && settingsFor(preset, pairs)).toEqual({ ...preset?.settings, jointBatch: batch });
});
