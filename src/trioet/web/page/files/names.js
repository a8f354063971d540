// Names of files, made fit for a directory and for a terminal that shows them.

import { plain } from "../ui/plain.js";

const SEPARATORS = /[/\\]/g;

const MOST_BYTES = 200; // a directory takes 255; the far side may add to it what makes it unique

/**
 * A name that leads nowhere else, is no option, and shows itself: without separators, controls, and
 * what turns the direction of writing.
 */
export function inert(name) {
  let fit = plain(name, Infinity).replace(SEPARATORS, "_").replace(/^-/, "_");
  if (/^\.{0,2}$/.test(fit)) fit = `file${fit.replaceAll(".", "_")}`;
  const [stem, ending] = split(fit);
  const room = MOST_BYTES - size(ending);
  return cut(stem, room) + ending;
}

/** The name, and its ending where it has a usual one. */
function split(name) {
  const found = /^(.+?)((?:\.[^. ]{1,12}){1,2})$/u.exec(name);
  return found ? found.slice(1) : [name, ""];
}

const size = (text) => new TextEncoder().encode(text).length;

/** As many characters as fit into so many bytes of UTF-8. */
function cut(text, most) {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(most));
  return text.slice(0, read);
}
