// A session on a terminal, over the eternal link: what src/trioet/client/app.py is at a console.

import { utf8 } from "./bytes.js";
import { PeerError } from "./link/errors.js";
import { Link } from "./link/link.js";
import { Liveness } from "./link/liveness.js";
import {
  credit, initialPayload, left, readCredit, readInitialResponse, readNotice, readSessionOver, readSize, readStderr,
  readTerminalBuffer, terminalBuffer, terminalInfo, Type,
} from "./link/messages.js";
import { Reconnector } from "./link/reconnect.js";

const FEATURES = ["acks", "over", "exec", "channels", "quiet", "size", "notice"];
const NEEDED = ["acks", "over", "channels"];

const WINDOW = 256 * 1024; // the credit that each way begins with
const TYPED_AT_ONCE = 16 * 1024; // bytes in a packet, as ET sends them
const MOST_SAVED = 256 * 1024; // of what was typed or pasted and could not be sent yet

/**
 * `screen.output(data, shown)` shows bytes and calls back when they are. `on` has changed() for
 * anything that a user may see of the link, unopened(), over(how), refused(text), lost(), noticed(text), and
 * sized(size) where the session is another's, at which we look on.
 */
export class Session {
  #screen;
  #accepted = null;
  #owed = 0; // bytes shown that the server was not told of yet
  #typing = 0; // bytes that may be typed
  #typed = [];
  #size = null;
  #ended = false;

  constructor({ id, passkey, dial, screen, on }) {
    this.#screen = screen;
    this.on = on;
    this.link = new Link({
      id,
      passkey,
      onPacket: (packet) => this.#arrived(packet),
      onChange: () => this.#linesChanged(),
      onRoom: () => this.#pump(),
    });
    this.reconnector = new Reconnector(this.link, dial, {
      onUnopened: () => on.unopened(),
      onRefused: (text) => this.#end(() => on.refused(text)),
      onLost: () => this.#end(() => on.lost()),
    });
    this.liveness = new Liveness(this.link, () => this.reconnector.suspect());
    this.heardAt = Date.now(); // before anything was heard: since when we wait
  }

  /** When the server was last heard. */
  get lastHeard() {
    return Math.max(this.heardAt, this.link.lastHeard);
  }

  /** True while there is no line that is known to work. */
  get troubled() {
    return !this.link.lines.some((line) => line.proven) || this.reconnector.suspects;
  }

  /** Bytes that were typed or pasted, and wait for room. */
  get backlog() {
    return this.#typed.reduce((size, part) => size + part.length, 0);
  }

  /** Begin a new session, on a terminal of that size. */
  begin(size) {
    this.link.send(Type.INITIAL_PAYLOAD, initialPayload(FEATURES));
    this.resize(size);
    this.reconnector.start();
  }

  /** Go on with one that was saved. */
  resume(saved) {
    this.link.restore(saved.link);
    this.#accepted = saved.accepted;
    this.#owed = saved.owed;
    this.#typing = saved.typing;
    this.#typed = saved.typed;
    this.reconnector.start();
  }

  /** What is needed to go on later; stops here. */
  save() {
    this.stop();
    let room = MOST_SAVED;
    const typed = this.#typed.filter((part) => (room -= part.length) >= 0);
    return {
      link: this.link.save(),
      accepted: this.#accepted,
      owed: this.#owed,
      typing: this.#typing,
      typed,
    };
  }

  stop() {
    this.reconnector.stop();
    this.liveness.stop();
  }

  /** The user leaves for good: end the program too, if it can be told. There is no answer. */
  leave() {
    this.link.send(Type.SESSION_OVER, left());
    this.#over({ status: null, signal: null, reason: "you have ended it" });
  }

  type(data) {
    if (this.#ended) return;
    for (let at = 0; at < data.length; at += TYPED_AT_ONCE) {
      this.#typed.push(data.subarray(at, at + TYPED_AT_ONCE));
    }
    this.#pump();
    this.reconnector.typed();
  }

  typeText(text) {
    this.type(utf8(text));
  }

  resize(size) {
    if (JSON.stringify(size) === JSON.stringify(this.#size)) return;
    this.#size = size;
    this.link.send(Type.TERMINAL_INFO, terminalInfo(size));
  }

  /** Have the program draw its screen anew, which it does when its size changes. */
  redraw() {
    const { rows, columns } = this.#size;
    this.link.send(Type.TERMINAL_INFO, terminalInfo({ rows: Math.max(1, rows - 1), columns }));
    this.link.send(Type.TERMINAL_INFO, terminalInfo(this.#size));
  }

  /** The network changed, or we slept: ask, and try now. */
  wake() {
    this.liveness.probe();
    this.reconnector.networkChanged();
  }

  #pump() {
    if (this.#accepted === null || this.#ended) return;
    let sent = false;
    while (this.#typed.length && this.#typing > 0 && this.link.hasRoom && !this.link.usedUp) {
      const data = this.#typed.shift();
      this.#typing -= data.length;
      this.link.send(Type.TERMINAL_BUFFER, terminalBuffer(data));
      sent = true;
    }
    if (sent) this.liveness.sent();
  }

  #linesChanged() {
    this.liveness.look();
    this.reconnector.linesChanged();
    this.on.changed();
  }

  #arrived({ type, payload }) {
    if (this.#accepted === null) {
      this.#welcome(type, payload);
    } else if (type === Type.TERMINAL_BUFFER) {
      this.#show(readTerminalBuffer(payload));
    } else if (type === Type.STDERR) {
      this.#show(readStderr(payload));
    } else if (type === Type.CHANNEL) {
      this.#typing += readCredit(payload);
      this.#pump();
    } else if (type === Type.SESSION_OVER) {
      this.#over(readSessionOver(payload));
    } else if (type === Type.NOTICE && this.#accepted.includes("notice")) {
      this.on.noticed(readNotice(payload));
    } else if (type === Type.SIZE && this.#accepted.includes("size")) {
      this.on.sized(readSize(payload));
    } else {
      throw new PeerError(`packet type ${type}, which was not agreed on`);
    }
    this.liveness.used();
  }

  #welcome(type, payload) {
    if (type !== Type.INITIAL_RESPONSE) throw new PeerError(`packet type ${type} before its time`);
    const { error, features } = readInitialResponse(payload);
    const missing = NEEDED.filter((name) => !features.includes(name));
    this.#accepted = features;
    this.#typing = WINDOW;
    if (error || missing.length) {
      const text = error || `the server does not know ${missing.join(", ")}: it is too old`;
      this.#end(() => this.on.refused(text));
      return;
    }
    this.on.changed();
    this.link.ping();
    this.#pump();
  }

  #show(data) {
    this.#screen.output(data, () => this.shown(data.length));
  }

  /** So many bytes were shown: let more come. */
  shown(amount) {
    this.#owed += amount;
    if (this.#owed < WINDOW / 4 || this.#ended) return;
    this.link.send(Type.CHANNEL, credit(this.#owed));
    this.#owed = 0;
  }

  #over(how) {
    // When it is counted, it is acknowledged: the server may forget the session.
    queueMicrotask(() => {
      this.link.acknowledge();
      this.#end(() => this.on.over(how));
    });
  }

  #end(tell) {
    if (this.#ended) return;
    this.#ended = true;
    // Whatever was said last is on its way; the browser sends it before it closes.
    queueMicrotask(() => this.stop());
    tell();
  }
}
