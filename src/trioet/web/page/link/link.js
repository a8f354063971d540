// The client's end of the eternal link: packets go in and come out, each once and in order, over
// however many WebSockets it takes. The rules are those of src/trioet/link/resumable.py:
//
// * Prove, then replace. A new line is on trial until a packet on it opens under the key. Until
//   then the older one stays, and both carry the same packets.
// * Count what opened. The count of received packets moves only after one was opened and taken.
// * Acknowledge. A KEEP_ALIVE carries how many packets have been received.
// * A server that was never asked will say NEW_CLIENT, and read packets: they go right behind the
//   first ConnectRequest (docs/protocol.md, First packets).

import { utf8 } from "../bytes.js";
import { BackedReader, BackedWriter } from "./backed.js";
import { PeerError, Refused } from "./errors.js";
import { Line } from "./line.js";
import { connectRequest, count, readCount, sequenceHeader, Status, Type } from "./messages.js";
import { Direction, SealedBox } from "./sealing.js";

const ACK_EVERY = 66 * 1024; // bytes received between two acknowledgements: as many ask nothing
const WINDOW = 256 * 1024; // bytes in flight

export class Link {
  #id;
  #writer;
  #reader;
  #attached = [];
  #bytesIn = 0;
  #bytesAcknowledged = 0;
  #caughtUp = false;
  #pingedAt = null;
  #asked = false;
  #flushing = false;

  /** `onPacket(packet)` may throw PeerError: the packet counts as not received then. */
  constructor({ id, passkey, onPacket, onChange, onRoom }) {
    const key = utf8(passkey);
    this.#id = id;
    this.#writer = new BackedWriter(new SealedBox(key, Direction.CLIENT_TO_SERVER));
    this.#reader = new BackedReader(new SealedBox(key, Direction.SERVER_TO_CLIENT));
    this.onPacket = onPacket;
    this.onChange = onChange; // a line was attached, proven or lost; or a ping was answered
    this.onRoom = onRoom; // there may be room again
    this.established = false;
    this.lastHeard = -Infinity; // when the last packet opened
    this.roundTrip = 0; // milliseconds; 0 before the first
    this.bytesReplayed = 0;
    this.linesProven = 0;
  }

  get received() {
    return this.#reader.received;
  }

  get usedUp() {
    return this.#writer.usedUp;
  }

  /** The lines that carry the session, oldest first. */
  get lines() {
    return this.#attached;
  }

  // What goes out

  /** Seal a packet and send it, now or on whichever line comes next. */
  send(type, payload) {
    this.#writer.write(type, payload);
    if (this.#flushing) return;
    // What is sent in one piece of work goes as one message.
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      for (const line of [...this.#attached]) line.flush();
    });
  }

  /** True when the next packet would be sent soon, or may be kept. */
  get hasRoom() {
    const line = this.#attached.findLast((one) => one.proven);
    return (line?.writable ?? true) && this.#writer.unacknowledgedBytes < WINDOW;
  }

  acknowledge() {
    this.#bytesAcknowledged = this.#bytesIn;
    this.send(Type.KEEP_ALIVE, count(this.#reader.received));
  }

  /** Ask for a sign of life, and time it. */
  ping() {
    this.#pingedAt = Date.now();
    this.acknowledge();
  }

  // Lines

  /** Open a line over this WebSocket. `onEnd(code, error)` is called when it is gone. */
  open(socket, onEnd) {
    const line = new Line(socket, this.#writer, {
      opened: () => this.#ask(line),
      event: (event) => this.#event(line, event),
      data: () => this.#dealtWith(),
      writable: () => this.onRoom(),
      closed: (code, error) => {
        this.#attached = this.#attached.filter((other) => other !== line);
        onEnd(code, error);
        this.onChange();
      },
    });
    return line;
  }

  close() {
    for (const line of [...this.#attached]) line.close();
  }

  #ask(line) {
    line.say(connectRequest(this.#id));
    if (this.#asked) return;
    this.#asked = true;
    line.start();
  }

  #event(line, event) {
    if (event.body) {
      if (!this.#attached.includes(line)) throw new PeerError("a packet before its time");
      this.#arrived(line, event.body);
    } else if (event.missed) {
      this.bytesReplayed += event.missed.length;
      this.#arrived(line, event.missed);
    } else if (event.response) {
      this.#answered(line, event.response);
    } else if (event.peerReceived !== undefined) {
      this.#writer.checkReceived(event.peerReceived);
      line.catchUp(event.peerReceived);
      this.acknowledge(); // proves us, even before their catch-up is here
      this.#attach(line);
    } else {
      this.ping();
      this.#caughtUp = true;
    }
  }

  #answered(line, { status, text }) {
    if (status === Status.NEW_CLIENT) {
      if (this.received) throw new PeerError("the server has forgotten the session");
      this.established = true;
      line.start();
      this.#attach(line);
    } else if (status === Status.RETURNING_CLIENT) {
      this.established = true;
      if (line.started) {
        line.close(); // it had been asked before, and does not read packets yet
        return;
      }
      line.nextIn = this.received + 1;
      line.say(sequenceHeader(this.received));
    } else {
      throw new Refused(status, text);
    }
  }

  #attach(line) {
    this.#pingedAt = null;
    this.#attached.push(line);
    this.onChange();
  }

  // What comes in

  #arrived(line, body) {
    const packet = this.#reader.open(line.nextIn, body);
    if (packet !== null) {
      if (packet.type === Type.KEEP_ALIVE) this.#keepAlive(packet.payload);
      else this.onPacket(packet);
      this.#reader.count();
      this.#bytesIn += body.length;
    }
    line.nextIn += 1;
    if (packet === null && !line.proven) return; // somebody may have copied it from another line
    this.lastHeard = Date.now();
    if (!line.proven) this.#prove(line);
  }

  #prove(line) {
    line.proven = true;
    this.linesProven += 1;
    for (const older of this.#attached.slice(0, this.#attached.indexOf(line))) older.close();
    this.onChange();
    this.onRoom();
  }

  #keepAlive(payload) {
    const acknowledged = readCount(payload);
    if (acknowledged !== null) {
      this.#writer.acknowledge(acknowledged);
      const needs = this.#attached.map((line) => line.needs - 1);
      this.#writer.forget(Math.min(this.#writer.acknowledged, ...needs));
      this.onRoom();
    }
    if (this.#pingedAt !== null) {
      this.roundTrip = Date.now() - this.#pingedAt;
      this.#pingedAt = null;
      this.onChange();
    }
  }

  #dealtWith() {
    if (this.#caughtUp || this.#bytesIn - this.#bytesAcknowledged >= ACK_EVERY) {
      this.#caughtUp = false;
      this.acknowledge();
    }
  }

  // Kept while the page is loaded again

  save() {
    return {
      established: this.established,
      received: this.received,
      writer: this.#writer.save(),
    };
  }

  restore({ established, received, writer }) {
    this.established = established;
    this.#asked = true;
    this.#reader.received = received;
    this.#writer.restore(writer);
  }
}
