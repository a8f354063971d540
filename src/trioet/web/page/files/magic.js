// Where trz and tsz say that they have begun: a line of their own in a program's output.
//
// Source: TrzszFilter of trzsz.js, which finds it only where it lies in one piece.

const BEGINNING = "::TRZSZ:TRANSFER:";

// Its end, or what tmux has instead where it draws its screen anew.
const WHOLE = /::TRZSZ:TRANSFER:([SRD]):\d{1,4}\.\d{1,4}\.\d{1,4}((?::\d{1,20}){0,3})(?=[\r\n\x1b])/g;

const LONGEST = 128; // characters of such a line

export class Finder {
  #decoder = new TextDecoder("latin1");
  #tail = "";
  #last = "";

  /** Take output; {line, sends} if it ends such a line, which `sends` files or takes them; or null. */
  feed(data) {
    const text = this.#tail + this.#decoder.decode(data);
    const found = text.includes(BEGINNING) ? [...text.matchAll(WHOLE)].at(-1) : undefined;
    // What has not ended begins in the last characters, or nowhere.
    this.#tail = (found ? text.slice(found.index + found[0].length) : text).slice(-LONGEST);
    if (!found) return null;
    const isDrawnAgain = found[2] !== "" && found[0] === this.#last; // it has a number of its own
    this.#last = found[0];
    return isDrawnAgain ? null : { line: found[0], sends: found[1] === "S" };
  }
}
