// Frames, however their bytes arrive; and nothing but PeerError, whatever they are.

import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";

import { concat, Incoming } from "../../../src/trioet/web/page/bytes.js";
import { PeerError } from "../../../src/trioet/web/page/link/errors.js";
import { BackedReader, BackedWriter } from "../../../src/trioet/web/page/link/backed.js";
import { ClientReader } from "../../../src/trioet/web/page/link/framing.js";
import { readFields, readVarint, varint } from "../../../src/trioet/web/page/link/protobuf.js";
import * as messages from "../../../src/trioet/web/page/link/messages.js";
import { Direction, SealedBox } from "../../../src/trioet/web/page/link/sealing.js";
import { utf8 } from "../../../src/trioet/web/page/bytes.js";
import { bytes, hex } from "./hex.js";
import { random } from "./random.js";

const TRANSCRIPTS = new URL("../../transcripts/", import.meta.url);

function read(chunks) {
  const reader = new ClientReader();
  const events = [];
  for (const chunk of chunks) reader.feed(chunk, (event) => events.push(event));
  return events;
}

const slices = (data, sizes) => {
  const out = [];
  for (let at = 0; at < data.length; ) {
    const size = sizes();
    out.push(data.subarray(at, at + size));
    at += size;
  }
  return out;
};

for (const name of fs.readdirSync(TRANSCRIPTS)) {
  test(`a recorded session is read and sealed again to the byte: ${name}`, () => {
    const recorded = JSON.parse(fs.readFileSync(new URL(name, TRANSCRIPTS)));
    const box = new SealedBox(utf8(recorded.passkey), Direction.SERVER_TO_CLIENT);
    const reader = new BackedReader(box);
    const writer = new BackedWriter(box);
    const said = recorded.chunks.filter(({ event, dir }) => event === "data" && dir === "s2c");
    for (const conn of new Set(said.map((chunk) => chunk.conn))) {
      const chunks = said.filter((chunk) => chunk.conn === conn).map(({ hex }) => bytes(hex));
      const events = read(chunks);
      assert.deepEqual(read(slices(concat(...chunks), () => 1)), events);
      for (const body of events.map((event) => event.body ?? event.missed).filter(Boolean)) {
        const packet = reader.open(reader.received + 1, body);
        reader.count();
        writer.write(packet.type, packet.payload);
        assert.equal(hex(writer.body(reader.received)), hex(body));
      }
    }
    const ordinals = recorded.decoded
      .filter(({ kind, dir }) => dir === "s2c" && ["packet", "catchup-packet"].includes(kind))
      .map(({ seq }) => seq);
    assert.equal(reader.received, Math.max(...ordinals));
  });
}

test("varints", () => {
  for (const value of [0, 1, 127, 128, 300, 2 ** 31 - 1, 2 ** 40]) {
    const data = varint(value);
    assert.deepEqual(readVarint(data, 0), { value, end: data.length });
    assert.equal(readVarint(data.subarray(0, -1), 0), null);
  }
  assert.throws(() => readVarint(new Uint8Array(11).fill(0x80), 0), PeerError);
});

test("fields of any kind are passed over, those that are cut off are refused", () => {
  assert.deepEqual(readFields(bytes("0805 1205 6162636465 19 0102030405060708 25 01020304")).length, 4);
  for (const wrong of ["08", "1205", "120561", "1901", "2501", "0b", "0f", "80"]) {
    assert.throws(() => readFields(bytes(wrong)), PeerError, wrong);
  }
});

test("sizes that no honest peer announces are refused at once", () => {
  const NEW = "0200000000000000 0801";
  const RETURNING = "0200000000000000 0802 0200000000000000 0800";
  for (const wrong of [
    "0110000000000000", // a handshake message of 4097 bytes
    "ffffffffffffffff", // ... of -1
    `${NEW} 00000011`, // a packet of 17 bytes
    `${NEW} 00400001`, // ... of 4 MiB and one
    `${RETURNING} 0100000800000000`, // a catch-up over the limit
    `${RETURNING} 1400000000000000 0b`, // with something else in it
    `${RETURNING} 1400000000000000 0a13`, // an entry that runs over its end
    `${RETURNING} 1400000000000000 0a01`, // a short entry
    `${RETURNING} 1400000000000000 0a8080808080`, // an entry without a length
  ]) {
    assert.throws(() => read([bytes(wrong)]), PeerError, wrong);
  }
});

test("whatever comes, it is read or it is a PeerError", () => {
  const next = random(7);
  for (let round = 0; round < 3000; round++) {
    const data = new Uint8Array(next(60)).map(() => (next(3) ? next(256) : next(12)));
    const start = [bytes("0200000000000000 0801"), bytes("0200000000000000 0802"), []][next(3)];
    const parsers = [
      () => read(slices(concat(start, data), () => 1 + next(20))),
      () => messages.readConnectResponse(data),
      () => messages.readInitialResponse(data),
      () => messages.readTerminalBuffer(data),
      () => messages.readSessionOver(data),
      () => messages.readSequenceHeader(data),
      () => messages.readCredit(data),
      () => messages.readCount(data),
    ];
    for (const parse of parsers) {
      try {
        parse();
      } catch (error) {
        assert.ok(error instanceof PeerError, `${error.stack}\n${hex(data)}`);
      }
    }
  }
});

test("what came in is kept however it grows", () => {
  const next = random(3);
  const incoming = new Incoming();
  let model = [];
  for (let step = 0; step < 2000; step++) {
    if (next(2)) {
      const data = Uint8Array.from({ length: next(50) }, () => next(256));
      incoming.push(data);
      model.push(...data);
    } else {
      const size = next(model.length + 1);
      assert.deepEqual([...incoming.take(size)], model.slice(0, size));
      model = model.slice(size);
    }
    assert.equal(incoming.length, model.length);
  }
});
