// Tasks that are meant to fail.

import { PageFailure } from '../page';

/** What the page says when a task fails; an error when it does not fail. */
export async function failureOf(task: Promise<unknown>): Promise<PageFailure> {
  try {
    await task;
  } catch (error) {
    if (error instanceof PageFailure) return error;
    throw error;
  }
  throw new Error('it should have failed');
}
