// A worker that holds some rows of the head and answers for them; `slices.ts` starts it.

import init, { Slice } from './pkg/pema_web';
import type { SliceMessage, SliceReply } from './slices';

let slice: Slice | undefined;

async function reply(message: SliceMessage): Promise<SliceReply> {
  if ('weights' in message) {
    await init();
    const { weights, d, scale, softcap } = message;
    slice = 'scales' in weights ? Slice.int8(weights.rows, weights.scales, d, scale, softcap) : new Slice(weights.rows, d, scale, softcap);
    return {};
  }
  if (!slice) throw new Error('it was asked before it was given its rows');
  return { answer: slice.answer(message.h, message.want) };
}

// Asked again only once it has answered.
self.onmessage = async ({ data }: MessageEvent<SliceMessage>) => {
  try {
    const answer = await reply(data);
    self.postMessage(answer, { transfer: answer.answer ? [answer.answer.buffer] : [] });
  } catch (error) {
    self.postMessage({ error: String(error) } satisfies SliceReply);
  }
};
