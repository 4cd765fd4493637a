import { el, show, write } from '../dom';
import type { Decoding, ScheduleKind } from '../protocol';
import { choiceField, labelled, numberField } from './fields';

const SCHEDULES: readonly { value: ScheduleKind; title: string }[] = [
  { value: 'linear', title: 'Linear' },
  { value: 'quadratic', title: 'Quadratic' },
  { value: 'constant', title: 'Constant' },
];

/** How tokens are chosen. `read` is undefined when a field holds nothing usable. */
export function decodingForm(): { element: HTMLElement; read: () => Decoding | undefined } {
  const schedule = choiceField('The adapter’s weight falls', 'schedule', SCHEDULES, () => undefined);
  schedule.select('constant');

  const shown = el('output', {}, '0.70');
  const slider = labelled('Weight at the start (lambda max)', el('input', { type: 'range', min: 0, max: 1, step: 0.01, value: 0.7, test: 'lambda-max' }));
  slider.control.addEventListener('input', () => write(shown, slider.control.valueAsNumber.toFixed(2)));
  slider.element.append(shown);
  slider.element.classList.add('slider');

  const maxTokens = numberField('At most, tokens', { value: 64, min: 1, max: 4096, step: 1, test: 'max-tokens' });
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

  const element = el('div', { class: 'stack' },
    el('div', { class: 'row' }, schedule.element, slider.element),
    el('div', { class: 'row' }, mode.element, maxTokens.element),
    sampling,
  );

  const read = (): Decoding | undefined => {
    const sampled = mode.value() === 'sampled';
    const used = [maxTokens, ...(sampled ? [temperature, topK, topP, seed] : [])];
    if (!used.every(({ control }) => control.reportValidity())) return undefined;
    return {
      mixing: { schedule: schedule.value() as ScheduleKind, lambdaMax: slider.control.valueAsNumber },
      sampling: sampled
        ? {
            temperature: temperature.control.valueAsNumber,
            topK: topK.control.valueAsNumber,
            topP: topP.control.valueAsNumber,
            seed: seed.control.valueAsNumber,
          }
        : undefined,
      maxTokens: maxTokens.control.valueAsNumber,
    };
  };
  return { element, read };
}
