// BackedWriter and BackedReader: what makes a session outlive its connections.
//
// Each direction counts its packets from 1. The writer keeps every sealed packet until the peer
// is known to have it; the reader opens each exactly once (Eternal Terminal specification 1.7).

import { concat } from "../bytes.js";
import { PeerError } from "./errors.js";

const SEALED = 1; // the flag byte

const MAX_PACKETS = 2 ** 31 - 1 - 65536; // counts travel as int32; some room for last words

export class BackedWriter {
  #box;
  #kept = new Map(); // ordinal -> body
  #oldest = 1;

  constructor(box) {
    this.#box = box;
    this.sent = 0;
    this.acknowledged = 0;
    this.unacknowledgedBytes = 0;
  }

  get usedUp() {
    return this.sent >= MAX_PACKETS;
  }

  write(type, payload) {
    const body = concat([SEALED, type], this.#box.seal(this.sent + 1, payload));
    this.sent += 1;
    this.#kept.set(this.sent, body);
    this.unacknowledgedBytes += body.length;
  }

  body(ordinal) {
    const body = this.#kept.get(ordinal);
    if (body === undefined) throw new PeerError(`packet ${ordinal} is no longer kept`);
    return body;
  }

  /** Check what a peer says it has, before anything is replayed to it. */
  checkReceived(count) {
    if (count > this.sent) throw new PeerError(`the peer claims ${count} packets of ${this.sent}`);
    if (count < this.acknowledged) throw new PeerError(`the peer claims ${count} packets; it has more`);
  }

  /** The peer has proven to have the first `count` packets. */
  acknowledge(count) {
    if (count > this.sent) throw new PeerError(`the peer acknowledged ${count} of ${this.sent}`);
    for (let ordinal = this.acknowledged + 1; ordinal <= count; ordinal++) {
      this.unacknowledgedBytes -= this.#kept.get(ordinal).length;
    }
    this.acknowledged = Math.max(this.acknowledged, count);
  }

  /** Drop the packets up to `count`: nobody needs them again. */
  forget(count) {
    for (; this.#oldest <= count; this.#oldest++) this.#kept.delete(this.#oldest);
  }

  /** What a page must keep to go on after it was loaded again. */
  save() {
    const bodies = [];
    for (let ordinal = this.acknowledged + 1; ordinal <= this.sent; ordinal++) {
      bodies.push(this.#kept.get(ordinal));
    }
    return { acknowledged: this.acknowledged, bodies };
  }

  restore({ acknowledged, bodies }) {
    this.acknowledged = this.sent = acknowledged;
    this.#oldest = acknowledged + 1;
    for (const body of bodies) {
      this.sent += 1;
      this.#kept.set(this.sent, body);
      this.unacknowledgedBytes += body.length;
    }
  }
}

export class BackedReader {
  #box;

  constructor(box) {
    this.#box = box;
    this.received = 0;
  }

  /**
   * Open packet `ordinal`; null when it was received before. Counting it is a second step, so
   * that one that opened but makes no sense (its type travels unsealed) can come again.
   */
  open(ordinal, body) {
    if (body[0] !== SEALED) throw new PeerError(`packet with flag ${body[0]}`);
    const payload = this.#box.open(ordinal, body.subarray(2));
    return ordinal > this.received ? { type: body[1], payload } : null;
  }

  count() {
    this.received += 1;
  }
}
