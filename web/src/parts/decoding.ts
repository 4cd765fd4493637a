import { el, show, write } from '../dom';
import type { Asking, Decoding, MixingKind, Mixture, ScheduleKind } from '../protocol';
import { checkField, choiceField, labelled, numberField } from './fields';

const SCHEDULES: readonly { value: ScheduleKind; title: string }[] = [
  { value: 'linear', title: 'Linear' },
  { value: 'quadratic', title: 'Quadratic' },
  { value: 'constant', title: 'Constant' },
  { value: 'learned', title: 'Learned' },
];

export const MIXINGS: readonly { value: MixingKind; title: string }[] = [
  { value: 'arithmetic', title: 'mean' },
  { value: 'geometric', title: 'geometric mean' },
  { value: 'contrast', title: 'contrast' },
];

/** What contrast is, or why there is none. */
const CONTRAST = {
  none: 'Contrast: your adapter has none. Train one with “Contrast” under “All settings”, on contexts of every step.',
  offered: 'Contrast: the geometric mean with what your targets have changed of the adapter alone.',
} as const;

/** When the model is asked. */
const ASKING = [
  { value: 'always', title: 'at every token' },
  { value: 'private', title: 'once: private' },
  { value: 'unsure', title: 'when unsure' },
] as const;

const NOTES: Readonly<Record<string, string>> = {
  private:
    'Private: the model gives its context of the prompt once and then hears nothing; your adapter writes alone, in this tab. ' +
    'The first tokens may still be mixed with the model’s; its owner learns all of these but the last.',
  unsure:
    'Your adapter writes alone until its own choice is unsure; then the model is asked, and its owner learns everything that was written before.',
};

/** Why the adapter’s weight cannot be learned, or what it means that it is. */
const LEARNED = {
  noGate: 'Learned: your adapter has no gate. Train one with “Gate” under “All settings”.',
  geometric: 'Learned: gates weigh the mean alone, so choose that mixture.',
  offered: 'Learned: your adapter’s gate looks at both choices before each token and says its weight, at most lambda max.',
} as const;

/** The adapter's weight at first: what validation pairs chose in the studies of the sample and of news. */
const LAMBDA_MAX = 0.5;

interface DecodingForm {
  readonly element: HTMLElement;
  /** Undefined when a field holds nothing usable. */
  readonly read: () => Decoding | undefined;
  /** Offers private generation, or takes the offer back. */
  readonly offerPrivate: (offered: boolean) => void;
  /** Offers the weight of the adapter's gate, or takes the offer back. */
  readonly offerLearned: (offered: boolean) => void;
  /** Offers contrast, or takes the offer back. */
  readonly offerContrast: (offered: boolean) => void;
  /** Chooses a mixture, until the user chooses another. */
  readonly mix: (mixture: Mixture) => void;
  /** Says whether a text ends where its line does, until the user says otherwise. */
  readonly setOneLine: (oneLine: boolean) => void;
  /** Whether it is chosen so that no generated token is sent. */
  readonly isSilent: () => boolean;
}

/** How tokens are chosen. `onChange` is called when `isSilent` may have another answer. */
export function decodingForm(onChange: () => void): DecodingForm {
  const mixed = numberField('Tokens mixed with the model’s', {
    value: 0, min: 0, max: 4096, step: 1, test: 'consult', hint: 'With 0 or 1, no generated token leaves this tab',
  });
  mixed.control.addEventListener('input', onChange);
  const entropy = numberField('Unsure above, nats', {
    value: 3, min: 0, step: 'any', test: 'consult-above', hint: 'Entropy of the adapter’s next token; 0 is certain',
  });
  const askingNote = el('p', { class: 'note' });
  const asking = choiceField('The model is asked', 'asking', ASKING, () => refresh());
  asking.select('always');
  const isPrivate = (): boolean => asking.value() === 'private';
  const refresh = (): void => {
    show(mixed.element, isPrivate());
    show(entropy.element, asking.value() === 'unsure');
    write(askingNote, NOTES[asking.value()] ?? '');
    onChange();
  };

  const mixing = choiceField('The two are mixed by their', 'mixing', MIXINGS, () => weigh());
  mixing.select('geometric');
  const contrastNote = el('small', {});
  mixing.element.append(contrastNote);
  const schedule = choiceField('The adapter’s weight', 'schedule', SCHEDULES, () => undefined);
  schedule.select('constant');
  const learnedNote = el('small', { test: 'learned-note' });
  schedule.element.append(learnedNote);
  let hasGate = false;
  const weigh = (): void => {
    const isMean = mixing.value() === 'arithmetic';
    const allowed = hasGate && isMean;
    schedule.allow('learned', allowed);
    if (!allowed && schedule.value() === 'learned') schedule.select('constant');
    write(learnedNote, !hasGate ? LEARNED.noGate : isMean ? LEARNED.offered : LEARNED.geometric);
  };
  const offerLearned = (offered: boolean): void => {
    hasGate = offered;
    weigh();
  };
  const offerContrast = (offered: boolean): void => {
    mixing.allow('contrast', offered);
    if (!offered && mixing.value() === 'contrast') mixing.select('geometric');
    write(contrastNote, offered ? CONTRAST.offered : CONTRAST.none);
    weigh();
  };
  offerContrast(false);

  const shown = el('output', {}, LAMBDA_MAX.toFixed(2));
  const slider = labelled('Largest weight (lambda max)', el('input', { type: 'range', min: 0, max: 1, step: 0.01, value: LAMBDA_MAX, test: 'lambda-max' }));
  slider.control.addEventListener('input', () => write(shown, slider.control.valueAsNumber.toFixed(2)));
  slider.element.append(shown);
  slider.element.classList.add('slider');

  const maxTokens = numberField('At most, tokens', { value: 64, min: 1, max: 4096, step: 1, test: 'max-tokens' });
  const noRepeat = numberField('Never twice, tokens in a row', { value: 4, min: 0, max: 64, step: 1, test: 'no-repeat', hint: '0 allows repeats' });
  const oneLine = checkField('One line', {
    test: 'one-line', hint: 'The text ends with its line. On by itself where all targets have one line',
  });
  const temperature = numberField('Temperature', { value: 0.7, min: 0.01, step: 'any', test: 'temperature' });
  const topK = numberField('Top k', { value: 0, min: 0, step: 1, test: 'top-k', hint: '0 keeps all' });
  const topP = numberField('Top p', { value: 1, min: 0.01, max: 1, step: 'any', test: 'top-p' });
  const seed = numberField('Seed', { value: 1, min: 0, step: 1, test: 'sampling-seed' });
  const sampling = el('div', { class: 'grid' }, temperature.element, topK.element, topP.element, seed.element);

  const mode = choiceField(
    'Tokens are',
    'mode',
    [{ value: 'greedy', title: 'the likeliest' }, { value: 'sampled', title: 'drawn at random' }],
    (value) => show(sampling, value === 'sampled'),
  );
  mode.select('greedy');
  show(sampling, false);

  const askingRow = el('div', { class: 'stack', test: 'private-offer' }, el('div', { class: 'row' }, asking.element, mixed.element, entropy.element), askingNote);
  const offerPrivate = (offered: boolean): void => {
    show(askingRow, offered);
    if (!offered) asking.select('always');
    refresh();
  };
  const element = el('div', { class: 'stack' },
    askingRow,
    el('div', { class: 'row' }, mixing.element, slider.element),
    el('div', { class: 'row' }, schedule.element, mode.element),
    el('div', { class: 'row' }, maxTokens.element, noRepeat.element, oneLine.element),
    sampling,
  );

  const consult = (): Asking | undefined => {
    if (isPrivate()) return { first: mixed.control.valueAsNumber };
    return asking.value() === 'unsure' ? { above: entropy.control.valueAsNumber } : undefined;
  };
  const read = (): Decoding | undefined => {
    const sampled = mode.value() === 'sampled';
    const asked = { always: [], private: [mixed], unsure: [entropy] }[asking.value()] ?? [];
    const used = [maxTokens, noRepeat, ...asked, ...(sampled ? [temperature, topK, topP, seed] : [])];
    if (!used.every(({ control }) => control.reportValidity())) return undefined;
    return {
      mixture: {
        mixing: mixing.value() as MixingKind,
        schedule: schedule.value() as ScheduleKind,
        lambdaMax: slider.control.valueAsNumber,
      },
      consult: consult(),
      sampling: sampled
        ? {
            temperature: temperature.control.valueAsNumber,
            topK: topK.control.valueAsNumber,
            topP: topP.control.valueAsNumber,
            seed: seed.control.valueAsNumber,
          }
        : undefined,
      noRepeat: noRepeat.control.valueAsNumber,
      maxTokens: maxTokens.control.valueAsNumber,
      oneLine: oneLine.control.checked,
    };
  };
  const mix = (mixture: Mixture): void => {
    mixing.select(mixture.mixing);
    schedule.select(mixture.schedule);
    slider.control.valueAsNumber = mixture.lambdaMax;
    write(shown, mixture.lambdaMax.toFixed(2));
    weigh();
  };
  const setOneLine = (wanted: boolean): void => {
    oneLine.control.checked = wanted;
  };
  return { element, read, offerPrivate, offerLearned, offerContrast, mix, setOneLine, isSilent: () => isPrivate() && mixed.control.valueAsNumber <= 1 };
}
