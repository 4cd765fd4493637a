// Exported adapters: safetensors files, read and altered.

interface Header {
  readonly __metadata__?: Readonly<Record<string, string>>;
}

function split(file: Uint8Array): { header: string; data: Buffer } {
  const bytes = Buffer.from(file);
  const end = 8 + Number(bytes.readBigUInt64LE(0));
  return { header: bytes.subarray(8, end).toString('utf8'), data: bytes.subarray(end) };
}

/** All weights. */
export const weightsOf = (file: Uint8Array): Buffer => split(file).data;

/** The same adapter, made for a head of another hash. */
export function forOtherHead(file: Uint8Array, head: string): Buffer {
  const { header, data } = split(file);
  const metadata = JSON.stringify((JSON.parse(header) as Header).__metadata__);
  if (!metadata.includes(head)) throw new Error('the adapter does not name its head');
  // A hash for a hash: no length changes.
  const other = header.replaceAll(head, 'ab'.repeat(32));
  const bytes = Buffer.from(other);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([length, bytes, data]);
}
