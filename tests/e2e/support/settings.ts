// Training settings for tests. On two cores, the joint phase does about 70 rows a second on the
// CPU in wasm, and about 1 on WebGPU in software.

import type { TrainSettings } from '../../../web/src/protocol';

/** Both phases of the paper. */
const RECONSTRUCTS: Partial<TrainSettings> = { contrast: false, kappa: 0.2 };

/** The phases of contrast. */
export const CONTRASTS: Partial<TrainSettings> = { contrast: true, kappa: 0 };

/** One epoch over a handful of pairs: seconds. What is learnt does not matter. */
export const TINY: Partial<TrainSettings> = {
  ...RECONSTRUCTS,
  rank: 4,
  alpha: 4,
  reconstructionBatch: 64,
  jointBatch: 64,
  reconstructionEpochs: 1,
  jointEpochs: 1,
  seed: 1,
};

/** A few steps on WebGPU in software. */
export const WEBGPU_STEPS: Partial<TrainSettings> = { ...TINY, reconstructionBatch: 16, jointBatch: 16 };

/** Enough to learn the style of the sample data from a part of it: minutes. */
export const LEARNING: Partial<TrainSettings> = {
  ...RECONSTRUCTS,
  reconstructionBatch: 128,
  reconstructionEpochs: 3,
  jointEpochs: 3,
  validateEvery: 20,
  patience: 5,
};
