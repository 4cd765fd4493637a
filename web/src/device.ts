// Which device the user wants: the address bar first, then the last choice.

import type { DeviceChoice } from './protocol';

const KEY = 'pema.device';

const parse = (text: string | null): DeviceChoice | undefined =>
  text === 'auto' || text === 'webgpu' || text === 'cpu' ? text : undefined;

export function chosenDevice(): DeviceChoice {
  return parse(new URLSearchParams(location.search).get('device')) ?? parse(localStorage.getItem(KEY)) ?? 'auto';
}

export const rememberDevice = (device: DeviceChoice): void => localStorage.setItem(KEY, device);

export const forgetDevice = (): void => localStorage.removeItem(KEY);
