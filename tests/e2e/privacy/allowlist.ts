// The allow-list: from Connect to the end of Train, nothing leaves a tab but these calls.

import { createHash } from 'node:crypto';

import type { Capture, Exchange } from '../capture/capture';
import { type Request, header } from '../capture/http';
import { type Origins, headerViolations } from './headers';

/** A prompt that the tab has reason to send. */
export interface ExpectedPrompt {
  readonly tokens: readonly number[];
  /** The bucketed budgets of the targets that go with it. */
  readonly steps: readonly number[];
}

/** Kinds of memory that a tab asks for. */
export type Kind = 'steps' | 'prompt' | 'prompt-all';

/** What this run may send to the service. */
export interface Allowed extends Origins {
  /** The kind that was chosen. Contexts of the prompt have no step budgets, which are 0 then. */
  readonly kind: Kind;
  readonly prompts: readonly ExpectedPrompt[];
  /** Hash of the model, from its card. */
  readonly model: string;
}

const MEMORY = '/v1/memories/[0-9a-f]{32}';
/** The design's table, less `GET /v1/generate`, which comes after Train. */
const CALLS: readonly (readonly [method: string, path: RegExp])[] = [
  ['GET', /^\/(healthz|readyz)$/],
  ['GET', /^\/v1\/(model|tokenizer\.json|head(\/int8)?)$/],
  ['POST', /^\/v1\/memories$/],
  ['GET', new RegExp(`^${MEMORY}$`)],
  ['GET', new RegExp(`^${MEMORY}/events$`)],
  ['GET', new RegExp(`^${MEMORY}/shards/\\d{1,6}$`)],
  ['DELETE', new RegExp(`^${MEMORY}$`)],
];

/** Sentences on everything that is not on the list. */
export function violations(capture: Capture, allowed: Allowed): string[] {
  return [...capture.problems, ...capture.exchanges.flatMap((exchange) => ofExchange(exchange, allowed))];
}

/** Prompts that the tab asked memories of, as JSON: a capture without them proves nothing. */
export function promptsAskedFor(capture: Capture): Set<string> {
  const bodies = capture.exchanges.filter(({ request }) => request.method === 'POST').map(({ request }) => parseMemory(request.body));
  return new Set(bodies.flatMap((body) => ('prompts' in body ? body.prompts.map(({ tokens }) => JSON.stringify(tokens)) : [])));
}

function ofExchange({ request, messages }: Exchange, allowed: Allowed): string[] {
  const { method, target } = request;
  const place = (sentence: string): string => `${method} ${target}: ${sentence}`;
  const known = CALLS.some(([verb, path]) => (method === verb || method === 'OPTIONS') && path.test(target));
  const found = headerViolations(request, allowed);
  if (!known) found.push('not a call that may be made before the end of Train');
  if (messages.length > 0) found.push(`${messages.length} messages of a stream`);
  if (method === 'POST') found.push(...ofMemory(request, allowed));
  else if (request.body.length > 0) found.push(`a body of ${request.body.length} bytes`);
  return found.map(place);
}

const isKind = (value: unknown): value is Kind => value === 'steps' || value === 'prompt' || value === 'prompt-all';

interface MemoryRequest {
  readonly kind: Kind;
  readonly prompts: readonly { readonly tokens: readonly number[]; readonly steps: number }[];
}

function ofMemory(request: Request, { kind, prompts, model }: Allowed): string[] {
  const body = parseMemory(request.body);
  if (!('prompts' in body)) return [body.problem];
  const found: string[] = body.kind === kind ? [] : [`a memory of ${body.kind} where ${kind} were chosen`];
  const expected = new Map(prompts.map((prompt) => [JSON.stringify(prompt.tokens), prompt]));
  for (const { tokens, steps } of body.prompts) {
    const prompt = expected.get(JSON.stringify(tokens));
    if (!prompt) found.push(`the prompt ${JSON.stringify(tokens)} is no input in the template`);
    else if (kind === 'steps' && !prompt.steps.includes(steps)) found.push(`a budget of ${steps} steps is not the target's, rounded up to a bucket`);
  }
  // Anything else than a function of the body could carry something.
  const digest = createHash('sha256').update(`${model}\n`).update(request.body).digest('hex').slice(0, 32);
  if (header(request.headers, 'idempotency-key') !== digest) found.push('the idempotency key does not follow from the body');
  return found;
}

/** Reads a body that has exactly the fields of the wire type, or says what is wrong. */
function parseMemory(bytes: Buffer): MemoryRequest | { readonly problem: string } {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    return { problem: 'the body is not JSON' };
  }
  // Written again, it must be the same bytes: no doubled keys, no white space, no odd numbers.
  if (JSON.stringify(value) !== bytes.toString('utf8')) return { problem: 'the body has another form than the wire type' };
  if (!hasFields(value, 'kind', 'prompts')) return { problem: 'the body has not exactly the fields kind and prompts' };
  const { kind, prompts } = value;
  if (!isKind(kind) || !Array.isArray(prompts)) return { problem: 'kind or prompts have other values than they may' };
  const fits = (prompt: unknown): prompt is MemoryRequest['prompts'][number] => isPrompt(prompt, kind);
  return prompts.every(fits) ? { kind, prompts } : { problem: 'a prompt has not exactly the fields tokens and steps, bucketed or 0' };
}

function isPrompt(value: unknown, kind: Kind): boolean {
  if (!hasFields(value, 'tokens', 'steps')) return false;
  const { tokens, steps } = value;
  const natural = (number: unknown): number is number => Number.isInteger(number) && Number(number) >= 0;
  return Array.isArray(tokens) && tokens.every(natural) && natural(steps) && (kind === 'steps' ? steps >= BUCKET && steps % BUCKET === 0 : steps === 0);
}

/** Step budgets are multiples of this. */
export const BUCKET = 16;

function hasFields<K extends string>(value: unknown, ...names: K[]): value is Record<K, unknown> {
  return typeof value === 'object' && value !== null && String(Object.keys(value)) === String(names);
}
