// The page's own server: a tab loads files from it and tells it nothing.

import type { Capture } from '../capture/capture';
import { headerViolations, type Origins } from './headers';

/** Sentences on requests that are more than loading a file of the site. */
export function siteViolations(capture: Capture, files: ReadonlySet<string>, page: string, origins: Origins): string[] {
  const found = capture.exchanges.flatMap(({ request, messages }) => {
    const { method, target } = request;
    const sentences = headerViolations(request, origins);
    if (method !== 'GET') sentences.push('not a GET');
    if (target !== page && !files.has(target) && target !== '/favicon.ico') sentences.push('not a file of the site');
    if (request.body.length > 0 || messages.length > 0) sentences.push('it carries something');
    return sentences.map((sentence) => `the site, ${method} ${target}: ${sentence}`);
  });
  return [...capture.problems, ...found];
}
