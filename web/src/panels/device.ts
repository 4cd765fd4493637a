import type { App } from '../app';
import { button, el, set, show, write } from '../dom';
import { bytes } from '../format';
import { rememberDevice } from '../device';
import { selectField } from '../parts/fields';
import type { DeviceChoice, DeviceInfo } from '../protocol';

const CHOICES: readonly { value: DeviceChoice; title: string }[] = [
  { value: 'auto', title: 'Automatic' },
  { value: 'webgpu', title: 'GPU (WebGPU)' },
  { value: 'cpu', title: 'CPU' },
];

const KIND = { webgpu: 'WebGPU', cpu: 'CPU' } as const;

function deviceRow(info: DeviceInfo, chosen: boolean): HTMLElement {
  const name = info.name || 'not available';
  return el('div', {}, el('dt', {}, KIND[info.kind], chosen ? el('span', { class: 'tag' }, 'in use') : undefined),
    el('dd', {}, name, info.note ? el('small', {}, info.note) : undefined));
}

/** The device to train on, and what this site stores. */
export function mountDevice(root: HTMLElement, app: App): void {
  const choice = selectField('Train on', 'device-choice', CHOICES);
  choice.control.value = app.store.state.deviceChoice;
  choice.control.addEventListener('change', () => {
    const device = CHOICES.find(({ value }) => value === choice.control.value)?.value ?? 'auto';
    rememberDevice(device);
    app.chooseDevice(device);
  });
  const devices = el('dl', { class: 'facts', test: 'device' });
  const meter = el('progress', { max: 1, value: 0, 'aria-label': 'Storage in use' });
  const used = el('span', { class: 'amount' });
  const storage = el('div', { class: 'progress', test: 'storage' }, el('span', {}, 'Storage'), meter, used);
  const persistence = el('p', { class: 'note' });
  const forget = button('Forget everything', () => {
    const sure = confirm('Delete everything that this site has stored here: heads, memories, checkpoints and adapters? Export adapters first if you may need them again.');
    if (sure) app.forget();
  }, { class: 'danger', test: 'forget' });

  const summary = el('small');
  app.store.watchAll((state) => {
    const stored = state.storage ? `, ${bytes(state.storage.used)} stored` : '';
    write(summary, state.device ? `${KIND[state.device]} in use${stored}` : 'starting…');
    choice.control.disabled = state.busy !== undefined;
    forget.disabled = state.busy !== undefined || !state.opened;
  });
  let shown: readonly DeviceInfo[] | undefined;
  app.store.watchAll((state) => {
    set(devices, { 'data-device': state.device });
    if (shown === state.devices && devices.dataset['drawn'] === state.device) return;
    shown = state.devices;
    set(devices, { 'data-drawn': state.device });
    devices.replaceChildren(...state.devices.map((info) => deviceRow(info, info.kind === state.device)));
  });
  app.store.watch((state) => state.storage, (info) => {
    show(storage, info !== undefined);
    if (!info) return;
    meter.value = info.quota > 0 ? info.used / info.quota : 0;
    write(used, `${bytes(info.used)} of ${bytes(info.quota)}`);
    set(storage, { 'data-used': info.used, 'data-quota': info.quota, 'data-persistent': String(info.persistent) });
    write(persistence, info.persistent ? 'The browser promised to keep it.' : 'The browser may clear it when the disk is full; export adapters that you need.');
  });

  root.append(
    el('details', { class: 'panel', test: 'device-panel' },
      el('summary', {}, el('h2', {}, 'This device'), summary),
      choice.element, devices, storage, persistence, forget));
}
