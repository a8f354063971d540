// Files that are dropped on the page, or chosen: what is asked, how far they are, how it ended.
//
// Nothing is typed before the user has seen where: an editor would take it for text.

import { Finder } from "../files/magic.js";
import { Transfer } from "../files/transfer.js";
import { $ } from "./dom.js";
import { plain } from "./plain.js";

// It waits ten minutes for what is under way, as the page does for its session: a network may be away.
const COMMAND = "trz -t 600";

const ANSWER_MS = 5_000; // after that trz is perhaps not there

const LONGEST_LINE = 48; // characters of the line before the cursor that are shown

const ABSENT =
  "trz has not answered. Where the shell runs, install it: pipx install trzsz-svr. Then try again, or run trz yourself.";

export class FileDrop {
  #box = $("#files");
  #chooser = $("#choose-files");
  #screen;
  #say;
  #session = null;
  #transfer = null;
  #finder = null;
  #unasked = false; // trz and tsz may ask by themselves
  #files = []; // that wait for trz
  #typed = 0; // when trz was typed for them
  #asked = null; // what trz or tsz said when it began by itself
  #late = null; // a timer

  /** `say(text)` tells the user how it ended. */
  constructor(screen, say) {
    this.#screen = screen;
    this.#say = say;
    const { terminal } = screen;
    terminal.onCursorMove(() => this.#files.length && !this.busy && this.#show());
    terminal.buffer.onBufferChange(() => this.#show());
    $("#send-files").addEventListener("click", () => this.#choose());
    this.#chooser.addEventListener("change", () => {
      const files = [...this.#chooser.files];
      this.#chooser.value = ""; // the same may be chosen again
      this.#take(files);
    });
    this.#box.addEventListener("click", ({ target }) => this.#do(target.dataset.do));
    addEventListener("dragover", (event) => this.#over(event));
    addEventListener("dragleave", (event) => event.relatedTarget ?? this.#mark(false));
    addEventListener("drop", (event) => this.#drop(event));
  }

  get busy() {
    return this.#transfer?.busy ?? false;
  }

  /** Serve this session, at which one may type or only look on; null: it is over. */
  attach(session, { write = false, shared = false } = {}) {
    this.#transfer?.stop("the session is over");
    this.#session = session;
    this.#files = [];
    this.#asked = null;
    this.#unasked = !shared;
    this.#transfer = session && write ? new Transfer((text) => session.typeText(text)) : null;
    this.#finder = new Finder();
    $("#send-files").hidden = this.#transfer === null;
    this.#show();
  }

  /** An earlier page was moving files, and cannot go on: end it. */
  wasMoving() {
    this.#transfer?.refuse();
    this.#say("The page was loaded anew: the files that were on their way have not arrived whole.");
  }

  /** What the program prints: a transfer's own, or for the screen. */
  output(data, shown) {
    if (this.#transfer?.takes(data)) {
      shown();
      return;
    }
    this.#screen.output(data, shown);
    const begun = this.#transfer && this.#finder.feed(data);
    if (!begun || this.busy) return;
    if (this.#files.length && !begun.sends) this.#send(begun.line);
    else if (this.#unasked) this.#asked = begun;
    this.#show();
  }

  /** What the user types; true if it is not for the program, for files are under way. */
  typed(text) {
    if (!this.busy) {
      if (this.#asked) this.#withdraw();
      return false;
    }
    if (text === "\x03") this.#transfer.stop("it was cancelled");
    return true;
  }

  #withdraw() {
    this.#asked = null;
    this.#show();
  }

  // Where files come from

  #choose() {
    if (!this.busy) this.#chooser.click();
  }

  #over(event) {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault(); // or the browser would leave the page for the file
    event.dataTransfer.dropEffect = this.#transfer && !this.busy ? "copy" : "none";
    this.#mark(this.#transfer !== null && !this.busy);
  }

  #mark(over) {
    $("#terminal").classList.toggle("dropping", over);
  }

  #drop(event) {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    this.#mark(false);
    const items = [...event.dataTransfer.items].filter(({ kind }) => kind === "file");
    const folders = items.filter((item) => item.webkitGetAsEntry()?.isDirectory);
    if (folders.length) this.#say("A folder is not sent: pack it first, with zip or tar for example.");
    else this.#take([...event.dataTransfer.files]);
  }

  #take(files) {
    if (!files.length) return;
    if (this.#transfer === null) this.#say("Here you look on: files are not sent.");
    else if (this.busy) this.#say("Files are under way. When they have arrived, send these.");
    else {
      this.#files = files;
      this.#typed = 0;
      if (this.#asked && !this.#asked.sends) this.#send(this.#asked.line);
      this.#show();
    }
  }

  // What the user decides

  #do(what) {
    if (what === "yes") {
      if (!this.#asked) this.#type();
      else if (this.#asked.sends) this.#receive(this.#asked.line);
      else this.#choose();
    } else if (what === "no") {
      if (this.busy) this.#transfer.stop("it was cancelled");
      else if (this.#asked) this.#transfer.refuse();
      else this.#files = [];
      this.#asked = null;
    } else {
      return;
    }
    this.#show();
    if (!this.#asked) this.#screen.terminal.focus();
  }

  #type() {
    this.#typed = Date.now();
    this.#session.typeText(`${COMMAND}\r`);
    this.#screen.terminal.scrollToBottom();
    clearTimeout(this.#late);
    this.#late = setTimeout(() => this.#show(), ANSWER_MS);
  }

  // Files under way

  async #send(line) {
    const files = this.#files;
    this.#files = [];
    this.#asked = null;
    const total = sum(files);
    const sending = this.#transfer.send(line, files, (done, name) =>
      this.#progress(`Sending ${plain(name, 60)}`, done, total),
    );
    this.#progress(`Sending ${named(files)}`, 0, total);
    await this.#end(sending, () => `${named(files)} ${files.length > 1 ? "have" : "has"} arrived.`);
  }

  async #receive(line) {
    this.#asked = null;
    const receiving = this.#transfer.receive(line, (done, name) =>
      this.#progress(`Receiving ${plain(name, 60)}`, done),
    );
    this.#progress("Receiving", 0);
    await this.#end(receiving, (files) => {
      files.forEach(save);
      return `${named(files)} ${files.length > 1 ? "are" : "is"} saved.`;
    });
  }

  async #end(moving, told) {
    addEventListener("beforeunload", refuseToLeave);
    try {
      this.#say(told(await moving));
    } catch (error) {
      this.#say(`The transfer has ended: ${plain(error.message)}.`);
    } finally {
      removeEventListener("beforeunload", refuseToLeave);
    }
    this.#show();
  }

  #progress(text, done, total = null) {
    const bar = $("progress", this.#box);
    if (total === null) bar.removeAttribute("value");
    else bar.value = total ? done / total : 1;
    const size = total === null ? bytes(done) : `${bytes(done)} of ${bytes(total)}`;
    this.#fill({ title: text, text: size, no: "Cancel", bar: true });
  }

  #show() {
    if (this.busy) return;
    if (this.#asked) {
      const { sends } = this.#asked;
      this.#fill({
        title: sends ? "The terminal sends files" : "The terminal asks for files",
        text: sends ? "tsz runs there. Save them here?" : "trz runs there. Which ones does it get?",
        no: "Refuse (Ctrl+C)",
        yes: sends ? "Save" : "Choose…",
      });
    } else if (this.#files.length) {
      this.#fill({ title: `${named(this.#files)}, ${bytes(sum(this.#files))}`, no: "Cancel", ...this.#next() });
    } else {
      this.#box.hidden = true;
    }
  }

  /** What is to be done that the files go. */
  #next() {
    const { terminal } = this.#screen;
    if (terminal.buffer.active.type === "alternate") {
      return { text: "A program fills the screen. To send them, run trz in a shell." };
    }
    const preview = `${lineBefore(terminal)}${COMMAND} ⏎`;
    if (!this.#typed) {
      return { text: "To the directory that the shell is in, by this command:", preview, yes: "Type it" };
    }
    if (Date.now() - this.#typed < ANSWER_MS) return { text: "Waiting for trz." };
    return { text: ABSENT, preview, yes: "Type it again" };
  }

  #fill({ title, text, preview = "", no, yes = "", bar = false }) {
    const write = (selector, words) => {
      const element = $(selector, this.#box);
      element.hidden = !words;
      if (element.textContent !== words) element.textContent = words;
    };
    write("b", title);
    write("span", text);
    write("code", preview);
    write("[data-do=no]", no);
    write("[data-do=yes]", yes);
    $("progress", this.#box).hidden = !bar;
    this.#box.hidden = false;
  }
}

/** What stands before the cursor, in its line. */
function lineBefore({ buffer: { active } }) {
  let at = active.baseY + active.cursorY;
  let text = active.getLine(at).translateToString(false, 0, active.cursorX);
  while (active.getLine(at).isWrapped && text.length < LONGEST_LINE) {
    text = active.getLine((at -= 1)).translateToString() + text;
  }
  return text.length > LONGEST_LINE ? `…${text.slice(1 - LONGEST_LINE)}` : text;
}

/** Have the browser ask whether the page is to be left. Only while it matters: it costs a quick way back. */
const refuseToLeave = (event) => event.preventDefault();

function save({ name, parts }) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const sum = (files) => files.reduce((size, file) => size + file.size, 0);

const named = (files) => (files.length === 1 ? plain(files[0].name, 60) : `${files.length} files`);

function bytes(size) {
  if (size < 1000) return `${size} bytes`;
  const [unit, amount] = size < 1e6 ? ["kB", 1e3] : size < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  return `${(size / amount).toFixed(size < 1e5 ? 1 : size < 1e6 ? 0 : 1)} ${unit}`;
}
