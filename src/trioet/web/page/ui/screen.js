// The terminal: xterm.js, with what belongs to it.

import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { SerializeAddon } from "@xterm/addon-serialize";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { WebglAddon } from "@xterm/addon-webgl";
import { Terminal } from "@xterm/xterm";

import { concat } from "../bytes.js";
import { listenForCopies } from "./clipboard.js";
import { Ground } from "./ground.js";
import { FONTS } from "./settings.js";
import { themeNamed } from "./themes.js";
import { answerNothing } from "./viewing.js";

const LEAVE_ALTERNATE = "\x1b[?1049l";

const LEAVE_MODES =
  "\x1b[!p\x1b[?1l\x1b>\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?2004l\x1b[?25h";

const LINES_IF_LITTLE_ROOM = [undefined, 2000, 200, 0];

const SMALLEST = 5; // pixels of a font that somebody may still read

const SAFE_LINK = /^(https?|mailto):/i;

export class Screen {
  #host;
  #fit = new FitAddon();
  #serialize = new SerializeAddon();
  #webgl = null;
  #fixed = { columns: 0, rows: 0 };
  #ground = new Ground();
  #wished = 0; // size of the font that the user has chosen
  #following = false; // the size is somebody else's, and shown whole
  #unshown = []; // output that xterm.js has not taken yet

  /** `on` has typed(text), typedBytes(data), resized(), copied(text) and hovered(address). */
  constructor(host, on) {
    this.#host = host;
    this.on = on;
    const open = (_, address) => {
      if (SAFE_LINK.test(address)) window.open(address, "_blank", "noopener,noreferrer");
    };
    const links = { hover: (_, address) => on.hovered(address), leave: () => on.hovered("") };
    this.terminal = new Terminal({
      allowProposedApi: true, // unicode11, and search's marks
      macOptionIsMeta: true,
      linkHandler: { activate: open, ...links },
    });
    this.search = new SearchAddon();
    for (const addon of [
      this.#fit, this.#serialize, this.search, new Unicode11Addon(), new WebLinksAddon(open, links),
    ]) {
      this.terminal.loadAddon(addon);
    }
    this.terminal.unicode.activeVersion = "11";
    this.terminal.onData((text) => on.typed(text));
    this.terminal.onBinary((text) =>
      on.typedBytes(Uint8Array.from(text, (char) => char.charCodeAt(0))),
    );
    this.terminal.onResize(() => on.resized());
    listenForCopies(this.terminal, (text) => on.copied(text));
  }

  open() {
    this.terminal.open(this.#host);
    new ResizeObserver(() => this.fit()).observe(this.#host);
  }

  get size() {
    const { rows, cols, dimensions } = this.terminal;
    const canvas = dimensions?.css?.canvas ?? {};
    return {
      rows,
      columns: cols,
      width: Math.round(canvas.width ?? 0),
      height: Math.round(canvas.height ?? 0),
    };
  }

  /** Columns and rows that the server has fixed; 0: as many as fit. */
  fix(fixed) {
    this.#fixed = fixed;
    this.fit();
  }

  /** Show somebody else's terminal, of a size that will be told, and answer nothing for it. */
  look() {
    this.#following = true;
    this.#host.classList.add("following");
    answerNothing(this.terminal);
  }

  fit() {
    if (this.#following) this.#shrink();
    const fitting = this.#fit.proposeDimensions();
    if (!fitting || !(fitting.cols > 0)) return;
    this.terminal.resize(this.#fixed.columns || fitting.cols, this.#fixed.rows || fitting.rows);
  }

  /** A font in which all of it fits, where one can be read; else it scrolls. */
  #shrink() {
    const { options } = this.terminal;
    options.fontSize = this.#wished;
    const room = this.#fit.proposeDimensions();
    const { columns, rows } = this.#fixed;
    if (!(room?.cols > 0) || !columns) return;
    const part = Math.min(1, room.cols / columns, room.rows / rows);
    if (part < 1) options.fontSize = Math.max(SMALLEST, Math.floor(this.#wished * part));
  }

  set writable(writable) {
    this.terminal.options.disableStdin = !writable;
  }

  apply(settings) {
    const { options } = this.terminal;
    options.theme = themeNamed(settings.theme, settings.colours).colours;
    options.fontFamily = settings.font ? `${settings.font}, ${FONTS}` : FONTS;
    options.fontSize = this.#wished = settings.size;
    options.cursorStyle = settings.cursor;
    options.cursorBlink = settings.blink;
    options.scrollback = settings.scrollback;
    options.screenReaderMode = settings.reader;
    options.minimumContrastRatio = settings.reader || settings.theme === "contrast" ? 7 : 1;
    this.#render(settings.webgl && !settings.reader);
    this.fit();
  }

  #render(webgl) {
    if (!webgl) {
      this.#webgl?.dispose();
      this.#webgl = null;
    } else if (this.#webgl === null) {
      try {
        this.#webgl = new WebglAddon();
        this.#webgl.onContextLoss(() => this.#render(false));
        this.terminal.loadAddon(this.#webgl);
      } catch {
        this.#webgl = null; // xterm.js draws with elements then
      }
    }
  }

  /** Show output, and call back when xterm.js has taken it: it drops what comes too fast. */
  output(data, shown) {
    this.#unshown.push(data);
    this.terminal.write(data, () => {
      this.#unshown.shift();
      this.#ground.feed(data);
      shown();
    });
  }

  /** Call back when all that came is shown. */
  whenShown(then) {
    this.terminal.write("", then);
  }

  /** Leave whatever modes a program has left behind; what it wrote stays. */
  leaveModes() {
    const alternate = this.terminal.buffer.active.type === "alternate";
    this.terminal.write(`${alternate ? LEAVE_ALTERNATE : ""}${LEAVE_MODES}\r\n`);
  }

  // Kept while the page is loaded again

  save() {
    return {
      ...this.size,
      begun: this.#ground.tail,
      unshown: concat(...this.#unshown),
      alternate: this.terminal.buffer.active.type === "alternate",
    };
  }

  /** The screen with its scrollback as text, each time with less of that. */
  get drawings() {
    return LINES_IF_LITTLE_ROOM.map((scrollback) => () => this.#serialize.serialize({ scrollback }));
  }

  restore(drawing, { rows, columns, begun, unshown }, shown) {
    this.terminal.resize(columns, rows);
    this.terminal.write(drawing);
    this.terminal.write(begun, () => this.#ground.feed(begun));
    if (unshown.length) this.output(unshown, () => shown(unshown.length));
  }
}
