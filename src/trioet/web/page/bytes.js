// Bytes: joined, and collected as they arrive.

export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export const utf8 = (text) => new TextEncoder().encode(text);

export const text = (data) => new TextDecoder().decode(data);

/** What came in and was not taken yet; grows by doubling, so that no byte is moved often. */
export class Incoming {
  #held = new Uint8Array(0);
  #start = 0;
  #end = 0;

  get length() {
    return this.#end - this.#start;
  }

  push(data) {
    if (this.#end + data.length > this.#held.length) {
      const size = this.length;
      const room = new Uint8Array(Math.max(2 * size, size + data.length));
      room.set(this.#held.subarray(this.#start, this.#end));
      [this.#held, this.#start, this.#end] = [room, 0, size];
    }
    this.#held.set(data, this.#end);
    this.#end += data.length;
  }

  /** The first bytes, as they lie here: good until the next push(). */
  peek(size = this.length) {
    return this.#held.subarray(this.#start, this.#start + Math.min(size, this.length));
  }

  drop(size) {
    this.#start += size;
  }

  take(size) {
    const taken = this.peek(size).slice();
    this.drop(size);
    return taken;
  }
}
