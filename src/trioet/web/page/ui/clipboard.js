// The clipboard: written by the user, and by programs (OSC 52) where the browser lets them. Programs
// never read it.

const MOST = 1024 * 1024; // characters of base64 in an OSC 52

/** Have OSC 52 call `offer(text)`. A question ("?") is not answered. */
export function listenForCopies(terminal, offer) {
  terminal.parser.registerOscHandler(52, (data) => {
    const [, encoded] = data.split(";");
    if (encoded && encoded !== "?" && encoded.length <= MOST) {
      try {
        const bytes = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
        offer(new TextDecoder().decode(bytes));
      } catch {
        // not base64: nobody's text
      }
    }
    return true;
  });
}

/** Copy; false if the browser wants the user to ask for it. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
