import type { DataFile } from '../protocol';

export async function readFile(file: File): Promise<DataFile> {
  return { name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) };
}

/** Hands bytes to the user as a file; nothing leaves the machine. */
export function download(name: string, bytes: Uint8Array): void {
  const url = URL.createObjectURL(new Blob([new Uint8Array(bytes)], { type: 'application/octet-stream' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), REVOKE_MS);
}

/** By then the browser has begun to read the file. */
const REVOKE_MS = 60_000;
