// Where trz and tsz say that they have begun: a line of their own in a program's output.
//
// Source: TrzszFilter of trzsz.js, which finds it only where it lies in one piece.

const BEGINNING = "::TRZSZ:TRANSFER:";

const WHOLE = /::TRZSZ:TRANSFER:([SRD]):\d{1,4}\.\d{1,4}\.\d{1,4}(?::\d{1,20}){0,3}(?=[\r\n])/g;

const LONGEST = 128; // characters of such a line

export class Finder {
  #decoder = new TextDecoder("latin1");
  #tail = "";

  /** Take output; {line, sends} if it ends such a line, which `sends` files or takes them; or null. */
  feed(data) {
    const text = this.#tail + this.#decoder.decode(data);
    const found = text.includes(BEGINNING) ? [...text.matchAll(WHOLE)].at(-1) : undefined;
    // What has not ended begins in the last characters, or nowhere.
    this.#tail = (found ? text.slice(found.index + found[0].length) : text).slice(-LONGEST);
    return found ? { line: found[0], sends: found[1] === "S" } : null;
  }
}
