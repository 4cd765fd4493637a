// Forms in which something can be hidden, undone: whatever is searched for is searched for in each.

/** Some bytes and how they were obtained. */
export interface View {
  readonly name: string;
  readonly bytes: Buffer;
}

type Undo = (bytes: Buffer) => readonly View[];

/** Encodings of encodings are undone too, so deep. */
const DEPTH = 2;
/** Shorter runs are words of the protocol and of HTTP. */
const RUN = 12;

/** The bytes themselves, and every way of decoding them. */
export function views(bytes: Buffer, depth = DEPTH): View[] {
  const self = { name: '', bytes };
  if (depth === 0) return [self];
  const undone = UNDOINGS.flatMap((undo) => undo(bytes)).filter((view) => view.bytes.length > 0 && !view.bytes.equals(bytes));
  const deeper = undone.flatMap((view) =>
    views(view.bytes, depth - 1).map((next) => ({ name: next.name ? `${view.name}, ${next.name}` : view.name, bytes: next.bytes })),
  );
  return [self, ...deeper];
}

/** `%41`, `\u0041`, `\x41` and `&#65;`. */
const unescaped: Undo = (bytes) => {
  const text = bytes.toString('latin1');
  const character = (code: number): string => (code < 256 ? String.fromCharCode(code) : '?');
  const plain = text
    .replace(/(?:%|\\x)([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})/g, (_, short?: string, long?: string) => character(Number.parseInt(short ?? long ?? '', 16)))
    .replace(/&#(\d{1,7});/g, (_, code: string) => character(Number(code)));
  return plain === text ? [] : [{ name: 'unescaped', bytes: Buffer.from(plain, 'latin1') }];
};

/** UTF-16 and UTF-32 of plain letters, in either byte order. */
const withoutZeros: Undo = (bytes) =>
  bytes.includes(0) ? [{ name: 'without zero bytes', bytes: bytes.filter((byte) => byte !== 0) as Buffer<ArrayBuffer> }] : [];

/** Both alphabets; what stands before a run may belong to it, so each phase is tried. */
const fromBase64: Undo = (bytes) => {
  const runs = runsOf(bytes, /[A-Za-z0-9+/_-]+/g);
  return [0, 1, 2, 3].map((phase) => ({ name: `base64 at ${phase}`, bytes: Buffer.concat(runs.map((run) => Buffer.from(run.slice(phase), 'base64'))) }));
};

const fromHex: Undo = (bytes) => {
  const runs = runsOf(bytes, /[0-9a-fA-F]+/g);
  return [0, 1].map((phase) => ({ name: `hex at ${phase}`, bytes: Buffer.concat(runs.map((run) => Buffer.from(run.slice(phase), 'hex'))) }));
};

/** Numbers written out, with anything between them: as the 32-bit words and as the bytes that they may be. */
const fromNumbers: Undo = (bytes) => {
  const numbers = (bytes.toString('latin1').match(/\d+/g) ?? []).map(Number);
  if (numbers.length < 4) return [];
  const words = Buffer.alloc(4 * numbers.length);
  numbers.forEach((number, i) => words.writeUInt32LE(number % 2 ** 32, 4 * i));
  return [
    { name: 'numbers as words', bytes: words },
    { name: 'numbers as bytes', bytes: Buffer.from(numbers.filter((number) => number < 256)) },
  ];
};

const UNDOINGS: readonly Undo[] = [unescaped, withoutZeros, fromBase64, fromHex, fromNumbers];

const runsOf = (bytes: Buffer, pattern: RegExp): string[] =>
  (bytes.toString('latin1').match(pattern) ?? []).filter((run) => run.length >= RUN);
