import type { TrainSettings } from './protocol';

/** A named choice of settings; the name of the adapter is not part of it. */
export interface Preset {
  readonly id: string;
  readonly title: string;
  readonly note: string;
  readonly settings: Omit<TrainSettings, 'name'>;
  /** For few pairs batches are smaller and epochs more, so that there are so many steps; validation ends it earlier. */
  readonly leastSteps: number | undefined;
}

const context: Omit<TrainSettings, 'name'> = {
  rank: 128,
  alpha: 64,
  dropout: 0.5,
  kappa: 0,
  learningRate: 5e-4,
  lrDecay: true,
  reconstructionBatch: 256,
  jointBatch: 64,
  reconstructionEpochs: 10,
  jointEpochs: 10,
  validateEvery: 40,
  patience: 6,
  prefix: 3,
  silu: true,
  recall: true,
  copy: true,
  attend: true,
  contrast: true,
  residual: false,
  shortVocabulary: true,
  pairing: 'prompt',
  gate: false,
  seed: 1,
};

export const PRESETS: readonly Preset[] = [
  {
    id: 'quick',
    title: 'Quick',
    note: 'A first look in few epochs, of what “PEMA + local context” gives.',
    settings: { ...context, reconstructionEpochs: 6, jointEpochs: 6 },
    leastSteps: 300,
  },
  {
    id: 'context',
    title: 'PEMA + local context',
    note: 'For some hundreds or thousands of pairs. The adapter sees the prompt’s context and the text so far, and may copy from the prompt; with contexts of every step it first learns how the model writes, so that in generation what your targets change may count alone.',
    settings: context,
    leastSteps: 600,
  },
  {
    id: 'residual',
    title: 'PEMA + residual',
    note: 'For a way of writing. The adapter changes what the model itself would write next, and learns how where the model’s own words said what your targets say. Needs contexts of every step.',
    settings: { ...context, contrast: false, residual: true, pairing: 'alignment' },
    leastSteps: 600,
  },
  {
    id: 'paper',
    title: 'PEMA (paper)',
    note: 'The method and settings of the PEMA paper: large batches, many epochs, no local context, no copying. For large data and a fast GPU.',
    settings: {
      ...context,
      rank: 512,
      alpha: 512,
      dropout: 0.2,
      kappa: 0.2,
      reconstructionBatch: 20480,
      jointBatch: 2048,
      reconstructionEpochs: 50,
      jointEpochs: 20,
      validateEvery: 100,
      patience: 2,
      learningRate: 1e-3,
      lrDecay: false,
      prefix: 0,
      silu: false,
      recall: false,
      copy: false,
      attend: false,
      contrast: false,
      shortVocabulary: false,
      pairing: 'position',
    },
    leastSteps: undefined,
  },
];

/** Steps that an epoch should have, in batches that are worth it. */
const STEPS_OF_EPOCH = 16;
const BATCH_LEAST = 16;
const EPOCHS_MOST = 100;

/** A preset's settings for a memory of so many pairs (context, target token) to train on. */
export function settingsFor({ settings, leastSteps }: Preset, pairs: number | undefined): Preset['settings'] {
  if (leastSteps === undefined || !pairs) return settings;
  const jointBatch = Math.min(settings.jointBatch, Math.max(BATCH_LEAST, Math.floor(pairs / STEPS_OF_EPOCH)));
  const wanted = Math.min(EPOCHS_MOST, Math.ceil(leastSteps / Math.ceil(pairs / jointBatch)));
  const jointEpochs = Math.max(settings.jointEpochs, wanted);
  return { ...settings, jointBatch, jointEpochs };
}

export const DEFAULT_PRESET = 'context';
