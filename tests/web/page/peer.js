// A page without a browser: the link over TCP, for tests/web/test_page_link.py.
//
//     node peer.js PORT ID PASSKEY SIZE
//
// types SIZE bytes of a pattern, and prints, as a line of JSON, what came of the session.

import crypto from "node:crypto";
import net from "node:net";

import { Session } from "../../../src/trioet/web/page/session.js";

const [port, id, passkey, size] = process.argv.slice(2);

const SHOWN_AFTER_MS = 1;

/** As much of a WebSocket as the link uses. */
class Socket {
  constructor() {
    this.socket = net.connect(Number(port), "127.0.0.1");
    this.socket.setNoDelay(true);
    this.socket.on("connect", () => this.onopen());
    this.socket.on("data", (data) => this.onmessage({ data: Uint8Array.from(data).buffer }));
    this.socket.on("error", () => {});
    this.socket.on("close", () => this.onclose({ code: 1006 }));
  }

  get bufferedAmount() {
    return this.socket.writableLength;
  }

  send(data) {
    this.socket.write(data);
  }

  close() {
    this.socket.destroy();
  }
}

const hash = crypto.createHash("sha256");
let received = 0;

const end = (result) => {
  const { linesProven, bytesReplayed } = session.link;
  const digest = hash.digest("hex");
  console.log(JSON.stringify({ ...result, received, digest, linesProven, bytesReplayed }));
};

const session = new Session({
  id,
  passkey,
  dial: () => new Socket(),
  screen: {
    output(data, shown) {
      hash.update(data);
      received += data.length;
      setTimeout(shown, SHOWN_AFTER_MS);
    },
  },
  on: {
    changed() {},
    unopened() {},
    over: (how) => end({ over: how }),
    refused: (text) => end({ refused: text }),
    lost: () => end({ lost: true }),
  },
});

session.begin({ rows: 24, columns: 80 });
session.type(Uint8Array.from({ length: Number(size) }, (_, at) => (at * 31 + (at >> 8)) & 0xff));
