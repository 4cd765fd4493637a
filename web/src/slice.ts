// A worker that holds some rows of each head and answers for them; `slices.ts` starts it.

import init, { Slice } from './pkg/pema_web';
import type { SliceMessage, SliceReply } from './slices';

const slices = new Map<number, Slice>();

async function reply(message: SliceMessage): Promise<SliceReply | undefined> {
  const { head } = message;
  if ('weights' in message) {
    await init();
    const { weights, d, scale, softcap } = message;
    slices.set(head, 'scales' in weights ? Slice.int8(weights.rows, weights.scales, d, scale, softcap) : new Slice(weights.rows, d, scale, softcap));
    return {};
  }
  const slice = slices.get(head);
  if ('h' in message) {
    if (!slice) throw new Error('it was asked before it was given its rows');
    return { answer: slice.answer(message.h, message.want) };
  }
  slice?.free();
  slices.delete(head);
  return undefined;
}

// Asked again only once it has answered.
self.onmessage = async ({ data }: MessageEvent<SliceMessage>) => {
  try {
    const answer = await reply(data);
    if (answer) self.postMessage(answer, { transfer: answer.answer ? [answer.answer.buffer] : [] });
  } catch (error) {
    self.postMessage({ error: String(error) } satisfies SliceReply);
  }
};
