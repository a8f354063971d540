// A line: one WebSocket of a link that will see many, and where it stands in both directions.
//
// What is to be sent is queued nowhere: the link keeps it all until the peer has it, and each line
// has a place in that. So two lines may carry the same packets for a while.

import { concat } from "../bytes.js";
import { catchupEntry, catchupHead, ClientReader, handshakeFrame, packetFrame } from "./framing.js";

const CHUNK = 64 * 1024;
const MOST_BUFFERED = 64 * 1024; // handed to the browser and not gone: no key overtakes it
const LOOK_AGAIN_MS = 5; // a WebSocket does not say when it has sent something

export class Line {
  #socket;
  #writer;
  #cursor = null;
  #catchupEnd = 0;
  #timer = null;

  /**
   * `on` has opened(), event(event) for what ClientReader reads, data() after each message,
   * writable(), and closed(code, error): the last call, whoever closed it.
   */
  constructor(socket, writer, on) {
    this.proven = false;
    this.opened = false;
    this.nextIn = 1; // ordinal of the next packet that this line brings
    this.on = on;
    this.#socket = socket;
    this.#writer = writer;
    const reader = new ClientReader();
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.opened = true;
      this.on?.opened();
    };
    socket.onmessage = ({ data }) => {
      try {
        reader.feed(new Uint8Array(data), (event) => this.on?.event(event));
        this.on?.data();
      } catch (error) {
        this.close(error);
      }
    };
    socket.onclose = ({ code }) => this.#end(code, null);
  }

  get writable() {
    return this.#socket.bufferedAmount < MOST_BUFFERED;
  }

  /** Ordinal of the oldest packet that this line still has to send. */
  get needs() {
    return this.#cursor ?? Infinity;
  }

  say(message) {
    this.#socket.send(handshakeFrame(message));
  }

  /** True once it sends packets. */
  get started() {
    return this.#cursor !== null;
  }

  /** Send packets, from the first on; or go on with that. */
  start() {
    this.#cursor ??= 1;
    this.flush();
  }

  /** Send packets from `after + 1` on; those that exist by now as one CatchupBuffer. */
  catchUp(after) {
    this.#cursor = after + 1;
    this.#catchupEnd = this.#writer.sent;
    const bodies = [];
    for (let n = this.#cursor; n <= this.#catchupEnd; n++) bodies.push(this.#writer.body(n));
    this.#socket.send(catchupHead(bodies));
    this.flush();
  }

  flush() {
    const writer = this.#writer;
    while (this.#cursor !== null && this.#cursor <= writer.sent) {
      if (!this.writable) {
        this.#timer ??= setTimeout(() => {
          this.#timer = null;
          this.flush();
          this.on?.writable();
        }, LOOK_AGAIN_MS);
        return;
      }
      const parts = [];
      for (let size = 0; size < CHUNK && this.#cursor <= writer.sent; this.#cursor++) {
        const body = writer.body(this.#cursor);
        parts.push(this.#cursor <= this.#catchupEnd ? catchupEntry(body) : packetFrame(body));
        size += body.length;
      }
      this.#socket.send(concat(...parts));
    }
  }

  close(error = null) {
    this.#socket.close();
    this.#end(0, error);
  }

  #end(code, error) {
    clearTimeout(this.#timer);
    this.#cursor = null;
    const { on } = this;
    this.on = null;
    on?.closed(code, error);
  }
}
