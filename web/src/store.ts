/** A value, and those who want to know when it changed. */
export class Store<S> {
  #state: S;
  #watchers = new Set<() => void>();
  #scheduled = false;

  constructor(initial: S) {
    this.#state = initial;
  }

  get state(): S {
    return this.#state;
  }

  /** Changes the state; watchers hear of it once, after all changes of this moment. */
  update(change: (state: S) => S): void {
    const next = change(this.#state);
    if (Object.is(next, this.#state)) return;
    this.#state = next;
    if (this.#scheduled) return;
    this.#scheduled = true;
    // A timer rather than an animation frame: those stop in a hidden tab, where training goes on.
    setTimeout(() => {
      this.#scheduled = false;
      for (const watcher of this.#watchers) watcher();
    }, FLUSH_MS);
  }

  /** Calls `render` now and whenever what `select` picks is another value. */
  watch<T>(select: (state: S) => T, render: (selected: T) => void): void {
    let last = select(this.#state);
    render(last);
    this.#watchers.add(() => {
      const next = select(this.#state);
      if (Object.is(next, last)) return;
      last = next;
      render(next);
    });
  }

  /** Calls `render` now and after every change. */
  watchAll(render: (state: S) => void): void {
    this.watch((state) => state, render);
  }
}

/** Changes within one frame are drawn together. */
const FLUSH_MS = 16;
