// The sample data that comes with the site.

import type { DataFile } from './protocol';

/** `samples/formality.json`. */
interface Manifest {
  readonly name: string;
  readonly title: string;
  readonly template: string;
  readonly input_column: string;
  readonly target_column: string;
  readonly files: { readonly train: string; readonly dev: string; readonly test: string };
}

export interface Sample {
  readonly name: string;
  readonly template: string;
  readonly inputColumn: string;
  readonly targetColumn: string;
  readonly train: DataFile;
  readonly validation: DataFile;
  readonly test: DataFile;
}

async function get(path: string): Promise<Response> {
  const response = await fetch(new URL(`samples/${path}`, document.baseURI));
  if (!response.ok) throw new Error(`samples/${path} answered ${response.status}.`);
  return response;
}

async function getFile(name: string): Promise<DataFile> {
  return { name, bytes: new Uint8Array(await (await get(name)).arrayBuffer()) };
}

export async function loadSample(): Promise<Sample> {
  const manifest = (await (await get('formality.json')).json()) as Manifest;
  const { files } = manifest;
  const [train, validation, test] = await Promise.all([getFile(files.train), getFile(files.dev), getFile(files.test)]);
  return {
    name: manifest.name,
    template: manifest.template,
    inputColumn: manifest.input_column,
    targetColumn: manifest.target_column,
    train,
    validation,
    test,
  };
}
