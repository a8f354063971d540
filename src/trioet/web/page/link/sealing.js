// Sealing and opening: XSalsa20-Poly1305 under a counting nonce (libsodium's secretbox).
//
// The key is the 32 ASCII bytes of the passkey. The nonce of a packet is its ordinal, little-
// endian, with the direction in its last byte (Eternal Terminal specification 1.6).

import { xsalsa20poly1305 } from "@noble/ciphers/salsa.js";

import { PeerError } from "./errors.js";

export const KEY_SIZE = 32;
export const TAG_SIZE = 16;

const NONCE_SIZE = 24;

export const Direction = { CLIENT_TO_SERVER: 0, SERVER_TO_CLIENT: 1 };

/** One direction of a session. The same ordinal must never be sealed twice. */
export class SealedBox {
  #key;
  #direction;

  constructor(key, direction) {
    if (key.length !== KEY_SIZE) throw new RangeError(`a passkey has ${KEY_SIZE} bytes`);
    this.#key = key;
    this.#direction = direction;
  }

  seal(ordinal, payload) {
    return xsalsa20poly1305(this.#key, this.#nonce(ordinal)).encrypt(payload);
  }

  open(ordinal, sealed) {
    try {
      return xsalsa20poly1305(this.#key, this.#nonce(ordinal)).decrypt(sealed);
    } catch {
      throw new PeerError(`packet ${ordinal} does not open under the session's key`);
    }
  }

  #nonce(ordinal) {
    const nonce = new Uint8Array(NONCE_SIZE);
    new DataView(nonce.buffer).setBigUint64(0, BigInt(ordinal), true);
    nonce[NONCE_SIZE - 1] = this.#direction;
    return nonce;
  }
}
