// What goes wrong with a peer.

/** The peer does not speak the protocol, or lacks the key: costs the line, never the session. */
export class PeerError extends Error {}

/** The server answered, and not with NEW_CLIENT or RETURNING_CLIENT. Anyone can write that. */
export class Refused extends Error {
  constructor(status, text) {
    super(text || "the server refused");
    this.status = status;
  }
}
