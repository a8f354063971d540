// Fingers: a drag scrolls, for xterm.js does not do that itself; a long press selects a word, and all
// to where it is dragged then.

const HELD_MS = 500;
const MOVED_PX = 8; // a finger that lies still moves so much

/** `on.selected(text)` is called when the finger has gone. */
export class Touch {
  #terminal;
  #host;
  #on;
  #timer = null;
  #start = null; // the point where the one finger came down
  #last = 0; // the height up to which was scrolled
  #anchor = null; // [first, behind the last] cell of the word from which it is selected

  constructor(terminal, host, on) {
    this.#terminal = terminal;
    this.#host = host;
    this.#on = on;
    host.addEventListener("touchstart", (event) => this.#touched(event), { passive: true });
    host.addEventListener("touchmove", (event) => this.#moved(event), { passive: false });
    host.addEventListener("touchend", (event) => this.#left(event));
    host.addEventListener("touchcancel", () => this.#forget());
    host.addEventListener("contextmenu", (event) => {
      if (this.#start) event.preventDefault(); // what browsers do at a long press
    });
  }

  #forget() {
    clearTimeout(this.#timer);
    this.#start = this.#anchor = null;
  }

  #touched({ touches }) {
    this.#forget();
    if (touches.length !== 1) return; // two look closer
    const [{ clientX, clientY }] = touches;
    this.#start = { clientX, clientY };
    this.#last = clientY;
    this.#timer = setTimeout(() => this.#held(), HELD_MS);
  }

  #moved(event) {
    if (this.#start === null || event.touches.length !== 1) return this.#forget();
    const [point] = event.touches;
    if (this.#anchor) {
      event.preventDefault();
      this.#extend(point);
      return;
    }
    const { clientX, clientY } = this.#start;
    if (Math.hypot(point.clientX - clientX, point.clientY - clientY) < MOVED_PX) return;
    clearTimeout(this.#timer);
    if (this.#host.classList.contains("following")) return; // the browser scrolls that
    event.preventDefault();
    this.#scroll(point);
  }

  #left(event) {
    const selected = this.#anchor && this.#terminal.getSelection();
    this.#forget();
    if (!selected) return;
    event.preventDefault(); // a click would take it away again
    this.#on.selected(selected);
  }

  #scroll({ clientX, clientY }) {
    const lines = Math.trunc((this.#last - clientY) / this.#cell.height);
    if (lines === 0) return;
    this.#last -= lines * this.#cell.height;
    const { buffer, modes } = this.#terminal;
    if (buffer.active.type === "normal" && modes.mouseTrackingMode === "none") {
      this.#terminal.scrollLines(lines);
      return;
    }
    const wheel = { deltaY: lines, deltaMode: WheelEvent.DOM_DELTA_LINE, clientX, clientY };
    this.#screen.dispatchEvent(new WheelEvent("wheel", { ...wheel, bubbles: true, cancelable: true }));
  }

  // Selecting

  #held() {
    const at = this.#cellAt(this.#start);
    const { cols } = this.#terminal;
    const row = Math.floor(at / cols);
    const line = this.#terminal.buffer.active.getLine(row);
    // The second half of a wide character has a width of 0, and belongs to it.
    const isPart = (column) => {
      const cell = line?.getCell(column);
      return cell !== undefined && (cell.getWidth() === 0 || cell.getChars().trim() !== "");
    };
    let [first, end] = [at % cols, (at % cols) + 1];
    if (isPart(first)) {
      while (first > 0 && isPart(first - 1)) first -= 1;
      while (end < cols && isPart(end)) end += 1;
    }
    this.#anchor = [row * cols + first, row * cols + end];
    this.#select(...this.#anchor);
    navigator.vibrate?.(10);
  }

  #extend(point) {
    const { height } = this.#cell;
    const { top, bottom } = this.#screen.getBoundingClientRect();
    if (point.clientY < top + height / 2) this.#terminal.scrollLines(-1);
    if (point.clientY > bottom - height / 2) this.#terminal.scrollLines(1);
    const at = this.#cellAt(point);
    this.#select(Math.min(this.#anchor[0], at), Math.max(this.#anchor[1], at + 1));
  }

  #select(first, end) {
    const { cols } = this.#terminal;
    this.#terminal.select(first % cols, Math.floor(first / cols), end - first);
  }

  // Places

  get #screen() {
    return this.#host.querySelector(".xterm-screen");
  }

  get #cell() {
    const { width, height } = this.#screen.getBoundingClientRect();
    return { width: width / this.#terminal.cols, height: height / this.#terminal.rows };
  }

  /** The cell at a point, counted from the first that is kept. */
  #cellAt({ clientX, clientY }) {
    const { cols, rows, buffer } = this.#terminal;
    const { left, top } = this.#screen.getBoundingClientRect();
    const { width, height } = this.#cell;
    const within = (most, number) => Math.min(most - 1, Math.max(0, Math.floor(number)));
    const row = buffer.active.viewportY + within(rows, (clientY - top) / height);
    return row * cols + within(cols, (clientX - left) / width);
  }
}
