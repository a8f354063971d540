// The bar of keys that a phone's keyboard has not. Ctrl and Alt hold for the next key.

import { $ } from "./dom.js";

const PLAIN = { Esc: "\x1b", Tab: "\t", "/": "/", "|": "|", "-": "-", "~": "~" };

const CURSOR = { "←": "D", "↓": "B", "↑": "A", "→": "C", Home: "H", End: "F" };

const TILDE = { PgUp: "5", PgDn: "6" };

const ORDER = [
  "Esc", "Tab", "Ctrl", "Alt", "←", "↓", "↑", "→", "|", "/", "-", "~", "Home", "End", "PgUp", "PgDn",
];

const NAMES = { "←": "Left", "↓": "Down", "↑": "Up", "→": "Right" };

const REPEAT_AFTER_MS = 400;
const REPEAT_EVERY_MS = 60;

export class KeysBar {
  #bar = $("#keys");
  #held = { Ctrl: false, Alt: false };
  #terminal;
  #type;
  #repeat = null;

  constructor(terminal, type) {
    this.#terminal = terminal;
    this.#type = type;
    for (const key of ORDER) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = key;
      button.dataset.key = key;
      if (NAMES[key]) button.setAttribute("aria-label", NAMES[key]);
      if (key in this.#held) button.setAttribute("aria-pressed", "false");
      this.#bar.append(button);
    }
    // The keyboard stays where it is: the button takes no focus.
    this.#bar.addEventListener("mousedown", (event) => event.preventDefault());
    this.#bar.addEventListener("click", ({ target }) => this.#press(target.dataset.key));
    this.#bar.addEventListener("pointerdown", ({ target }) => {
      if (!(target.dataset.key in CURSOR)) return;
      this.#repeat = setTimeout(() => {
        this.#repeat = setInterval(() => this.#press(target.dataset.key), REPEAT_EVERY_MS);
      }, REPEAT_AFTER_MS);
    });
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
      this.#bar.addEventListener(end, () => {
        clearTimeout(this.#repeat);
        clearInterval(this.#repeat);
      });
    }
  }

  set shown(shown) {
    this.#bar.hidden = !shown;
    const height = shown ? this.#bar.offsetHeight : 0;
    document.documentElement.style.setProperty("--keys-height", `${height}px`);
  }

  /** What was typed, with the keys that are held. */
  modify(text) {
    const { Ctrl, Alt } = this.#held;
    if (!Ctrl && !Alt) return text;
    this.#hold("Ctrl", false);
    this.#hold("Alt", false);
    return (Alt ? "\x1b" : "") + (Ctrl ? control(text) : text);
  }

  #press(key) {
    if (key === undefined) return;
    if (key in this.#held) {
      this.#hold(key, !this.#held[key]);
    } else if (key in CURSOR || key in TILDE) {
      this.#type(this.#sequence(key));
    } else {
      this.#type(this.modify(PLAIN[key]));
    }
    this.#terminal.focus();
  }

  #hold(key, held) {
    this.#held[key] = held;
    $(`[data-key=${key}]`, this.#bar).setAttribute("aria-pressed", String(held));
  }

  #sequence(key) {
    const { Ctrl, Alt } = this.#held;
    this.#hold("Ctrl", false);
    this.#hold("Alt", false);
    const modifier = 1 + (Alt ? 2 : 0) + (Ctrl ? 4 : 0);
    if (key in TILDE) return `\x1b[${TILDE[key]}${modifier > 1 ? `;${modifier}` : ""}~`;
    if (modifier > 1) return `\x1b[1;${modifier}${CURSOR[key]}`;
    return `\x1b${this.#terminal.modes.applicationCursorKeysMode ? "O" : "["}${CURSOR[key]}`;
  }
}

/** What Ctrl makes of a key, as a keyboard would. */
export function control(text) {
  const code = text.length === 1 ? text.toUpperCase().charCodeAt(0) : 0;
  if (text === " ") return "\0";
  if (text === "?") return "\x7f";
  return code >= 0x40 && code < 0x60 ? String.fromCharCode(code & 0x1f) : text;
}
