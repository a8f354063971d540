// What the user likes: from the address (?theme=nord&size=16), else from this browser's localStorage,
// else from the server's configuration, else from here.

import { AUTOMATIC, coloursOf, themeOf } from "./themes.js";

const KEY = "trioet:settings";

export const FONTS =
  'ui-monospace, "JetBrains Mono", "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace';

const oneOf = (...words) => (value) => (words.includes(value) ? value : undefined);

const number = (least, most) => (value) => {
  const found = Number(value);
  return value !== "" && found >= least && found <= most ? Math.round(found) : undefined;
};

const yes = (value) =>
  ({ true: true, 1: true, on: true, false: false, 0: false, off: false })[String(value)];

// A font goes into a style sheet: names, and what stands between them.
const font = (value) => (/^[\w\s,"'.-]{0,200}$/.test(value) ? value.trim() : undefined);

/** Name: what it is if nobody says, and what becomes of a word for it (undefined: no sense). */
export const SETTINGS = {
  theme: [AUTOMATIC, themeOf],
  font: ["", font],
  size: [14, number(6, 48)],
  cursor: ["block", oneOf("block", "bar", "underline")],
  blink: [true, yes],
  scrollback: [10_000, number(0, 100_000)],
  bell: ["flash", oneOf("flash", "sound", "off")],
  copy: [false, yes], // what is selected is copied at once
  keys: [matchMedia("(pointer: coarse)").matches, yes],
  bar: [true, yes],
  reader: [false, yes], // for a screen reader
  webgl: [true, yes],
};

const ALSO = {
  size: "font_size",
  font: "font_family",
  cursor: "cursor_style",
  blink: "cursor_blink",
  scrollback: "scrollback_lines",
  webgl: "enable_webgl",
}; // GoTTY's names

function sensible(words) {
  const found = {};
  for (const [name, [, read]] of Object.entries(SETTINGS)) {
    const word = words[name] ?? words[ALSO[name]];
    const value = word === undefined || word === null ? undefined : read(word);
    if (value !== undefined) found[name] = value;
  }
  return found;
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

export class Settings {
  #changed = [];
  #colours = {};
  #layers;

  constructor() {
    const fromAddress = Object.fromEntries(new URLSearchParams(location.search));
    const first = Object.fromEntries(
      Object.entries(SETTINGS).map(([name, [value]]) => [name, value]),
    );
    this.#layers = { first, server: {}, own: sensible(stored()), address: sensible(fromAddress) };
  }

  get all() {
    const { first, server, own, address } = this.#layers;
    // Colours of the operator's are his theme's: whoever chooses another has that as it is.
    const colours = own.theme ?? address.theme ? {} : this.#colours;
    return { ...first, ...server, ...own, ...address, colours };
  }

  onChange(changed) {
    this.#changed.push(changed);
  }

  fromServer(preferences) {
    this.#layers.server = sensible(preferences ?? {});
    this.#colours = coloursOf(preferences ?? {});
    this.#tell();
  }

  /** The user chose: that holds from now on, whatever the address says. */
  set(name, word) {
    const value = SETTINGS[name][1](word);
    if (value === undefined) return;
    delete this.#layers.address[name];
    this.#layers.own[name] = value;
    localStorage.setItem(KEY, JSON.stringify(this.#layers.own));
    this.#tell();
  }

  reset() {
    this.#layers.own = {};
    this.#layers.address = {};
    localStorage.removeItem(KEY);
    this.#tell();
  }

  #tell() {
    for (const changed of this.#changed) changed(this.all);
  }
}
