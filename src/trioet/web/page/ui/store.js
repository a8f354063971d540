// What outlives a reload: the session's key and counts, and the screen, in sessionStorage.
//
// It lies there only while no page runs, and whoever finds it takes it away: a tab that was
// duplicated must not go on with the same counts, for they are the nonces.

const FORMAT = 1; // another for whatever a page of another version could not read

const key = () => `trioet:${FORMAT}:${location.pathname}`;

const BYTES = "bytes in base64"; // the one key of an object that stands for bytes

function encode(data) {
  let text = "";
  for (let at = 0; at < data.length; at += 8192) {
    text += String.fromCharCode(...data.subarray(at, at + 8192));
  }
  return { [BYTES]: btoa(text) };
}

export const pack = (value) =>
  JSON.stringify(value, (_, item) => (item instanceof Uint8Array ? encode(item) : item));

export const unpack = (text) =>
  JSON.parse(text, (_, item) =>
    typeof item?.[BYTES] === "string"
      ? Uint8Array.from(atob(item[BYTES]), (char) => char.charCodeAt(0))
      : item,
  );

/** Keep the session, and of these screens (a function each) the first for which there is room. */
export function putAway(session, screens) {
  for (const screen of screens) {
    try {
      sessionStorage.setItem(key(), pack({ session, screen: screen() }));
      return;
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
    }
  }
}

/** Take what was put away; null if nothing was. */
export function takeBack() {
  const text = sessionStorage.getItem(key());
  sessionStorage.removeItem(key());
  return text === null ? null : unpack(text);
}
