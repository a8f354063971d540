// Files through the terminal, by trzsz: the library speaks, and what it says is looked at first.
//
// Whatever it types might reach a shell, if the program on the far side is none of trzsz. So it may
// say lines of base64 that begin with #, which a shell takes for a comment, and never bytes as they
// lie in a file.

import { TrzszFilter } from "trzsz/lib/trzsz.mjs";

import { inert } from "./names.js";

const CHUNK = 1024 * 1024; // bytes of a file that are on their way at most

const LINE = /^#[A-Za-z0-9]+:[A-Za-z0-9+/=]*\n$/;
const RAW = /^#DATA:\d+\n$/; // so many bytes follow as they are: trz -b
const FAILURE = /^#fail:/i;
const ENDED = /^#EXIT:/;

// What a transfer's other end says, and no shell.
const ANSWERS = /(?:^|[\r\n])#[A-Z0-9]+:[A-Za-z0-9+/=]*[\r\n]*$/;

// zlib, base64: "Stopped and deleted", with which trz takes away what it has made.
const STOP = "#fail:eJwLLskvKEhNUUjMS1FISc1JLUlNAQBHvAcq\n";

const MOST_LOOKED_AT = 64 * 1024; // bytes at the end of what came

const CTRL_C = "\x03";

const MOST_TAKEN = 1024 * 1024 * 1024; // bytes of files that are received: they lie in memory

const LOOK_EVERY_MS = 100;

// With this trz and tsz clear away what they have said. Before that they throw away what is typed.
const LEFT = "\x1b8\x1b[0J";
const SETTLE_MS = 2_000; // if it does not come

/** What one session moves, a transfer at a time. `type(text)` types; `most` bytes are received at once. */
export class Transfer {
  #type;
  #most;
  #filter;
  #line = null; // with which trz or tsz has begun, until the library knows it
  #why = null; // what ended it before its time
  #complete = false;
  #alive = false; // the last that came was said by trz or tsz
  #left = () => {}; // called when they have ended

  constructor(type, most = MOST_TAKEN) {
    this.#type = type;
    this.#most = most;
    this.#filter = new TrzszFilter({
      writeToTerminal: () => {}, // a bar of progress; the page has one
      sendToServer: (data) => this.#send(data),
      maxDataChunkSize: CHUNK,
    });
    this.busy = false;
  }

  /** Take output of the program, if it is a transfer's; else false. */
  takes(data) {
    if (!this.busy) return false;
    const text = new TextDecoder("latin1").decode(data.subarray(-MOST_LOOKED_AT));
    if (!this.#filter.isTransferringFiles()) {
      if (text.includes(LEFT)) this.#left();
      return false;
    }
    this.#alive = ANSWERS.test(text);
    this.#filter.processServerOutput(data.slice());
    return true;
  }

  /** Send files to a trz that has begun with that line. Raises Error with what is to be told. */
  async send(line, files, progressed) {
    this.#begin();
    let before = 0;
    const watched = files.map((file) => {
      const start = before;
      before += file.size;
      return {
        name: inert(file.name),
        size: file.size,
        slice: (from, to) => {
          progressed(start + from, file.name);
          return file.slice(from, to);
        },
      };
    });
    this.#line = line;
    try {
      await this.#filter.uploadFiles(asItems(watched));
    } catch (error) {
      throw new Error(this.#why ?? said(error));
    } finally {
      await this.#settle();
    }
  }

  /** Receive the files of a tsz that has begun with that line, as {name, parts}. Raises Error as send(). */
  async receive(line, progressed) {
    this.#begin();
    const directory = new Received(this.#most, progressed, (why) => this.stop(why));
    // The library asks the browser where to put them: here it is told.
    const { showDirectoryPicker } = window;
    window.showDirectoryPicker = async () => directory;
    try {
      this.#filter.processServerOutput(line);
      do await new Promise((look) => setTimeout(look, LOOK_EVERY_MS));
      while (this.#filter.isTransferringFiles());
    } finally {
      window.showDirectoryPicker = showDirectoryPicker;
      await this.#settle();
    }
    if (!this.#complete) throw new Error(this.#why ?? "the terminal says why");
    return directory.files;
  }

  /** End what is under way; `why` is what is told then. */
  stop(why) {
    this.#why ??= why;
    this.#filter.stopTransferringFiles();
  }

  /** Have no part in a transfer that was offered, or that an earlier page had. */
  refuse() {
    this.#type(CTRL_C);
  }

  #begin() {
    this.busy = true;
    this.#why = this.#line = null;
    this.#complete = this.#alive = false;
  }

  async #settle() {
    await new Promise((left) => {
      this.#left = left;
      setTimeout(left, SETTLE_MS);
    });
    this.busy = false;
  }

  #send(data) {
    if (this.#line !== null) {
      // It would have typed Ctrl-C and trz; the latter runs already.
      if (data !== "trz\r") return;
      const line = this.#line;
      this.#line = null;
      this.#filter.processServerOutput(line);
    } else if (FAILURE.test(data)) {
      this.#type(this.#alive ? STOP : CTRL_C);
    } else if (this.#why !== null) {
      this.#filter.stopTransferringFiles();
    } else if (!LINE.test(data)) {
      this.stop("the other end wants what this page does not speak");
    } else if (RAW.test(data)) {
      this.stop("trz -b wants bytes as they are, which might reach a shell: run it without -b");
    } else {
      this.#complete ||= ENDED.test(data);
      this.#type(data);
    }
  }
}

/** Files as the library takes them from a drop. */
function asItems(files) {
  const items = files.map((file) => ({
    webkitGetAsEntry: () => ({ isFile: true, name: file.name, file: (take) => take(file) }),
  }));
  const iterator = { value: () => items.values() };
  return Object.create(DataTransferItemList.prototype, { [Symbol.iterator]: iterator });
}

/** A directory of the browser's, in memory. */
class Received {
  #size = 0;

  constructor(most, progressed, stop) {
    this.most = most;
    this.name = "downloads";
    this.files = []; // {name, parts}
    this.progressed = progressed;
    this.stop = stop;
  }

  async *values() {
    yield* this.files;
  }

  async getFileHandle(name) {
    const file = { name: inert(name), parts: [] };
    this.files.push(file);
    const write = async (data) => {
      this.#size += data.length;
      if (this.#size > this.most) this.stop("that is more than a browser can hold");
      else file.parts.push(data.slice());
      this.progressed(this.#size, file.name);
    };
    return { createWritable: async () => ({ write, close: async () => {} }) };
  }

  async getDirectoryHandle() {
    this.stop("folders are not received: pack them first, with tar for example");
    throw new TypeError("no folders");
  }
}

/** What the library says, in words. */
function said({ message }) {
  if (/^\[TrzszError\]|^(Integer|Binary) /.test(message)) {
    return "something else has written into the terminal, or trz has ended";
  }
  return message;
}
