// Text that a program or a server sent, made fit to stand beside our own: no controls, nothing that
// turns the direction of writing, not too long.

const UNFIT = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+/g;

export function plain(text, most = 200) {
  const fit = String(text).replace(UNFIT, " ").trim();
  return fit.length > most ? `${fit.slice(0, most - 1)}…` : fit;
}
