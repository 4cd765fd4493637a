import { el } from '../dom';
import { DEFAULT_PRESET, PRESETS, settingsFor } from '../presets';
import type { Contexts, MemorySummary, Pairing, TrainSettings } from '../protocol';
import { checkField, choiceField, numberField, selectField, textField } from './fields';

type Flag = 'lrDecay' | 'silu' | 'recall' | 'copy' | 'attend' | 'contrast' | 'residual' | 'shortVocabulary' | 'gate';
type Numeric = Exclude<keyof TrainSettings, 'name' | 'pairing' | Flag>;

interface Field {
  readonly key: Numeric;
  readonly label: string;
  readonly hint: string;
  readonly min: number;
  readonly max?: number;
  readonly step: number | 'any';
}

const FIELDS: readonly Field[] = [
  { key: 'rank', label: 'Rank r', hint: 'Size of the adapter’s bottleneck', min: 1, step: 1 },
  { key: 'alpha', label: 'Alpha', hint: 'The adapter’s scale is alpha / r', min: 0, step: 'any' },
  { key: 'dropout', label: 'Dropout', hint: 'Part of what the adapter sees that training leaves out', min: 0, max: 0.99, step: 'any' },
  { key: 'kappa', label: 'Kappa', hint: 'Weight of reconstruction in phase 2', min: 0, max: 1, step: 'any' },
  { key: 'learningRate', label: 'Learning rate', hint: 'Of Adam', min: 0, step: 'any' },
  { key: 'reconstructionBatch', label: 'Batch, phase 1', hint: 'Rows a step', min: 1, step: 1 },
  { key: 'jointBatch', label: 'Batch, phase 2', hint: 'Rows a step', min: 1, step: 1 },
  { key: 'reconstructionEpochs', label: 'Epochs, phase 1', hint: 'At most', min: 1, step: 1 },
  { key: 'jointEpochs', label: 'Epochs, phase 2', hint: 'At most; of the model’s own words too', min: 1, step: 1 },
  { key: 'validateEvery', label: 'Validate every', hint: 'Steps; the last one too', min: 1, step: 1 },
  { key: 'patience', label: 'Patience', hint: 'Worse validations before a phase ends', min: 1, step: 1 },
  { key: 'prefix', label: 'Last tokens', hint: 'Of the text so far, each seen in its place', min: 0, max: 8, step: 1 },
  { key: 'seed', label: 'Seed', hint: 'Decides weights, order and dropout', min: 0, step: 1 },
];

const FLAGS: readonly { key: Flag; label: string; hint: string }[] = [
  { key: 'lrDecay', label: 'Falling learning rate', hint: 'Evenly, to nothing at the end of each phase’s epochs' },
  { key: 'silu', label: 'SiLU', hint: 'The bottleneck is not linear' },
  { key: 'recall', label: 'Recall', hint: 'The adapter attends over all of the text so far' },
  { key: 'copy', label: 'Copying', hint: 'The adapter may copy words of the prompt' },
  { key: 'attend', label: 'Attention over the prompt', hint: 'Needs a memory with contexts of all the prompt’s tokens' },
  { key: 'contrast', label: 'Contrast', hint: 'The adapter first learns the model’s own words, so that what your targets change can be told from the rest: a third mixture in generation, for a way of writing. Needs contexts of every step, and kappa 0' },
  { key: 'residual', label: 'Residual', hint: 'The adapter changes what the model itself would write next. Needs contexts of every step, and tokens learned from others than the prompt’s' },
  { key: 'shortVocabulary', label: 'Short vocabulary', hint: 'Of your targets and what the model finds likeliest: faster' },
  { key: 'gate', label: 'Gate', hint: 'Validation pairs then teach when to trust the adapter: for the learned weight. Needs contexts of every step, and tokens learned from others than the prompt’s' },
];

const PAIRINGS: readonly { value: Pairing; title: string }[] = [
  { value: 'position', title: 'Of its place (paper)' },
  { value: 'prompt', title: 'Of the prompt' },
  { value: 'alignment', title: 'After words that say the same' },
];

/** The contexts without which a flag means nothing. */
const NEEDED: Partial<Record<Flag, Contexts>> = { attend: 'prompt-all', contrast: 'steps', residual: 'steps', gate: 'steps' };

interface SettingsForm {
  readonly element: HTMLElement;
  /** Undefined when a field holds nothing usable. */
  readonly read: () => TrainSettings | undefined;
  /** Offers what a memory can teach, and fits a chosen preset to its size. The rest is not used, whatever is chosen. */
  readonly offerFor: (memory: MemorySummary | undefined) => void;
}

/** Presets, and every setting to be changed by hand. */
export function settingsForm(): SettingsForm {
  const note = el('p', { class: 'note' });
  const flags = new Map<Flag, HTMLInputElement>();
  const pairing = selectField('Each token’s context', 'setting-pairing', PAIRINGS, 'Which of the model’s contexts a token is learned from, where the memory has one of every step');
  const inputs = new Map<Numeric, HTMLInputElement>();

  let pairs: number | undefined;
  const apply = (id: string): void => {
    const preset = PRESETS.find((candidate) => candidate.id === id);
    if (!preset) return;
    note.textContent = preset.note;
    const settings = settingsFor(preset, pairs);
    for (const [key, input] of inputs) input.value = String(settings[key]);
    for (const [key, flag] of flags) flag.checked = settings[key];
    pairing.control.value = settings.pairing;
  };
  const presets = choiceField('Preset', 'preset', PRESETS.map(({ id, title }) => ({ value: id, title })), apply);
  const name = textField('Name of the adapter', { value: 'My adapter', test: 'setting-name' });
  const grid = el('div', { class: 'grid' });
  for (const { key, label, hint, min, max, step } of FIELDS) {
    const field = numberField(label, { value: 0, min, step, hint, test: `setting-${key}`, ...(max === undefined ? {} : { max }) });
    inputs.set(key, field.control);
    grid.append(field.element);
  }
  for (const { key, label, hint } of FLAGS) {
    const field = checkField(label, { test: `setting-${key}`, hint });
    flags.set(key, field.control);
    grid.append(field.element);
  }
  grid.append(pairing.element);
  grid.addEventListener('input', () => {
    presets.select(undefined);
    note.textContent = 'Settings of your own.';
  });
  presets.select(DEFAULT_PRESET);

  const advanced = el('details', { test: 'advanced' }, el('summary', {}, 'All settings'), grid);
  const element = el('div', { class: 'stack' }, el('div', { class: 'row' }, presets.element, name.element), note, advanced);

  const read = (): TrainSettings | undefined => {
    const wrong = [...inputs.values()].find((input) => !input.checkValidity());
    if (wrong) {
      advanced.open = true;
      wrong.reportValidity();
      return undefined;
    }
    const value = (key: Numeric): number => inputs.get(key)?.valueAsNumber ?? 0;
    const chosen = (key: Flag): boolean => {
      const flag = flags.get(key);
      return flag !== undefined && flag.checked && !flag.disabled;
    };
    return {
      name: name.control.value.trim() || 'Adapter',
      rank: value('rank'),
      alpha: value('alpha'),
      dropout: value('dropout'),
      kappa: value('kappa'),
      learningRate: value('learningRate'),
      lrDecay: chosen('lrDecay'),
      reconstructionBatch: value('reconstructionBatch'),
      jointBatch: value('jointBatch'),
      reconstructionEpochs: value('reconstructionEpochs'),
      jointEpochs: value('jointEpochs'),
      validateEvery: value('validateEvery'),
      patience: value('patience'),
      prefix: value('prefix'),
      silu: chosen('silu'),
      recall: chosen('recall'),
      copy: chosen('copy'),
      attend: chosen('attend'),
      contrast: chosen('contrast'),
      residual: chosen('residual'),
      shortVocabulary: chosen('shortVocabulary'),
      gate: chosen('gate'),
      pairing: pairing.control.disabled ? 'position' : (PAIRINGS.find(({ value }) => value === pairing.control.value)?.value ?? 'position'),
      seed: value('seed'),
    };
  };
  const offerFor = (memory: MemorySummary | undefined): void => {
    const contexts = memory?.contexts;
    pairs = memory?.trainRows;
    apply(presets.value());
    for (const [key, needed] of Object.entries(NEEDED)) {
      const flag = flags.get(key as Flag);
      if (flag) flag.disabled = contexts !== needed;
    }
    pairing.control.disabled = contexts !== 'steps';
  };
  offerFor(undefined);
  return { element, read, offerFor };
}
