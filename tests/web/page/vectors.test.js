// Eternal Terminal specification, appendix A: the bytes that every peer knows.

import assert from "node:assert/strict";
import test from "node:test";

import { BackedReader, BackedWriter } from "../../../src/trioet/web/page/link/backed.js";
import { PeerError } from "../../../src/trioet/web/page/link/errors.js";
import {
  catchupEntry, catchupHead, handshakeFrame, packetFrame,
} from "../../../src/trioet/web/page/link/framing.js";
import * as messages from "../../../src/trioet/web/page/link/messages.js";
import { Direction, SealedBox } from "../../../src/trioet/web/page/link/sealing.js";
import { concat, utf8 } from "../../../src/trioet/web/page/bytes.js";
import { bytes, hex } from "./hex.js";

const KEY = utf8("12345678901234567890123456789012");
const OUT = new SealedBox(KEY, Direction.CLIENT_TO_SERVER);
const IN = new SealedBox(KEY, Direction.SERVER_TO_CLIENT);

const CLIENT_PACKETS = [
  [253, "0800", "00000014 01fd 8fd03f2f9e9f98f6928ab32faabcca1cd3f5"],
  [0, "", "00000012 0100 0050b28137f728daf6bb85447ce9a725"],
  [1, "0a0161", "00000015 0101 6e7b072e8c84463ebdb94ca1897e4ba3257fc9"],
  [2, "1018185020002800", "0000001a 0102 e79eaaf8ce32b55e08a69fed641ad2751d440f3e8c4dc286"],
];
const SERVER_PACKETS = [
  [252, "", "00000012 01fc abb6f3f5a0f08f692cd53a61bdb10ae9"],
  [0, "", "00000012 0100 014ad1cbdbcd0d8be842934958f5889f"],
];

test("a client's packets are sealed and framed to the byte", () => {
  const writer = new BackedWriter(OUT);
  CLIENT_PACKETS.forEach(([type, payload, frame], index) => {
    writer.write(type, bytes(payload));
    assert.equal(hex(packetFrame(writer.body(index + 1))), frame.replaceAll(" ", ""));
  });
});

test("a server's packets open, each once", () => {
  const reader = new BackedReader(IN);
  SERVER_PACKETS.forEach(([type, payload, frame], index) => {
    const body = bytes(frame).subarray(4);
    assert.deepEqual(reader.open(index + 1, body), { type, payload: bytes(payload) });
    reader.count();
    assert.equal(reader.open(index + 1, body), null);
  });
});

test("nothing opens with a bit changed, at another ordinal, or in the other direction", () => {
  const sealed = OUT.seal(7, utf8("secret"));
  for (let bit = 0; bit < 8 * sealed.length; bit++) {
    const changed = sealed.slice();
    changed[bit >> 3] ^= 1 << (bit & 7);
    assert.throws(() => OUT.open(7, changed), PeerError);
  }
  assert.throws(() => OUT.open(8, sealed), PeerError);
  assert.throws(() => IN.open(7, sealed), PeerError);
  for (const size of [0, 1, 15]) assert.throws(() => IN.open(1, new Uint8Array(size)), PeerError);
});

test("nonces count over all of their bytes that a session can need", () => {
  const box = new SealedBox(KEY, Direction.SERVER_TO_CLIENT);
  for (const ordinal of [1, 255, 256, 2 ** 31 - 1, 2 ** 40 + 5]) {
    assert.equal(hex(box.open(ordinal, box.seal(ordinal, utf8("x")))), "78");
  }
  assert.notEqual(hex(box.seal(1, utf8("x"))), hex(box.seal(257, utf8("x"))));
});

test("handshake messages", () => {
  const frame = (body) => hex(handshakeFrame(body));
  assert.equal(
    frame(messages.connectRequest("1234567890123456")),
    "1400000000000000" + "0a10" + "31323334353637383930313233343536" + "1006",
  );
  assert.equal(frame(messages.sequenceHeader(0)), "02000000000000000800");
  assert.equal(frame(messages.sequenceHeader(300)), "030000000000000008ac02");
  assert.deepEqual(messages.readConnectResponse(bytes("0802")), { status: 2, text: "" });
  assert.deepEqual(
    messages.readConnectResponse(bytes("0803 1218 436c69656e74206973206e6f742072656769737465726564")),
    { status: 3, text: "Client is not registered" },
  );
});

test("a CatchupBuffer", () => {
  const body = bytes("01000050b28137f728daf6bb85447ce9a725");
  assert.equal(hex(catchupHead([])), "0000000000000000");
  assert.equal(
    hex(concat(catchupHead([body]), catchupEntry(body))),
    "14000000000000000a1201000050b28137f728daf6bb85447ce9a725",
  );
});

test("session messages", () => {
  assert.equal(hex(messages.terminalBuffer(utf8("a"))), "0a0161");
  assert.equal(hex(messages.terminalInfo({ rows: 24, columns: 80 })), "1018185020002800");
  assert.equal(hex(messages.count(258)), "0000000000000102");
  assert.equal(messages.readCount(bytes("0000000000000102")), 258);
  assert.equal(messages.readCount(bytes("")), null);
  assert.equal(hex(messages.credit(65536)), "27" + "0".repeat(16) + "0000000000010000");
  assert.equal(messages.readCredit(messages.credit(65536)), 65536);
});

test("a message that passes for another is refused", () => {
  for (const wrong of ["", "0a", "0a02", "0a016100", "0a0161 0a0162", "0800"]) {
    assert.throws(() => messages.readTerminalBuffer(bytes(wrong)), PeerError, wrong);
  }
  assert.throws(() => messages.readCount(bytes("00")), PeerError);
  assert.throws(() => messages.readStderr(bytes("41")), PeerError);
  for (const wrong of ["", "0a0161", "1a00"]) {
    assert.throws(() => messages.readSessionOver(bytes(wrong)), PeerError, wrong);
  }
  assert.throws(() => messages.readCredit(bytes("27")), PeerError);
  assert.throws(() => messages.readCredit(bytes("1f 0000000000000000 0000000000000001")), PeerError);
  assert.throws(() => messages.readConnectResponse(bytes("0809")), PeerError);
  assert.throws(() => messages.readSequenceHeader(bytes("08ffffffffffffffffff01")), PeerError);
});
