// When the page tries again, and when it gives up: with a clock and sockets of the test's own.

import assert from "node:assert/strict";
import test from "node:test";

import { utf8 } from "../../../src/trioet/web/page/bytes.js";
import { Session } from "../../../src/trioet/web/page/session.js";
import { packetFrame } from "../../../src/trioet/web/page/link/framing.js";
import { terminalBuffer, Type } from "../../../src/trioet/web/page/link/messages.js";
import { Clock, settled } from "./clock.js";
import { FakeSocket, ID, PASSKEY, Server } from "./sockets.js";

const MINUTE = 60_000;

/** A session whose sockets are collected, with what it has told. */
async function begin(test) {
  const clock = new Clock(test);
  const server = new Server();
  const made = { clock, server, sockets: [], told: [], shown: [], asked: 0 };
  const on = {
    changed() {},
    unopened: () => (made.asked += 1),
    over: (how) => made.told.push(["over", how.status]),
    refused: (text) => made.told.push(["refused", text]),
    lost: () => made.told.push(["lost"]),
  };
  made.session = new Session({
    id: ID,
    passkey: PASSKEY,
    dial: () => {
      made.sockets.push(new FakeSocket());
      return made.sockets.at(-1);
    },
    screen: { output: (data) => made.shown.push(...data) },
    on,
  });
  made.last = () => made.sockets.at(-1);
  test.after(() => made.session.stop());
  made.session.begin({ rows: 24, columns: 80 });
  await settled();
  return made;
}

async function beginWell(test) {
  const made = await begin(test);
  made.last().open();
  made.last().answer(1);
  made.last().say(made.server.welcome());
  await settled();
  assert.equal(made.session.troubled, false);
  return made;
}

/** How many sockets are tried in so much time, if each fails at once. */
async function triesIn(made, ms) {
  const before = made.sockets.length;
  for (let passed = 0; passed < ms; passed += 10) {
    if (!made.last().closed) made.last().fail();
    await made.clock.pass(10);
  }
  return made.sockets.length - before;
}

test("a line that is lost is replaced at once, then with pauses that grow", async (t) => {
  const made = await beginWell(t);
  made.last().fail();
  await made.clock.pass(60);
  assert.equal(made.sockets.length, 2);
  const atFirst = await triesIn(made, 2_000);
  const later = await triesIn(made, 30_000);
  assert.ok(atFirst >= 4 && atFirst <= 8, `${atFirst} tries in 2 s`);
  assert.ok(later >= 25 && later <= 35, `${later} in 30 s, while somebody is there`);
  await made.clock.pass(2 * MINUTE);
  const alone = await triesIn(made, 2 * MINUTE);
  assert.ok(alone >= 6 && alone <= 10, `${alone} in 2 min, when nobody is`);
});

test("typing, and a network that comes back, wake it", async (t) => {
  const made = await beginWell(t);
  made.last().fail();
  await triesIn(made, 5 * MINUTE);
  await made.clock.pass(1_000);
  for (const wake of [() => made.session.typeText("x"), () => made.session.wake()]) {
    if (!made.last().closed) made.last().fail();
    const before = made.sockets.length;
    wake();
    await made.clock.pass(100);
    assert.ok(made.sockets.length > before);
  }
});

test("a busy server is given the time that it needs", async (t) => {
  for (const [code, wait] of [[1011, 1_000], [1013, 10_000]]) {
    const made = await beginWell(t);
    made.last().fail();
    await made.clock.pass(60);
    made.last().open();
    const before = made.sockets.length;
    made.last().fail(code);
    await made.clock.pass(wait - 10);
    assert.equal(made.sockets.length, before, String(code));
    await made.clock.pass(20);
    assert.equal(made.sockets.length, before + 1, String(code));
    made.session.stop();
  }
});

test("what hangs is given up, and another is tried", async (t) => {
  const made = await beginWell(t);
  made.last().fail();
  await made.clock.pass(60);
  const hangs = made.last();
  await made.clock.pass(9_000);
  assert.equal(made.last(), hangs);
  await made.clock.pass(2_500);
  assert.ok(hangs.closed);
  assert.notEqual(made.last(), hangs);
  made.last().open(); // and then says nothing
  const mute = made.last();
  await made.clock.pass(11_500);
  assert.ok(mute.closed);
});

/** What a socket was given, after the ConnectRequest. */
function behindRequest(socket) {
  const said = Buffer.concat(socket.sent.map((data) => Buffer.from(data)));
  return said.subarray(8 + Number(said.readBigUInt64LE(0)));
}

test("the first packets go right behind the first ConnectRequest, and once", async (t) => {
  const made = await begin(t);
  const bodies = () => made.session.link.save().writer.bodies;
  made.last().open();
  const first = bodies();
  assert.equal(first.length, 2);
  assert.deepEqual(behindRequest(made.last()), Buffer.concat(first.map(packetFrame)));
  made.last().answer(1);
  made.last().say(made.server.welcome());
  await settled();
  assert.deepEqual(behindRequest(made.last()), Buffer.concat(bodies().map(packetFrame)));
});

for (const [status, answer] of [[1, "that is new"], [2, "that it knew"]]) {
  test(`who never got an answer waits for the next, ${answer}`, async (t) => {
    const made = await begin(t);
    made.last().open();
    made.last().fail();
    await made.clock.pass(100);
    made.last().open();
    assert.equal(behindRequest(made.last()).length, 0);
    if (status === 1) made.last().answer(1);
    else made.last().say(made.server.returning(0));
    made.last().say(made.server.welcome());
    await settled();
    assert.equal(made.session.troubled, false);
    for (const body of made.session.link.save().writer.bodies) {
      assert.ok(behindRequest(made.last()).includes(Buffer.from(body)));
    }
  });
}

test("where somebody asked first, another line is asked without packets", async (t) => {
  const made = await begin(t);
  made.last().open();
  made.last().say(made.server.returning(0));
  assert.ok(made.last().closed, "what follows would be taken for a SequenceHeader");
  await made.clock.pass(100);
  assert.equal(made.sockets.length, 2);
  made.last().open();
  made.last().say(made.server.returning(0), made.server.welcome());
  await settled();
  assert.equal(made.session.troubled, false);
});

test("after a WebSocket that never opened somebody asks why", async (t) => {
  const made = await beginWell(t);
  made.last().fail();
  await made.clock.pass(60);
  assert.equal(made.asked, 0);
  made.last().fail();
  assert.equal(made.asked, 1);
});

test("a silent line is asked, doubted, and replaced when another has proven itself", async (t) => {
  const made = await beginWell(t);
  const [first] = made.sockets;
  await made.clock.pass(4_900);
  assert.equal(made.sockets.length, 1);
  await made.clock.pass(700); // 5 s of silence, and half a second for the answer
  assert.equal(made.sockets.length, 2);
  assert.ok(made.session.troubled);
  assert.ok(!first.closed, "it may be slow only");
  made.last().open();
  made.last().say(made.server.returning(0));
  assert.ok(!first.closed, "anyone could have said that");
  made.last().say(made.server.keepAlive(0));
  assert.ok(first.closed);
  assert.equal(made.session.troubled, false);
});

test("an answer in time keeps a line", async (t) => {
  const made = await beginWell(t);
  for (let n = 0; n < 10; n++) {
    await made.clock.pass(5_100);
    made.last().say(made.server.keepAlive(0));
    assert.equal(made.session.troubled, false);
  }
  assert.equal(made.sockets.length, 1);
  assert.ok(made.session.link.roundTrip > 0);
});

test("an idle line is asked seldom", async (t) => {
  const made = await beginWell(t);
  const sent = () => made.last().sent.length;
  const answer = async (ms) => {
    for (let passed = 0; passed < ms; passed += 100) {
      const before = sent();
      await made.clock.pass(100);
      if (sent() > before) made.last().say(made.server.keepAlive(0));
    }
  };
  await answer(2 * MINUTE);
  const before = sent();
  await answer(5 * MINUTE);
  assert.ok(sent() - before <= 11, `${sent() - before} in 5 min`);
});

test("a line that answers nothing is dead after ten seconds", async (t) => {
  const made = await beginWell(t);
  const [first] = made.sockets;
  await made.clock.pass(11_000);
  assert.ok(first.closed);
});

test("a session that never was is refused at once", async (t) => {
  const made = await begin(t);
  made.last().open();
  made.last().answer(3);
  assert.deepEqual(made.told, [["refused", "the server refused"]]);
  await made.clock.pass(MINUTE);
  assert.equal(made.sockets.length, 1);
});

test("a denial ends a session only when it is said for ten minutes", async (t) => {
  const made = await beginWell(t);
  made.last().fail();
  let minutes = 0;
  while (!made.told.length && minutes < 20) {
    for (let passed = 0; passed < MINUTE; passed += 50) {
      if (!made.last().closed) {
        made.last().open();
        made.last().answer(3);
      }
      await made.clock.pass(50);
    }
    minutes += 1;
    if (minutes < 9) assert.ok(made.session.reconnector.denied);
  }
  assert.deepEqual(made.told, [["lost"]]);
  assert.ok(minutes >= 10, `after ${minutes} min`);
});

test("a server that offers a new session has forgotten this one, and is not believed", async (t) => {
  const made = await beginWell(t);
  made.last().fail();
  await made.clock.pass(60);
  made.last().open();
  made.last().answer(1);
  assert.ok(made.last().closed);
  assert.deepEqual(made.told, []);
});

test("a packet that was retyped on its way costs the line, and comes again", async (t) => {
  const made = await beginWell(t);
  const packet = made.server.packet(Type.TERMINAL_BUFFER, terminalBuffer(utf8("hello")));
  const retyped = packet.slice();
  retyped[5] = Type.SESSION_OVER;
  made.last().say(retyped);
  assert.ok(made.last().closed);
  assert.deepEqual(made.told, []);
  await made.clock.pass(60);
  made.last().open();
  made.last().say(made.server.returning(0), packet);
  assert.equal(new TextDecoder().decode(Uint8Array.from(made.shown)), "hello");
});

test("what is saved goes on elsewhere, with what was typed and not sent", async (t) => {
  const made = await beginWell(t);
  made.last().say(made.server.packet(Type.TERMINAL_BUFFER, terminalBuffer(utf8("one "))));
  made.session.typeText("kept");
  await settled();
  const saved = made.session.save();
  assert.ok(made.sockets.every((socket) => socket.closed));
  await made.clock.pass(MINUTE);
  assert.equal(made.sockets.length, 1, "it is asleep");

  const shown = [];
  const sockets = [];
  const other = new Session({
    id: ID,
    passkey: PASSKEY,
    dial: () => {
      sockets.push(new FakeSocket());
      return sockets.at(-1);
    },
    screen: { output: (data) => shown.push(...data) },
    on: { changed() {}, unopened() {} },
  });
  t.after(() => other.stop());
  other.resume(saved);
  sockets[0].open();
  sockets[0].say(
    made.server.returning(0),
    made.server.packet(Type.TERMINAL_BUFFER, terminalBuffer(utf8("two"))),
  );
  await settled();
  assert.equal(new TextDecoder().decode(Uint8Array.from(shown)), "two");
  assert.equal(other.link.received, made.session.link.received + 1);
  // All that was sealed before is in the catch-up, to the byte.
  const said = Buffer.concat(sockets[0].sent.map((data) => Buffer.from(data)));
  for (const body of saved.link.writer.bodies) assert.ok(said.includes(Buffer.from(body)));
});

test("a long paste waits for credit and for room", async (t) => {
  const made = await beginWell(t);
  const size = 2 * 1024 * 1024;
  const sentBytes = () => made.last().sent.reduce((sum, data) => sum + data.length, 0);
  made.session.type(new Uint8Array(size));
  await settled();
  assert.ok(sentBytes() < 300 * 1024, `${sentBytes()} bytes without credit`);
  assert.ok(made.session.backlog >= size - 300 * 1024);
  made.last().bufferedAmount = 100 * 1024;
  const before = sentBytes();
  made.session.typeText("x");
  await settled();
  assert.ok(sentBytes() - before < 200, "the browser has enough to send");
});
