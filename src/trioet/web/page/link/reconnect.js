// When to try for a new line, and who may wake that early. The rules and numbers are those of
// src/trioet/link/reconnect.py; but a browser opens one WebSocket to a host at a time, so an attempt
// that hangs is given up before the next is made.

import { Alarm } from "./alarm.js";
import { PeerError, Refused } from "./errors.js";
import { Status } from "./messages.js";

const FIRST_PAUSE_MS = 50;
const PAUSE_AT_KEYBOARD_MS = 1_000;
const PAUSE_ALONE_MS = 15_000;
const AT_KEYBOARD_MS = 60_000; // a user who typed within this time is waiting
const WAKE_PAUSE_MS = 50; // between two tries, however often we are woken
const OPEN_DEADLINE_MS = 10_000;
const HANDSHAKE_DEADLINE_MS = 10_000;
const PROOF_DEADLINE_MS = 15_000;
const STALE_MS = 1_000; // an attempt this old, when the network changes, leads nowhere

const RECHECKS = 2; // a refusal counts only when it is said this often again
const DENIED_MS = 600_000; // ... for so long: it has no seal, and anyone on the way can write it
const DENIAL_GAP_MS = 60_000; // refusals further apart do not add up

const PAUSE_AFTER_CLOSE = { 1011: 1_000, 1013: 10_000 }; // docs/web-protocol.md

export class Reconnector {
  #link;
  #dial;
  #running = false;
  #attempt = null; // {line, begun, deadline}
  #trials = new Map(); // line on trial -> when it must have proven itself
  #suspect = null;
  #suspectedAt = 0;
  #typedAt = Date.now();
  #lastTry = -Infinity;
  #nextTry = Infinity;
  #refusals = 0;
  #refusedFirst = -Infinity;
  #refusedLast = -Infinity;
  #alarm = new Alarm(() => this.look());

  /**
   * `dial()` makes a WebSocket. `onUnopened()` is called after one that never opened, `onRefused(text)`
   * when the server refuses a session that never was, `onLost()` when one has been denied for long.
   */
  constructor(link, dial, { onUnopened, onRefused, onLost }) {
    this.#link = link;
    this.#dial = dial;
    this.onUnopened = onUnopened;
    this.onRefused = onRefused;
    this.onLost = onLost;
    this.reason = "connecting";
    this.denied = false; // the server says that it does not know the session
    this.tries = 0; // since the link was last attached
  }

  /** When the next attempt is made; null while one is under way or none is needed. */
  get nextTry() {
    return this.#attempt === null && this.#nextTry < Infinity ? this.#nextTry : null;
  }

  start() {
    this.#running = true;
    this.#begin();
  }

  /** True while the line in use does not answer, and there is no better one. */
  get suspects() {
    return this.#suspect !== null && !this.#satisfied();
  }

  /** Close all lines, and open no more before start(). */
  stop() {
    this.#running = false;
    this.#giveUpAttempt();
    this.#link.close();
    this.#nextTry = Infinity;
    this.#alarm.set(Infinity);
  }

  /** The line in use does not answer: find another, beside it. */
  suspect() {
    this.#suspect = this.#link.lines.at(-1) ?? null;
    this.#suspectedAt = Date.now();
    this.reason = "no reply";
    this.#begin();
  }

  typed() {
    this.#typedAt = Date.now();
    if (!this.#link.lines.length) this.wake();
  }

  /** Something makes success likely now. */
  wake() {
    this.tries = 0;
    this.#nextTry = Math.min(this.#nextTry, this.#lastTry + WAKE_PAUSE_MS);
    this.look();
  }

  /** Attempts under way may lead nowhere; new ones may succeed. */
  networkChanged() {
    if (this.#attempt && Date.now() - this.#attempt.begun > STALE_MS) this.#giveUpAttempt();
    if (!this.#satisfied()) this.wake();
  }

  /** Something changed, or is due. */
  look() {
    if (!this.#running) return;
    const now = Date.now();
    for (const [line, deadline] of this.#trials) {
      if (line.proven) this.#trials.delete(line);
      else if (now >= deadline) line.close(new PeerError("no proof came"));
    }
    if (this.#attempt && now >= this.#attempt.deadline) {
      this.reason = "connection timed out";
      this.#giveUpAttempt();
    }
    if (this.#satisfied()) {
      if (this.#link.lines.at(-1).proven) [this.tries, this.denied] = [0, false];
      this.#nextTry = Infinity;
    } else if (!this.#attempt && this.#nextTry === Infinity) {
      this.#begin();
      return;
    } else if (!this.#attempt && now >= this.#nextTry) {
      this.#try(now);
    }
    this.#alarm.set(
      Math.min(
        this.#attempt ? this.#attempt.deadline : this.#nextTry,
        ...this.#trials.values(),
      ),
    );
  }

  #begin() {
    this.tries = 0;
    this.#nextTry = Math.max(Date.now(), this.#lastTry + WAKE_PAUSE_MS);
    this.look();
  }

  #satisfied() {
    const { lines, lastHeard } = this.#link;
    if (!lines.includes(this.#suspect) || lastHeard > this.#suspectedAt) this.#suspect = null;
    return lines.length > 0 && lines.at(-1) !== this.#suspect;
  }

  #giveUpAttempt() {
    const attempt = this.#attempt;
    this.#attempt = null;
    attempt?.line.close();
  }

  #try(now) {
    this.tries += 1;
    this.#lastTry = now;
    this.#nextTry = Infinity;
    const line = this.#link.open(this.#dial(), (code, error) => this.#ended(line, code, error));
    const attempt = { line, begun: now, deadline: now + OPEN_DEADLINE_MS };
    const { opened } = line.on;
    line.on.opened = () => {
      attempt.deadline = Date.now() + HANDSHAKE_DEADLINE_MS;
      opened();
      this.look();
    };
    this.#attempt = attempt;
  }

  /** The link has lines that it had not, or has not those that it had. */
  linesChanged() {
    const line = this.#attempt?.line;
    if (line && this.#link.lines.includes(line)) {
      this.#attempt = null;
      this.#trials.set(line, Date.now() + PROOF_DEADLINE_MS);
    }
    this.look();
  }

  #pause(now) {
    const longest = now - this.#typedAt < AT_KEYBOARD_MS ? PAUSE_AT_KEYBOARD_MS : PAUSE_ALONE_MS;
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(this.tries - 1, 20), longest);
    return pause * (0.75 + Math.random() / 2);
  }

  #ended(line, code, error) {
    this.#trials.delete(line);
    const now = Date.now();
    const wasAttempt = this.#attempt?.line === line;
    if (wasAttempt) this.#attempt = null;
    if (error instanceof Refused) {
      if (this.#refused(error, now)) return;
    } else if (error) {
      this.reason = error.message;
    } else if (code) {
      this.reason = line.opened ? "the connection was lost" : "the server does not answer";
    }
    if (!this.#running) return;
    if (!this.#satisfied() && !this.#attempt) {
      const pause = line.proven ? 0 : Math.max(this.#pause(now), PAUSE_AFTER_CLOSE[code] ?? 0);
      this.#nextTry = Math.max(now, this.#lastTry + WAKE_PAUSE_MS, now + pause);
    }
    if (wasAttempt && !line.opened) this.onUnopened();
    this.look();
  }

  /** The server says no, without a seal. True if that is the end. */
  #refused(refusal, now) {
    if (!this.#link.established) {
      this.onRefused(refusal.message);
      return true;
    }
    this.denied = refusal.status === Status.INVALID_KEY;
    this.reason = this.denied
      ? "the server does not know the session"
      : "the server speaks another version of the protocol";
    const heard = this.#link.lines.length > 0 || this.#link.lastHeard > this.#refusedFirst;
    if (heard || now - this.#refusedLast > DENIAL_GAP_MS) this.#refusals = 0;
    this.#refusedLast = now;
    if (this.#refusals === 0) this.#refusedFirst = now;
    if (this.#link.lines.length) return false;
    this.#refusals += 1;
    if (this.#refusals <= RECHECKS || now - this.#refusedFirst < DENIED_MS) return false;
    this.onLost();
    return true;
  }
}
