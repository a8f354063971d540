// Notice a silent peer by what comes in: our own typing proves nothing. The rules and numbers are
// those of src/trioet/link/liveness.py, but for the pauses of an idle line: proxies in front of a
// web server mostly give up after a minute.

import { Alarm } from "./alarm.js";

const BUSY_SILENCE_MS = 5_000;
const IDLE_SILENCE_MS = 30_000;
const BUSY_MS = 60_000; // for so long after the last use the line counts as in use
const ANSWER_PATIENCE_MS = 500; // from what was sent to a probe, and from that to suspicion
const ROUND_TRIPS = 3; // nothing is late that took no longer than so many
const DEAD_AFTER_MS = 10_000;
const LATE_MS = 1_000; // a timer this late: we were stopped, and the answer may lie unread

export class Liveness {
  #link;
  #onSuspicion;
  #alarm = new Alarm(() => this.look());
  #attachedAt = null;
  #usedAt = Date.now();
  #unansweredSince = null;
  #probedAt = null;
  #suspectAt = Infinity;
  #due = Infinity;

  constructor(link, onSuspicion) {
    this.#link = link;
    this.#onSuspicion = onSuspicion;
  }

  /** When the peer was last heard, or its line attached. */
  get silentSince() {
    return Math.max(this.#link.lastHeard, this.#attachedAt ?? -Infinity);
  }

  /** Something moved. */
  used() {
    this.#usedAt = Date.now();
    this.look();
  }

  /** Something was sent that the peer will probably answer. */
  sent() {
    if (this.#unansweredSince === null || this.#link.lastHeard > this.#unansweredSince) {
      this.#unansweredSince = Date.now();
    }
    this.used();
  }

  /** Ask for a sign of life now: the network changed, or we slept. */
  probe() {
    if (!this.#link.lines.length) return;
    this.#probe();
    this.look();
  }

  /** Something changed: do what is due, and see when to look again. */
  look() {
    this.#due = this.#step();
    this.#alarm.set(this.#due);
  }

  stop() {
    this.#alarm.set(Infinity);
  }

  #step() {
    const now = Date.now();
    if (!this.#link.lines.length) {
      this.#attachedAt = this.#unansweredSince = this.#probedAt = null;
      return Infinity;
    }
    this.#attachedAt ??= now;
    if (now > this.#due + LATE_MS) this.#probedAt = null;
    const heard = this.silentSince;
    if (this.#probedAt !== null && heard >= this.#probedAt) {
      [this.#probedAt, this.#suspectAt] = [null, Infinity];
    }
    if (this.#unansweredSince !== null && heard >= this.#unansweredSince) {
      this.#unansweredSince = null;
    }
    if (this.#probedAt === null) {
      const silence = now - this.#usedAt < BUSY_MS ? BUSY_SILENCE_MS : IDLE_SILENCE_MS;
      const asked = (this.#unansweredSince ?? Infinity) + ANSWER_PATIENCE_MS;
      const probeAt = Math.min(heard + silence, asked);
      if (now < probeAt) return probeAt;
      this.#probe();
    }
    const deadAt = Math.max(heard, this.#probedAt - DEAD_AFTER_MS / 2) + DEAD_AFTER_MS;
    if (now >= deadAt) {
      this.#link.lines.find((line) => line.proven)?.close();
      return this.#link.lines.length ? now + ANSWER_PATIENCE_MS : Infinity;
    }
    if (this.#suspectAt <= now) {
      this.#suspectAt = Infinity;
      this.#onSuspicion();
    }
    return Math.min(this.#suspectAt, deadAt);
  }

  #probe() {
    this.#probedAt = Date.now();
    const patience = Math.max(ANSWER_PATIENCE_MS, ROUND_TRIPS * this.#link.roundTrip);
    this.#suspectAt = this.#probedAt + patience;
    this.#link.ping();
  }
}
