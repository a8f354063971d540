// What of the page's face needs no browser.

import assert from "node:assert/strict";
import test from "node:test";

import { concat, utf8 } from "../../../src/trioet/web/page/bytes.js";
import { Ground } from "../../../src/trioet/web/page/ui/ground.js";
import { control } from "../../../src/trioet/web/page/ui/keys.js";
import { plain } from "../../../src/trioet/web/page/ui/plain.js";
import { watchNetwork } from "../../../src/trioet/web/page/ui/sleep.js";
import { pack, putAway, takeBack, unpack } from "../../../src/trioet/web/page/ui/store.js";
import { random } from "./random.js";

const PIECES = [
  "a", "\r", "\n", "é", "日", "🙂", "\x07", "\x1b7", "\x1b(B", "\x1b[m", "\x1b[38;2;1;2;3m", "\x1b[?1049h",
  "\x1b]2;title\x07", "\x1b]8;;http://x\x1b\\", "\x1bP1$r0m\x1b\\", "\x1b_apc\x1b\\", "\x1b[!p",
].map(utf8);

test("wherever output is cut, what has begun and not ended is known", () => {
  const next = random(11);
  for (let round = 0; round < 400; round++) {
    const pieces = Array.from({ length: 1 + next(12) }, () => PIECES[next(PIECES.length)]);
    const whole = concat(...pieces);
    const ends = new Set([0]);
    let end = 0;
    // ESC \ ends a string, and so does its ESC: what is left is a sequence of its own.
    for (const piece of pieces) {
      const at = piece.length > 2 && piece.at(-2) === 0x1b ? piece.length - 2 : null;
      if (at !== null) ends.delete(end + at);
      end += piece.length;
      ends.add(end);
    }
    const ground = new Ground();
    let fed = 0;
    while (fed < whole.length) {
      const size = 1 + next(9);
      ground.feed(whole.subarray(fed, fed + size));
      fed = Math.min(fed + size, whole.length);
      const begun = [...ends].filter((one) => one <= fed).reduce((a, b) => Math.max(a, b));
      assert.deepEqual(ground.tail, whole.slice(begun, fed), JSON.stringify([pieces, fed]));
    }
  }
});

test("bytes that are no UTF-8, and sequences that never end, do no harm", () => {
  const ground = new Ground();
  ground.feed(Uint8Array.of(0xff, 0xc0, 0x80, 0xf5, 0x61));
  assert.equal(ground.tail.length, 0);
  ground.feed(utf8("\x1b]2;"));
  for (let n = 0; n < 40; n++) ground.feed(new Uint8Array(64 * 1024).fill(0x61));
  assert.ok(ground.tail.length <= 1024 * 1024);
  ground.feed(utf8("\x18"));
  assert.equal(ground.tail.length, 0);
});

test("what is put away is taken back once, whatever it says", (t) => {
  const held = new Map();
  globalThis.location = { pathname: "/" };
  globalThis.sessionStorage = {
    getItem: (key) => held.get(key) ?? null,
    setItem: (key, value) => {
      if (value.length > 5000) throw new DOMException("full", "QuotaExceededError");
      held.set(key, value);
    },
    removeItem: (key) => held.delete(key),
  };
  t.after(() => {
    delete globalThis.location;
    delete globalThis.sessionStorage;
  });
  assert.equal(takeBack(), null);
  const session = { title: "bytes:no", key: Uint8Array.of(0, 255, 128), none: null, list: [] };
  putAway(session, [() => "x".repeat(6000), () => '{"bytes in base64": "}']);
  assert.deepEqual(takeBack(), { session, screen: '{"bytes in base64": "}' });
  assert.equal(takeBack(), null);
  const large = Uint8Array.from({ length: 100_000 }, (_, n) => n & 255);
  assert.deepEqual(unpack(pack({ large })), { large });
});

test("text of others is made plain", () => {
  assert.equal(plain("a\x1b[31m\u202eb\u0000\n c"), "a [31m b  c");
  assert.equal(plain("  \x07 "), "");
  assert.equal(plain("x".repeat(500)).length, 200);
  assert.equal(plain("日本語 ✓"), "日本語 ✓");
});

test("Ctrl does to a key what a keyboard does", () => {
  assert.deepEqual(
    ["c", "C", "[", "@", " ", "?", "1", "ab", "é"].map(control),
    ["\x03", "\x03", "\x1b", "\0", "\0", "\x7f", "1", "ab", "é"],
  );
});

test("another network, its return, and a look at the page bring the next try at once", () => {
  const [window, page, connection] = [new EventTarget(), new EventTarget(), new EventTarget()];
  globalThis.addEventListener = window.addEventListener.bind(window);
  globalThis.document = page;
  Object.defineProperty(globalThis, "navigator", { value: { connection }, configurable: true });
  let woken = 0;
  watchNetwork(() => woken++);
  window.dispatchEvent(new Event("online"));
  connection.dispatchEvent(new Event("change"));
  assert.equal(woken, 2);
  page.visibilityState = "hidden";
  page.dispatchEvent(new Event("visibilitychange"));
  assert.equal(woken, 2);
  page.visibilityState = "visible";
  page.dispatchEvent(new Event("visibilitychange"));
  assert.equal(woken, 3);
});
