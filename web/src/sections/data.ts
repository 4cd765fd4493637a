import type { App } from '../app';
import { button, el, show } from '../dom';
import { actions } from '../parts/actions';
import { labelled, numberField, selectField } from '../parts/fields';
import { filePicker } from '../parts/filePicker';
import { dataPreview } from '../parts/preview';
import { section } from '../parts/section';
import { loadSample } from '../sample';

const FILE_ENDINGS = 'JSONL, CSV or TSV';

/** Sets aside a tenth of the training pairs when there is no validation file. */
const VALIDATION_FRACTION = 0.1;

export function mountData(root: HTMLElement, app: App): void {
  const { form, output } = section(root, app, {
    id: 'data',
    number: 2,
    title: 'Data',
    lead: 'Pairs of an input and the target that the model should have written. Files are read in this tab.',
    task: 'data',
    locked: (state) => (state.model ? undefined : 'Connect to a service first: its tokenizer counts the tokens.'),
    done: (state) => state.data !== undefined,
  });

  const onError = (error: unknown): void =>
    app.fail('data', 'unreadable-file', 'The file could not be read. Choose it again.', [String(error)]);
  const ignore = (): void => undefined;
  const train = filePicker({
    label: 'Training pairs',
    note: `Choose or drop a ${FILE_ENDINGS} file`,
    test: 'file-train',
    onChange: (file) => app.send({ type: 'inspect-data', file }),
    onError,
  });
  const validation = filePicker({ label: 'Validation pairs', note: 'Optional', test: 'file-validation', onChange: ignore, onError });
  const test = filePicker({ label: 'Test pairs', note: 'Optional', test: 'file-test', onChange: ignore, onError });

  const input = selectField('Column of the inputs', 'input-column', []);
  const target = selectField('Column of the targets', 'target-column', []);
  const template = labelled(
    'Prompt template',
    el('textarea', { rows: 6, spellcheck: 'false', test: 'template' }),
    'What the model sees; {input} stands for the input.',
  );
  template.control.value = '{input}';
  const fraction = numberField('Validation part', {
    value: VALIDATION_FRACTION, min: 0.01, max: 0.9, step: 'any', test: 'validation-fraction', hint: 'Of the training pairs, without a validation file.',
  });
  const seed = numberField('Seed', { value: 1, min: 0, step: 1, test: 'data-seed', hint: 'Decides which pairs.' });

  const takeSample = async (): Promise<void> => {
    try {
      const sample = await loadSample();
      train.put(sample.train);
      validation.put(sample.validation);
      test.put(sample.test);
      template.control.value = sample.template;
      app.send({ type: 'inspect-data', file: sample.train });
    } catch (error) {
      app.fail('data', 'no-sample', 'The sample could not be loaded from this site. Choose a file of your own, or try again.', [String(error)]);
    }
  };

  const load = (): void => {
    const file = train.file();
    if (!file) return;
    app.send({
      type: 'load-data',
      train: file,
      validation: validation.file(),
      test: test.file(),
      inputColumn: input.control.value,
      targetColumn: target.control.value,
      template: template.control.value,
      validationFraction: fraction.control.valueAsNumber,
      seed: seed.control.valueAsNumber,
    });
  };

  const columns = el('div', { class: 'row' }, input.element, target.element);
  form.append(
    el('div', { class: 'files' }, train.element, validation.element, test.element),
    el('p', { class: 'or' }, 'Nothing at hand? ', button('Use the sample (informal to formal English)', () => void takeSample(), { test: 'use-sample', class: 'link' })),
    columns,
    template.element,
    el('div', { class: 'row' }, fraction.element, seed.element),
    actions(app, 'data', [{ label: 'Load', test: 'load-data', run: load, enabled: (state) => state.columns !== undefined }], false),
  );

  app.store.watch((state) => state.columns, (found) => {
    show(columns, found !== undefined);
    if (!found) return;
    for (const [{ control }, guess] of [[input, found.input], [target, found.target]] as const) {
      control.replaceChildren(...found.columns.map((name) => el('option', { value: name }, name)));
      if (guess !== undefined) control.value = guess;
    }
  });
  app.store.watch((state) => state.data, (data) => output.replaceChildren(...(data ? [dataPreview(data)] : [])));
}
