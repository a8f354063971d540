// The messages of the link that a browser speaks (docs/protocol.md; proto/ has the fields).
// Text is bytes in them; what is not UTF-8 is shown as replacement characters.

import { concat, text } from "../bytes.js";
import { PeerError } from "./errors.js";
import { bytesField, lastFields, numberField, readFields, readVarint, textField } from "./protobuf.js";

export const PROTOCOL_VERSION = 6;

export const Status = { NEW_CLIENT: 1, RETURNING_CLIENT: 2, INVALID_KEY: 3, MISMATCHED_PROTOCOL: 4 };

export const Type = {
  KEEP_ALIVE: 0,
  TERMINAL_BUFFER: 1,
  TERMINAL_INFO: 2,
  SESSION_OVER: 64,
  STDERR: 65,
  CHANNEL: 67,
  SIZE: 69,
  NOTICE: 70,
  INITIAL_RESPONSE: 252,
  INITIAL_PAYLOAD: 253,
};

export const LEFT = "left"; // the reason of a SESSION_OVER that a client sends

const CREDIT = 0x27; // kind of a CHANNEL message
const TERMINAL = 0n; // in place of a channel's number
const OFFER = 1000; // field of InitialPayload, and of InitialResponse what came of it
const STDERR_MARK = 0x45;
const SIZE_MARK = 0x57;
const NOTICE_MARK = 0x4e;

const numberOf = (value, fallback) => (typeof value === "number" ? value : fallback);
const textOf = (value) => (value instanceof Uint8Array ? text(value) : "");

export const connectRequest = (id) =>
  concat(textField(1, id), numberField(2, PROTOCOL_VERSION));

export function readConnectResponse(data) {
  const fields = lastFields(data);
  const status = numberOf(fields.get(1), 0);
  if (!Object.values(Status).includes(status)) throw new PeerError("an answer without a status");
  return { status, text: textOf(fields.get(2)) };
}

export const sequenceHeader = (count) => numberField(1, count);

export function readSequenceHeader(data) {
  const count = numberOf(lastFields(data).get(1), 0);
  if (count >= 2 ** 31) throw new PeerError("a negative sequence number");
  return count;
}

/** What the session is to be: its features, and a terminal (the rest is fixed in the keeper). */
export function initialPayload(features) {
  const exec = bytesField(2, numberField(2, 1));
  const offer = concat(...features.map((name) => textField(1, name)), exec);
  return concat(numberField(1, 0), bytesField(OFFER, offer));
}

export function readInitialResponse(data) {
  const fields = lastFields(data);
  const accepted = fields.get(OFFER);
  const taken = accepted instanceof Uint8Array ? readFields(accepted) : [];
  return {
    error: textOf(fields.get(1)),
    features: taken.filter(([field]) => field === 1).map(([, name]) => textOf(name)),
    version: textOf(taken.find(([field]) => field === 2)?.[1]),
  };
}

export const terminalBuffer = (data) => bytesField(1, data);

/**
 * The bytes that were printed. A packet's type travels unsealed, and no other message may pass
 * for this one: so it must be this field and nothing else.
 */
export function readTerminalBuffer(payload) {
  const size = payload[0] === 0x0a ? readVarint(payload, 1) : null;
  if (size === null || size.end + size.value !== payload.length) {
    throw new PeerError("a TERMINAL_BUFFER with something else in it");
  }
  return payload.subarray(size.end);
}

export function readStderr(payload) {
  if (payload[0] !== STDERR_MARK) throw new PeerError("a STDERR without its mark");
  return payload.subarray(1);
}

/** A line for the user that no program wrote. */
export function readNotice(payload) {
  if (payload[0] !== NOTICE_MARK) throw new PeerError("a NOTICE without its mark");
  return text(payload.subarray(1));
}

/** The size of the terminal at which we only look on. */
export function readSize(payload) {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  if (payload.length !== 5 || payload[0] !== SIZE_MARK) throw new PeerError("a SIZE that is none");
  const size = { rows: view.getUint16(1), columns: view.getUint16(3) };
  if (!(size.rows > 0 && size.columns > 0)) throw new PeerError("a terminal without a size");
  return size;
}

export const terminalInfo = ({ rows, columns, width = 0, height = 0 }) =>
  concat(numberField(2, rows), numberField(3, columns), numberField(4, width), numberField(5, height));

export const left = () => textField(3, LEFT);

/** How a session ended: exit status, or signal, or the reason for which there is neither. */
export function readSessionOver(data) {
  const fields = lastFields(data);
  const over = {
    status: numberOf(fields.get(1), null),
    signal: numberOf(fields.get(2), null),
    reason: textOf(fields.get(3)),
  };
  if (over.status === null && over.signal === null && !over.reason) {
    throw new PeerError("a SESSION_OVER that does not say how"); // or of another type once
  }
  return over;
}

/** The payload of a KEEP_ALIVE that acknowledges so many packets: 8 bytes, big-endian. */
export function count(packets) {
  const data = new Uint8Array(8);
  new DataView(data.buffer).setBigUint64(0, BigInt(packets));
  return data;
}

/** The count in a KEEP_ALIVE; null where there is none. */
export function readCount(payload) {
  if (payload.length === 0) return null;
  if (payload.length !== 8) throw new PeerError(`a KEEP_ALIVE with ${payload.length} bytes`);
  return Number(new DataView(payload.buffer, payload.byteOffset, 8).getBigUint64(0));
}

/** So many bytes more may come from, or go to, the terminal. */
export function credit(amount) {
  const data = new Uint8Array(17);
  const view = new DataView(data.buffer);
  view.setUint8(0, CREDIT);
  view.setBigUint64(1, TERMINAL);
  view.setBigUint64(9, BigInt(amount));
  return data;
}

/** The credit in a CHANNEL packet: the only one that a client without tunnels is sent. */
export function readCredit(payload) {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  if (payload.length !== 17 || payload[0] !== CREDIT || view.getBigUint64(1) !== TERMINAL) {
    throw new PeerError("a CHANNEL that was not asked for");
  }
  return Number(view.getBigUint64(9));
}

