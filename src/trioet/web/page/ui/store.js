// What outlives a reload: the session's key and counts, and the screen, in sessionStorage.
//
// It lies there only while no page runs, and whoever finds it takes it away: a tab that was
// duplicated must not go on with the same counts, for they are the nonces.

const KEY = `trioet:${location.pathname}`;

const BYTES = "bytes:"; // before base64, in a JSON text

function encode(data) {
  let text = "";
  for (let at = 0; at < data.length; at += 8192) {
    text += String.fromCharCode(...data.subarray(at, at + 8192));
  }
  return BYTES + btoa(text);
}

const pack = (value) =>
  JSON.stringify(value, (_, item) => (item instanceof Uint8Array ? encode(item) : item));

const unpack = (text) =>
  JSON.parse(text, (_, item) =>
    typeof item === "string" && item.startsWith(BYTES)
      ? Uint8Array.from(atob(item.slice(BYTES.length)), (char) => char.charCodeAt(0))
      : item,
  );

/** Keep the session, and of these screens (a function each) the first for which there is room. */
export function putAway(session, screens) {
  for (const screen of screens) {
    try {
      sessionStorage.setItem(KEY, pack({ session, screen: `screen:${screen()}` }));
      return;
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
    }
  }
}

/** Take what was put away; null if nothing was. */
export function takeBack() {
  const text = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  if (text === null) return null;
  const { session, screen } = unpack(text);
  return { session, screen: screen.slice("screen:".length) };
}
