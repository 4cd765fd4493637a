import { createHash } from 'node:crypto';

import { expect, test } from '@playwright/test';

import { type Capture, understand } from '../capture/capture';
import { type Allowed, type Kind, promptsAskedFor, violations } from '../privacy/allowlist';
import { Canaries } from '../privacy/canaries';
import { crlf, ok, recording } from './support';

const WORD = 'Zorvaquilen';
const TARGET = [300, 7, 49151, 812, 20000, 5];
const WEIGHTS = Buffer.from(Float32Array.from({ length: 64 }, (_, i) => Math.sin(i * 1.7) / 3).buffer);
const secrets = { words: [WORD], targets: [TARGET], prompts: [[1, 2, 3, 4, 5, 300, 7, 49151, 812]], weights: WEIGHTS };
const canaries = new Canaries(secrets);
const finds = (bytes: Buffer | string): string[] => canaries.find([{ where: 'here', bytes: Buffer.from(bytes) }]);

const utf16 = (text: string): Buffer => Buffer.from(text, 'utf16le');
const ids = TARGET.slice(1);
const words = (size: 2 | 4, numbers: readonly number[]): Buffer =>
  Buffer.concat(numbers.map((number) => {
    const bytes = Buffer.alloc(size);
    bytes.writeUIntLE(number, 0, size);
    return bytes;
  }));
const varints = (numbers: readonly number[]): Buffer =>
  Buffer.from(numbers.flatMap((n) => (n < 128 ? [n] : n < 16384 ? [n % 128 | 128, n >> 7] : [n % 128 | 128, (n >> 7) % 128 | 128, n >> 14])));

const LEAKS: readonly (readonly [form: string, bytes: Buffer | string])[] = [
  ['a word', `GET /?q=${WORD} HTTP/1.1`],
  ['a word in other case', WORD.toUpperCase()],
  ['a word in percent form', [...Buffer.from(WORD)].map((byte) => `%${byte.toString(16)}`).join('')],
  ['a word in JSON escapes', [...Buffer.from(WORD)].map((byte) => `\\u00${byte.toString(16)}`).join('')],
  ['a word in little-endian UTF-16', utf16(`x ${WORD}`)],
  ['a word in big-endian UTF-16', utf16(WORD).swap16()],
  ['a word in hex', Buffer.from(WORD).toString('hex')],
  ['a word as character codes', JSON.stringify([...Buffer.from(WORD)])],
  ...[0, 1, 2].flatMap((shift) => (['base64', 'base64url'] as const).map((alphabet) => {
    const bytes = Buffer.from('\u00bf'.repeat(shift) + WORD.toLowerCase() + '\u00bf?>', 'latin1');
    return [`a word in ${alphabet}, shifted by ${shift}`, `/v1/x/${bytes.toString(alphabet)}`] as const;
  })),
  ['a word in UTF-16 in base64', utf16(WORD).toString('base64')],
  ['a word in base64 in percent form', encodeURIComponent(Buffer.from(`${WORD}??`).toString('base64'))],
  ['ids in JSON', JSON.stringify({ ids })],
  ['ids in JSON with spaces', ids.join(', ')],
  ['ids in JSON over several lines', ids.join(',\n  ')],
  ['ids in 16 bits', words(2, ids)],
  ['ids in 32 bits', Buffer.concat([Buffer.from('x'), words(4, ids)])],
  ['ids as varints', varints(ids)],
  ['ids in 32 bits in base64', words(4, ids).toString('base64')],
  ['weights', Buffer.concat([Buffer.from('abc'), WEIGHTS.subarray(40, 56)])],
  ['weights in base64', WEIGHTS.subarray(16).toString('base64')],
  ['weights as numbers of bytes', JSON.stringify([...WEIGHTS])],
];
for (const [form, bytes] of LEAKS) {
  test(`the canaries find ${form}`, () => {
    expect(finds(bytes).length).toBeGreaterThan(0);
  });
}

const HARMLESS: readonly (readonly [what: string, bytes: Buffer | string])[] = [
  ['a prompt that shares ids with a target', JSON.stringify(secrets.prompts)],
  ['three of a target’s ids', JSON.stringify(TARGET.slice(-3))],
  ['twelve bytes of weights', WEIGHTS.subarray(4, 16)],
  ['zeros', Buffer.alloc(4096)],
  ['a part of a word', WORD.slice(0, -1)],
];
for (const [what, bytes] of HARMLESS) {
  test(`the canaries let pass ${what}`, () => {
    expect(finds(bytes)).toEqual([]);
  });
}

const MODEL = 'f'.repeat(64);
const allowed: Allowed = {
  kind: 'steps',
  host: '127.0.0.1:1',
  origin: 'http://127.0.0.1:2',
  key: undefined,
  model: MODEL,
  prompts: [{ tokens: [1, 2, 3], steps: [16] }, { tokens: [4, 5], steps: [32] }],
};
const asked = (...prompts: object[]): string => JSON.stringify({ kind: 'steps', prompts });
const askedOfPrompts = (steps: number, kind: Kind = 'prompt'): Capture => post(JSON.stringify({ kind, prompts: [{ tokens: [1, 2, 3], steps }] }));
const P1 = { tokens: [1, 2, 3], steps: 16 };

function post(body: string, headers: string[] = []): Capture {
  const key = createHash('sha256').update(`${MODEL}\n${body}`).digest('hex').slice(0, 32);
  const fixed = ['Host: 127.0.0.1:1', 'Origin: http://127.0.0.1:2', 'Content-Type: application/json', `Content-Length: ${body.length}`];
  const own = headers.some((line) => line.startsWith('Idempotency-Key')) ? [] : [`Idempotency-Key: ${key}`];
  return understand([recording(crlf('POST /v1/memories HTTP/1.1', ...fixed, ...own, ...headers) + body, ok('{}'))], 'service');
}

function get(target: string, ...headers: string[]): Capture {
  return understand([recording(crlf(`GET ${target} HTTP/1.1`, 'Host: 127.0.0.1:1', ...headers), ok('{}'))], 'service');
}

test('the calls of the design pass', () => {
  const memory = `/v1/memories/${'0a'.repeat(16)}`;
  const calls = ['/v1/model', '/v1/tokenizer.json', '/v1/head', '/v1/head/int8', memory, `${memory}/events`, `${memory}/shards/12`];
  for (const call of calls) expect(violations(get(call, 'Range: bytes=100-'), allowed)).toEqual([]);
  const created = post(asked(P1, { tokens: [4, 5], steps: 32 }));
  expect(violations(created, allowed)).toEqual([]);
  expect([...promptsAskedFor(created)]).toEqual(['[1,2,3]', '[4,5]']);
});

for (const kind of ['prompt', 'prompt-all'] as const) {
  test(`contexts of the prompt tell no budget: ${kind}`, () => {
    expect(violations(askedOfPrompts(0, kind), { ...allowed, kind })).toEqual([]);
    for (const steps of [1, 16]) expect(violations(askedOfPrompts(steps, kind), { ...allowed, kind })).toHaveLength(1);
    expect(violations(post(asked(P1)), { ...allowed, kind })).toEqual([expect.stringContaining('a memory of steps')]);
  });
}

const REFUSED: readonly (readonly [what: string, capture: Capture])[] = [
  ['a query', get('/v1/model?x=1')],
  ['another path', get('/v1/models')],
  ['a form of the head that there is not', get('/v1/head/secret')],
  ['metrics, which are the owner’s', get('/metrics')],
  ['a shard with a name', get(`/v1/memories/${'0'.repeat(32)}/shards/secret`)],
  ['a memory with a chosen name', get('/v1/memories/secret')],
  ['generation before the end of Train', get('/v1/generate')],
  ['an unknown header', get('/v1/model', 'X-Note: hello')],
  ['a known header with free text', get('/v1/model', 'Accept: secret')],
  ['a language that is none', get('/v1/model', 'Accept-Language: zorvaquil')],
  ['a body where none belongs', understand([recording(crlf('GET /v1/model HTTP/1.1', 'Content-Length: 1') + 'x', ok('{}'))], 'service')],
  ['a prompt that is no input', post(asked({ tokens: [9, 9], steps: 16 }))],
  ['a kind of memory that was not chosen', askedOfPrompts(0)],
  ['another kind of memory that was not chosen', askedOfPrompts(0, 'prompt-all')],
  ['a budget of nothing', post(asked({ tokens: [1, 2, 3], steps: 0 }))],
  ['a budget that is not bucketed', post(asked({ tokens: [1, 2, 3], steps: 17 }))],
  ['a budget of another bucket', post(asked({ tokens: [1, 2, 3], steps: 48 }))],
  ['a field too many in a prompt', post(asked({ ...P1, target: [4] }))],
  ['a field too many in the body', post(JSON.stringify({ kind: 'steps', prompts: [P1], ids: [4] }))],
  ['a body of another form', post(`${asked(P1)} `)],
  ['a doubled key', post('{"kind":"steps","kind":"steps","prompts":[]}')],
  ['a chosen idempotency key', post(asked(P1), [`Idempotency-Key: ${'0'.repeat(32)}`])],
  ['bytes that are no HTTP', understand([recording('hello', '')], 'service')],
];
for (const [what, capture] of REFUSED) {
  test(`the allow-list refuses ${what}`, () => {
    expect(violations(capture, allowed).length).toBeGreaterThan(0);
  });
}
