// Where one frame stops and the next begins, and the opening of a connection.
//
// A connection begins with messages in clear, each after its length as 64 bits, little-endian;
// then packets, each after its length as 32 bits, big-endian (Eternal Terminal specification 1.1,
// 1.4, 1.5, 1.8). How the bytes were sliced on arrival changes nothing.

import { concat, Incoming } from "../bytes.js";
import { PeerError } from "./errors.js";
import { readConnectResponse, readSequenceHeader, Status } from "./messages.js";
import { readVarint, varint } from "./protobuf.js";

export const MAX_HANDSHAKE_FRAME = 4096;
export const MAX_CATCHUP = 128 * 1024 * 1024;
export const MIN_PACKET = 2 + 16; // flag, type and the tag of an empty payload
export const MAX_PACKET = 4 * 1024 * 1024;

const HANDSHAKE_LENGTH = 8;
const PACKET_LENGTH = 4;
const CATCHUP_ENTRY = 0x0a;
const MAX_ENTRY_HEAD = 6;

function handshakeLength(size) {
  const data = new Uint8Array(HANDSHAKE_LENGTH);
  new DataView(data.buffer).setBigUint64(0, BigInt(size), true);
  return data;
}

export const handshakeFrame = (body) => concat(handshakeLength(body.length), body);

export function packetFrame(body) {
  const length = new Uint8Array(PACKET_LENGTH);
  new DataView(length.buffer).setUint32(0, body.length);
  return concat(length, body);
}

export const catchupEntry = (body) => concat([CATCHUP_ENTRY], varint(body.length), body);

/** The length of a CatchupBuffer with these bodies; its entries follow. */
export function catchupHead(bodies) {
  return handshakeLength(
    bodies.reduce((size, body) => size + 1 + varint(body.length).length + body.length, 0),
  );
}

function view(data) {
  return new DataView(data.buffer, data.byteOffset, data.length);
}

/**
 * What a client reads, as events: {response}, {peerReceived}, {missed: body}, {caughtUp: true},
 * and after that {body}, a packet each. Throws PeerError; the line is beyond repair then.
 */
export class ClientReader {
  #incoming = new Incoming();
  #next = this.#response;
  #catchupLeft = null;

  feed(data, take) {
    this.#incoming.push(data);
    for (let event = this.#next(); event !== null; event = this.#next()) take(event);
  }

  #response() {
    const body = this.#handshakeMessage();
    if (body === null) return null;
    const response = readConnectResponse(body);
    this.#next = {
      [Status.NEW_CLIENT]: this.#packet,
      [Status.RETURNING_CLIENT]: this.#sequence,
    }[response.status] ?? this.#nothing;
    return { response };
  }

  #nothing() {
    return null;
  }

  #sequence() {
    const body = this.#handshakeMessage();
    if (body === null) return null;
    this.#next = this.#catchup;
    return { peerReceived: readSequenceHeader(body) };
  }

  // Entry by entry: each that arrived before the line broke need not come again.
  #catchup() {
    if (this.#catchupLeft === null) {
      if (this.#incoming.length < HANDSHAKE_LENGTH) return null;
      this.#catchupLeft = this.#announced(MAX_CATCHUP);
      this.#incoming.drop(HANDSHAKE_LENGTH);
    }
    if (this.#catchupLeft === 0) {
      this.#next = this.#packet;
      return { caughtUp: true };
    }
    const head = this.#incoming.peek(MAX_ENTRY_HEAD);
    if (head.length === 0) return null;
    if (head[0] !== CATCHUP_ENTRY) throw new PeerError("a CatchupBuffer with something else in it");
    const size = readVarint(head, 1);
    if (size === null) {
      if (head.length === MAX_ENTRY_HEAD) throw new PeerError("an entry without a length");
      return null;
    }
    checkSize(size.value);
    if (size.end + size.value > this.#catchupLeft) throw new PeerError("an entry over the end");
    if (this.#incoming.length < size.end + size.value) return null;
    this.#incoming.drop(size.end);
    this.#catchupLeft -= size.end + size.value;
    return { missed: this.#incoming.take(size.value) };
  }

  #packet() {
    if (this.#incoming.length < PACKET_LENGTH) return null;
    const size = view(this.#incoming.peek(PACKET_LENGTH)).getUint32(0);
    checkSize(size);
    if (this.#incoming.length < PACKET_LENGTH + size) return null;
    this.#incoming.drop(PACKET_LENGTH);
    return { body: this.#incoming.take(size) };
  }

  #handshakeMessage() {
    if (this.#incoming.length < HANDSHAKE_LENGTH) return null;
    const size = this.#announced(MAX_HANDSHAKE_FRAME);
    if (this.#incoming.length < HANDSHAKE_LENGTH + size) return null;
    this.#incoming.drop(HANDSHAKE_LENGTH);
    return this.#incoming.take(size);
  }

  #announced(limit) {
    const size = view(this.#incoming.peek(HANDSHAKE_LENGTH)).getBigInt64(0, true);
    if (size < 0n || size > BigInt(limit)) throw new PeerError(`a message of ${size} bytes announced`);
    return Number(size);
  }
}

function checkSize(size) {
  if (size < MIN_PACKET || size > MAX_PACKET) throw new PeerError(`a packet of ${size} bytes announced`);
}
