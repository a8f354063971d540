// What the page asks of trioet web (docs/web-protocol.md).

import { text, utf8 } from "../bytes.js";
import { Direction, SealedBox } from "../link/sealing.js";

export class Failed extends Error {
  constructor(status, { error, hint } = {}) {
    super(error || `the server answered ${status}`);
    this.status = status;
    this.hint = hint || "";
  }
}

async function ask(path, body) {
  const post = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(path, { cache: "no-store", ...(body && post) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Failed(response.status, answer);
  return answer;
}

export const config = () => ask("api/config");
export const login = (secret) => ask("api/login", secret);
export const newSession = (words) => ask("api/session", { arguments: words });

/**
 * Take a link to a shared session, which is good once: the server gets the ticket, and gives what
 * only the key opens, which it is not given.
 */
export async function takeShare({ ticket, key }) {
  const { sealed } = await ask("api/share", { ticket });
  const data = Uint8Array.from(atob(sealed), (char) => char.charCodeAt(0));
  return JSON.parse(text(new SealedBox(utf8(key), Direction.SERVER_TO_CLIENT).open(1, data)));
}

/** A WebSocket; the query is of use to who is in between. */
export function dial(query = "") {
  const url = new URL("ws", document.baseURI);
  url.search = query;
  url.protocol = url.protocol.replace("http", "ws");
  return new WebSocket(url, "trioet");
}

/** What the fragment says, which is taken out of the address and of the history. */
export function takeFragment() {
  const said = new URLSearchParams(location.hash.slice(1));
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  const [id, passkey] = (said.get("session") ?? "").split("/");
  const [ticket, key] = (said.get("share") ?? "").split("/");
  return {
    token: said.get("token"),
    session: passkey?.length === 32 ? { id, passkey } : null,
    share: key?.length === 32 ? { ticket, key } : null,
  };
}
