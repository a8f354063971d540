// Files by trzsz: what is found in output, what names become, what is never typed.

import assert from "node:assert/strict";
import { File } from "node:buffer";
import { createHash } from "node:crypto";
import test from "node:test";
import { deflateSync, inflateSync } from "node:zlib";

import { concat, utf8 } from "../../../src/trioet/web/page/bytes.js";
import { Finder } from "../../../src/trioet/web/page/files/magic.js";
import { inert } from "../../../src/trioet/web/page/files/names.js";
import { random } from "./random.js";

// What Node has not.
globalThis.DataTransferItemList = class {};
globalThis.window = { location: { protocol: "https:", hostname: "x" } };
const { Transfer } = await import("../../../src/trioet/web/page/files/transfer.js");

const LINE = "::TRZSZ:TRANSFER:R:1.1.7:9528335225400:35703";

const words = (line) => inflateSync(Buffer.from(line.split(":")[1], "base64")).toString();
const said = (type, value) => `#${type}:${deflateSync(value).toString("base64")}\n`;

/** A tsz that sends these, each a part of one file, and a transfer that takes so many bytes. */
function receive(name, parts, most) {
  const says = [
    said("CFG", '{"timeout": 1}') + "#NUM:1\n", said("NAME", name), `#SIZE:${parts.join("").length}\n`,
    ...parts.map((part) => said("DATA", part)), said("MD5", createHash("md5").update(parts.join("")).digest()),
  ];
  const typed = [];
  const transfer = new Transfer((text) => {
    typed.push(text);
    const next = /^#(ACT|SUCC)/.test(text) && says.shift();
    if (next) setTimeout(() => transfer.takes(utf8(next)));
  }, most);
  const receiving = transfer.receive(LINE.replace(":R:", ":S:"), () => {});
  return { receiving, typed };
}

/** A far end that answers each line of a kind as it is told to, and keeps what is typed. */
class FarEnd {
  typed = [];
  answers = {
    ACT: () => said("CFG", "{}"),
    NUM: (line) => `#SUCC:${line.split(":")[1]}`,
    NAME: (line) => said("SUCC", words(line)),
    SIZE: (line) => `#SUCC:${line.split(":")[1]}`,
    DATA: (line) => `#SUCC:${inflateSync(Buffer.from(line.slice(6), "base64")).length}\n`,
    MD5: (line) => line.replace("#MD5", "#SUCC"),
    EXIT: () => "",
  };

  constructor(answers = {}) {
    Object.assign(this.answers, answers);
    this.transfer = new Transfer((text) => this.#take(text));
  }

  #take(text) {
    this.typed.push(text);
    const answer = this.answers[text.slice(1).split(":")[0]]?.(text) ?? "";
    if (answer) setTimeout(() => this.say(answer));
  }

  say(text) {
    this.transfer.takes(utf8(text));
  }

  send(...files) {
    return this.transfer.send(LINE, files, () => {});
  }
}

test("trz is found wherever its line is cut, and once", () => {
  const next = random(5);
  const whole = utf8(`$ trz\r\n\x1b7\x07${LINE}\r\nmore ::TRZSZ:TRANSFER:X:1\r\n${"noise ".repeat(60)}`);
  for (let round = 0; round < 300; round++) {
    const finder = new Finder();
    const found = [];
    for (let at = 0; at < whole.length; ) {
      const size = 1 + next(80);
      found.push(finder.feed(whole.subarray(at, at + size)));
      at += size;
    }
    assert.deepEqual(found.filter(Boolean), [{ line: LINE, sends: false }]);
  }
  assert.equal(new Finder().feed(utf8(LINE.replace(":R:", ":S:") + "\n")).sends, true);
});

test("a line that a screen draws anew is found, and once", () => {
  const finder = new Finder();
  const drawn = utf8(`\x1b[2;1H${LINE}\x1b[K\x1b[3;1H`);
  assert.deepEqual(finder.feed(drawn), { line: LINE, sends: false });
  assert.equal(finder.feed(drawn), null);
  assert.notEqual(finder.feed(utf8(`${LINE.replace("9528", "9529")}\r\n`)), null);
  const bare = utf8("::TRZSZ:TRANSFER:R:1.0.0\r\n"); // of an old trz
  assert.notEqual(finder.feed(bare), null);
  assert.notEqual(finder.feed(bare), null);
});

test("no line is found that has no end, or in a flood", () => {
  const finder = new Finder();
  assert.equal(finder.feed(utf8(LINE)), null);
  for (let n = 0; n < 100; n++) assert.equal(finder.feed(utf8("1".repeat(9000))), null);
  assert.equal(finder.feed(utf8("\r\n")), null);
});

test("every name is fit for a directory and for a terminal", () => {
  const next = random(6);
  const pieces = [
    "..", "/", "\\", ".", "-", "\x1b]2;x\x07", "\n", "\0", "\u202e", "\u009b", "é", "日本", "🙂", " ", "a", ".tar.gz",
    "x".repeat(120),
  ];
  for (let round = 0; round < 2000; round++) {
    const name = Array.from({ length: next(7) }, () => pieces[next(pieces.length)]).join("");
    const fit = inert(name);
    assert.match(fit, /^[^-/\\\u0000-\u001f\u007f-\u009f\u202e][^/\\\u0000-\u001f\u007f-\u009f\u202e]*$/u, name);
    assert.ok(!/^\.{0,2}$/.test(fit), name);
    assert.ok(utf8(fit).length <= 200 && fit.isWellFormed?.() !== false, name);
    assert.equal(inert(fit), fit);
  }
  assert.equal(inert("a note.tar.gz"), "a note.tar.gz");
  assert.equal(inert(".profile"), ".profile");
  assert.equal(inert(`${"日".repeat(200)}.txt`), `${"日".repeat(65)}.txt`);
});

test("a file arrives, in pieces of which one is under way", async () => {
  const size = 5_000_000;
  const got = [];
  let open = 0;
  let most = 0;
  const far = new FarEnd({
    DATA: (line) => {
      const data = inflateSync(Buffer.from(line.slice(6), "base64"));
      got.push(data);
      open += data.length;
      most = Math.max(most, open);
      setTimeout(() => {
        open -= data.length;
        far.say(`#SUCC:${data.length}\n`);
      });
      return "";
    },
  });
  const data = Uint8Array.from({ length: size }, (_, n) => (n * n) >> 7);
  const sending = far.send(new File([data], "../data"));
  setTimeout(() => far.say("\x1b8\x1b[0JSaved"), 200);
  await sending;
  assert.deepEqual(concat(...got), data);
  assert.ok(most <= 1024 * 1024, most);
  assert.equal(words(far.typed.find((line) => line.startsWith("#NAME"))), ".._data");
  assert.equal(far.transfer.busy, false);
});

test("bytes as they lie in a file are never typed, whatever the far end wants", async () => {
  for (const config of [{ binary: true, escape_chars: [] }, { binary: true, bufsize: 7 }]) {
    const far = new FarEnd({ ACT: () => said("CFG", JSON.stringify(config)) });
    await assert.rejects(far.send(new File(["\nrm -rf /\n"], "evil")), /without -b/);
    for (const line of far.typed) assert.match(line, /^#[A-Za-z0-9]+:[A-Za-z0-9+/=]*\n$|^\x03$/);
    assert.ok(!far.typed.some((line) => line.startsWith("#DATA")));
    assert.equal(words(far.typed.at(-1)), "Stopped and deleted");
  }
});

test("where a shell answers instead of trz, it gets Ctrl-C and nothing else", async () => {
  for (const answer of ["bash: #ACT: what?\n", "zsh: command not found: #ACT\r\n$ "]) {
    const far = new FarEnd({ ACT: () => answer });
    const sending = far.send(new File(["text"], "a"));
    setTimeout(() => far.transfer.stop("it was cancelled"), 500);
    await assert.rejects(sending, /something else has written|cancelled/);
    assert.deepEqual(far.typed.slice(1), ["\x03"]);
  }
});

test("what trz says it could not do is told", async () => {
  const far = new FarEnd({ NAME: () => said("fail", "No permission to write: /x") });
  await assert.rejects(far.send(new File(["text"], "a")), /No permission to write: \/x/);
});

test("cancelled before it has begun, nothing of it is typed", async () => {
  const far = new FarEnd();
  const sending = far.send(new File(["text"], "a"));
  far.transfer.stop("it was cancelled");
  await assert.rejects(sending, /cancelled/);
  assert.deepEqual(far.typed, ["\x03"]);
});

test("a file is received, and no more than there is room for", async () => {
  const { receiving } = receive("../a\x1b.txt", ["one, ", "two"], 8);
  const [file] = await receiving;
  assert.equal(file.name, ".._a .txt");
  assert.equal(Buffer.concat(file.parts).toString(), "one, two");

  const tooMuch = receive("a", ["one, ", "two"], 7);
  await assert.rejects(tooMuch.receiving, /more than a browser can hold/);
  assert.ok(!tooMuch.typed.some((line) => line.startsWith("#EXIT")));
  assert.equal(window.showDirectoryPicker, undefined);
});
