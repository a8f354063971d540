// Time that passes when a test says so.

export class Clock {
  #now = 1_000_000;
  #timers = new Map();
  #last = 0;

  /** Take the place of the real one until the test is over. */
  constructor(test) {
    const real = { setTimeout, clearTimeout, now: Date.now, random: Math.random };
    globalThis.setTimeout = (ring, ms = 0) => {
      this.#timers.set(++this.#last, { due: this.#now + Math.max(ms, 1), ring });
      return this.#last;
    };
    globalThis.clearTimeout = (timer) => this.#timers.delete(timer);
    Date.now = () => this.#now;
    Math.random = () => 0.5;
    test.after(() => {
      Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout });
      Date.now = real.now;
      Math.random = real.random;
    });
  }

  /** Let so much time pass, and all that comes of it happen. */
  async pass(ms) {
    const end = this.#now + ms;
    for (;;) {
      await settled();
      const [timer, next] = [...this.#timers].reduce(
        (first, other) => (other[1].due < first[1].due ? other : first),
        [null, { due: Infinity }],
      );
      if (next.due > end) break;
      this.#now = Math.max(this.#now, next.due);
      this.#timers.delete(timer);
      next.ring();
    }
    this.#now = end;
  }
}

/** When all that is due without time is done. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));
