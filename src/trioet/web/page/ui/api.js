// What the page asks of trioet web (docs/web-protocol.md).

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

export function dial() {
  const url = new URL("ws", document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  return new WebSocket(url, "trioet");
}

/** What the fragment says, which is taken out of the address and of the history. */
export function takeFragment() {
  const said = new URLSearchParams(location.hash.slice(1));
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  const [id, passkey] = (said.get("session") ?? "").split("/");
  return { token: said.get("token"), session: passkey?.length === 32 ? { id, passkey } : null };
}
