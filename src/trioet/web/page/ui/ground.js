// Where in a program's output no escape sequence and no character is under way.
//
// A saved screen knows nothing of a sequence of which the end has not come. So the bytes since its
// beginning are kept beside the screen, and are written again after it.

import { concat } from "../bytes.js";

const MOST = 1024 * 1024; // of an unfinished sequence; a longer one is given up

const [GROUND, ESCAPE, INTERMEDIATE, CSI, OSC, STRING] = [0, 1, 2, 3, 4, 5];

const [BEL, CAN, SUB, ESC] = [0x07, 0x18, 0x1a, 0x1b];

const AFTER_ESCAPE = new Map([
  [0x5b, CSI], // [
  [0x5d, OSC], // ]
  [0x50, STRING], // P: DCS
  [0x58, STRING], // X: SOS
  [0x5e, STRING], // ^: PM
  [0x5f, STRING], // _: APC
]);

export class Ground {
  #state = GROUND;
  #continuations = 0; // bytes that a character of UTF-8 still lacks

  constructor() {
    this.tail = new Uint8Array(0); // what has begun and not ended
  }

  feed(data) {
    let begun = 0;
    for (let at = 0; at < data.length; at++) {
      if (this.#step(data[at])) begun = at + 1;
    }
    const rest = data.subarray(begun);
    this.tail = begun ? rest.slice() : concat(this.tail, rest);
    if (this.tail.length > MOST) this.tail = new Uint8Array(0);
  }

  /** Take a byte; true if nothing is under way after it. */
  #step(byte) {
    if (byte === ESC) {
      this.#continuations = 0;
      this.#state = ESCAPE;
    } else if (this.#state === GROUND) {
      if (byte >= 0xc2) this.#continuations = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : byte < 0xf5 ? 3 : 0;
      else if (byte >= 0x80 && this.#continuations) this.#continuations -= 1;
      else this.#continuations = 0;
    } else if (byte === CAN || byte === SUB) {
      this.#state = GROUND;
    } else if (this.#state === ESCAPE || this.#state === INTERMEDIATE) {
      if (byte >= 0x20 && byte < 0x30) this.#state = INTERMEDIATE;
      else if (byte >= 0x30) {
        this.#state = (this.#state === ESCAPE && AFTER_ESCAPE.get(byte)) || GROUND;
      }
    } else if (this.#state === CSI) {
      if (byte >= 0x40) this.#state = GROUND;
    } else if (this.#state === OSC && byte === BEL) {
      this.#state = GROUND;
    }
    return this.#state === GROUND && this.#continuations === 0;
  }
}
