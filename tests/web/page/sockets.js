// WebSockets of which a test plays the other end: a server with the session's key.

import { concat, utf8 } from "../../../src/trioet/web/page/bytes.js";
import { BackedReader, BackedWriter } from "../../../src/trioet/web/page/link/backed.js";
import { handshakeFrame, packetFrame } from "../../../src/trioet/web/page/link/framing.js";
import { count, Type } from "../../../src/trioet/web/page/link/messages.js";
import { bytesField, numberField, textField } from "../../../src/trioet/web/page/link/protobuf.js";
import { Direction, SealedBox } from "../../../src/trioet/web/page/link/sealing.js";

export const ID = "1234567890123456";
export const PASSKEY = "12345678901234567890123456789012";

const FEATURES = ["acks", "over", "exec", "channels", "quiet"];

export class FakeSocket {
  constructor() {
    this.sent = [];
    this.bufferedAmount = 0;
    this.closed = false;
  }

  send(data) {
    this.sent.push(data);
  }

  close() {
    this.closed = true;
  }

  // What the server, or the network, does

  open() {
    this.onopen();
  }

  say(...parts) {
    this.onmessage({ data: concat(...parts).buffer });
  }

  answer(status) {
    this.say(handshakeFrame(numberField(1, status)));
  }

  fail(code = 1006) {
    this.closed = true;
    this.onclose({ code });
  }
}

/** The server's side of a session: what it seals, in order. */
export class Server {
  constructor() {
    this.writer = new BackedWriter(new SealedBox(utf8(PASSKEY), Direction.SERVER_TO_CLIENT));
    this.reader = new BackedReader(new SealedBox(utf8(PASSKEY), Direction.CLIENT_TO_SERVER));
  }

  packet(type, payload) {
    this.writer.write(type, payload);
    return packetFrame(this.writer.body(this.writer.sent));
  }

  welcome(features = FEATURES) {
    const accepted = concat(...features.map((name) => textField(1, name)));
    return this.packet(Type.INITIAL_RESPONSE, bytesField(1000, accepted));
  }

  keepAlive(received) {
    return this.packet(Type.KEEP_ALIVE, count(received));
  }

  /** The answer to one who returns, with nothing to catch up. */
  returning(received) {
    return concat(
      handshakeFrame(numberField(1, 2)),
      handshakeFrame(numberField(1, received)),
      handshakeFrame(new Uint8Array(0)),
    );
  }
}
