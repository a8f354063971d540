// What the page's modules use of the document.

export const $ = (selector, within = document) => within.querySelector(selector);

/** A line of text with, perhaps, a button. */
export class Message {
  #box;
  #text;
  #button;
  #timer = null;

  constructor(selector) {
    this.#box = $(selector);
    this.#text = $("span", this.#box);
    this.#button = $("button", this.#box);
  }

  get shown() {
    return !this.#box.hidden;
  }

  /** `action` is [label, what it does]. It goes by itself after `seconds`, if they are given. */
  show(text, { kind = "", action = null, seconds = 0 } = {}) {
    clearTimeout(this.#timer);
    if (this.#text.textContent !== text) this.#text.textContent = text;
    this.#box.className = kind;
    this.#button.hidden = action === null;
    if (action) {
      this.#button.textContent = action[0];
      this.#button.onclick = () => action[1]();
    }
    this.#box.hidden = false;
    if (seconds) this.#timer = setTimeout(() => this.hide(), 1000 * seconds);
  }

  hide() {
    clearTimeout(this.#timer);
    this.#box.hidden = true;
  }
}
