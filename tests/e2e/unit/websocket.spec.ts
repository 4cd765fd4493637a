import { expect, test } from '@playwright/test';

import { parseMessages } from '../capture/websocket';
import { MASK, deflated, frame } from './support';

const TAB = { masked: true, extensions: '' };
const text = (messages: ReturnType<typeof parseMessages>): string[] => messages.map(({ payload }) => payload.toString());

test('masked frames of every length are unmasked', () => {
  const lengths = [0, 1, 125, 126, 65535, 65536];
  const sent = lengths.map((length) => frame({ opcode: 2, payload: Buffer.alloc(length, 'x'), mask: MASK }));
  const messages = parseMessages(Buffer.concat(sent), TAB);
  expect(messages.map(({ kind, payload }) => [kind, payload.length])).toEqual(lengths.map((length) => ['binary', length]));
  expect(messages.every(({ payload }) => payload.every((byte) => byte === 0x78))).toBe(true);
});

test('fragments become one message, with a ping between them', () => {
  const sent = [
    frame({ opcode: 1, payload: Buffer.from('se'), last: false, mask: MASK }),
    frame({ opcode: 9, payload: Buffer.from('ping'), mask: MASK }),
    frame({ opcode: 0, payload: Buffer.from('cr'), last: false, mask: MASK }),
    frame({ opcode: 0, payload: Buffer.from('et'), mask: MASK }),
  ];
  expect(parseMessages(Buffer.concat(sent), TAB).map(({ kind, payload }) => `${kind} ${payload.toString()}`)).toEqual(['ping ping', 'text secret']);
});

test('compressed messages may refer to earlier ones', () => {
  const first = 'the quick brown fox jumps over the lazy dog';
  const sent = [
    frame({ opcode: 1, payload: deflated(first), compressed: true, mask: MASK }),
    frame({ opcode: 1, payload: deflated(`again: ${first}`, Buffer.from(first)), compressed: true, mask: MASK }),
    frame({ opcode: 1, payload: Buffer.from('plain'), mask: MASK }),
  ];
  const agreed = { masked: true, extensions: 'permessage-deflate' };
  expect(text(parseMessages(Buffer.concat(sent), agreed))).toEqual([first, `again: ${first}`, 'plain']);
});

test('a compressed fragmented message is put together before it is decompressed', () => {
  const whole = deflated('secret '.repeat(20));
  const sent = [
    frame({ opcode: 1, payload: whole.subarray(0, 3), last: false, compressed: true, mask: MASK }),
    frame({ opcode: 0, payload: whole.subarray(3), mask: MASK }),
  ];
  const agreed = { masked: true, extensions: 'permessage-deflate; client_no_context_takeover' };
  expect(text(parseMessages(Buffer.concat(sent), agreed))).toEqual(['secret '.repeat(20)]);
});

const BAD: readonly (readonly [what: string, sent: Buffer])[] = [
  ['an unmasked frame of the tab', frame({ opcode: 1, payload: Buffer.from('x') })],
  ['a compressed frame that was not agreed on', frame({ opcode: 1, payload: deflated('x'), compressed: true, mask: MASK })],
  ['a fragment without a beginning', frame({ opcode: 0, payload: Buffer.from('x'), mask: MASK })],
  ['a message without an end', frame({ opcode: 1, payload: Buffer.from('x'), last: false, mask: MASK })],
  ['an unknown opcode', frame({ opcode: 3, payload: Buffer.from('x'), mask: MASK })],
  ['a frame cut short', frame({ opcode: 1, payload: Buffer.from('secret'), mask: MASK }).subarray(0, -1)],
];
for (const [what, sent] of BAD) {
  test(`${what} is an error`, () => {
    expect(() => parseMessages(sent, TAB)).toThrow(/./);
  });
}

test('a frame of the service may be cut when the tab leaves', () => {
  const received = Buffer.concat([frame({ opcode: 2, payload: Buffer.from('one') }), frame({ opcode: 2, payload: Buffer.from('two') })]);
  expect(text(parseMessages(received.subarray(0, -1), { masked: false, extensions: '', mayBeCut: true }))).toEqual(['one']);
});
