// How good the connection is, and since when there is none: for the eye, and for a screen reader.

import { $ } from "./dom.js";

const GOOD_MS = 150;
const FAIR_MS = 500;

const TOLD_AFTER_MS = 1_500; // without an answer for this long, the user is told

export class Quality {
  #button = $("#quality");
  #notice;
  #terminal = $("#terminal");
  #session = null;
  #since = null; // when the trouble began
  #timer = null;

  /** `anew()` begins another session, where the server denies this one. */
  constructor(notice, anew) {
    this.#notice = notice;
    this.anew = anew;
    this.#button.addEventListener("click", () => this.#session?.wake());
  }

  watch(session) {
    this.#session = session;
    this.#since = Date.now();
    this.look();
  }

  /** The session is over: there is nothing to watch. */
  stop() {
    this.#session = null;
    clearTimeout(this.#timer);
    this.#terminal.classList.remove("away");
    this.#say("off", "", "no connection");
  }

  /** Something may have changed. */
  look() {
    const session = this.#session;
    if (session === null) return;
    clearTimeout(this.#timer);
    const trouble = session.troubled;
    this.#since = trouble ? (this.#since ?? Date.now()) : null;
    if (trouble) {
      this.#say("bad", "", "no connection");
      const told = this.#since + TOLD_AFTER_MS - Date.now();
      if (told <= 0) this.#tell(session);
      this.#timer = setTimeout(() => this.look(), told > 0 ? told : 1000);
      return;
    }
    if (this.#terminal.classList.contains("away")) {
      this.#terminal.classList.remove("away");
      this.#notice.hide();
    }
    const { roundTrip } = session.link;
    const kind = roundTrip < GOOD_MS ? "good" : roundTrip < FAIR_MS ? "fair" : "bad";
    this.#say(kind, roundTrip ? `${roundTrip} ms` : "", `connected; round trip ${roundTrip} ms`);
  }

  #tell(session) {
    this.#terminal.classList.add("away");
    const { reason, nextTry, denied } = session.reconnector;
    const silence = Math.round((Date.now() - session.lastHeard) / 1000);
    if (denied) {
      this.#notice.show(`The server does not know this session: it may have been restarted. Still asking.`, {
        kind: "bad",
        action: ["Start a new one", this.anew],
      });
      return;
    }
    const wait = nextTry === null ? 0 : Math.ceil((nextTry - Date.now()) / 1000);
    const next = wait > 1 ? `next try in ${wait} s` : "trying";
    this.#notice.show(
      `No reply for ${silence} s (${reason}); ${next}. What you type is kept.`,
      { action: ["Try now", () => session.wake()] },
    );
  }

  #say(kind, text, title) {
    this.#button.dataset.is = kind;
    this.#button.title = title;
    this.#button.setAttribute("aria-label", title);
    $("span", this.#button).textContent = text;
  }
}
