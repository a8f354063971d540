// One timer that may be set again and again.

export class Alarm {
  #ring;
  #timer = null;
  #due = Infinity;

  constructor(ring) {
    this.#ring = ring;
  }

  /** Ring at that time (of Date.now()), and at no other; Infinity: not at all. */
  set(due) {
    if (due === this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    if (due === Infinity) return;
    this.#timer = setTimeout(() => {
      this.#due = Infinity;
      this.#ring();
    }, Math.max(0, due - Date.now()));
  }
}
