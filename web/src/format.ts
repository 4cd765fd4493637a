// Numbers for people.

const counts = new Intl.NumberFormat('en');

export const count = (value: number): string => counts.format(value);

export function bytes(value: number): string {
  if (value < 1000) return `${count(Math.round(value))} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let scaled = value / 1000;
  let unit = 0;
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${scaled < 10 ? scaled.toFixed(1) : scaled.toFixed(0)} ${units[unit] ?? ''}`;
}

export function duration(seconds: number): string {
  if (seconds < 1) return 'under a second';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** Four significant digits. */
export const loss = (value: number): string => (value === 0 ? '0' : value.toPrecision(4));

export const score = (value: number): string => value.toFixed(1);

/** A probability, with small ones still telling. */
export const probability = (value: number): string => (value >= 0.001 ? value.toFixed(3) : value === 0 ? '0' : value.toExponential(1));

export const shortHash = (hash: string): string => (hash.length > 12 ? `${hash.slice(0, 12)}…` : hash);

/** `one row`, `2 rows`. */
export const plural = (value: number, noun: string): string => `${count(value)} ${noun}${value === 1 ? '' : 's'}`;
