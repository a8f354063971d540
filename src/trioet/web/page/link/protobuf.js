// The little of protobuf that the messages of a link need: varints and length-delimited fields.
// No number in them is above 2^53.

import { concat, utf8 } from "../bytes.js";
import { PeerError } from "./errors.js";

const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

const MAX_VARINT_BYTES = 10;

export function varint(value) {
  const out = [];
  while (value > 0x7f) {
    out.push((value % 0x80) | 0x80);
    value = Math.floor(value / 0x80);
  }
  out.push(value);
  return Uint8Array.from(out);
}

export const numberField = (field, value) => concat(varint(field * 8 + VARINT), varint(value));

export const bytesField = (field, value) =>
  concat(varint(field * 8 + DELIMITED), varint(value.length), value);

export const textField = (field, value) => bytesField(field, utf8(value));

/** A varint at `at`: its value and where it ends; null where it is cut off. */
export function readVarint(data, at) {
  let value = 0;
  for (let index = 0; index < MAX_VARINT_BYTES; index++) {
    const byte = data[at + index];
    if (byte === undefined) return null;
    value += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return { value, end: at + index + 1 };
  }
  throw new PeerError("a varint that does not end");
}

/**
 * The fields of a message, in the order in which they came: [number, value], a value being a
 * number, or bytes. Throws PeerError for what is no message.
 */
export function readFields(data) {
  const fields = [];
  let at = 0;
  const next = () => {
    const found = readVarint(data, at);
    if (found === null) throw new PeerError("a message that is cut off");
    at = found.end;
    return found.value;
  };
  while (at < data.length) {
    const tag = next();
    const kind = tag % 8;
    let value;
    if (kind === VARINT) {
      value = next();
    } else {
      const size = { [FIXED64]: 8, [FIXED32]: 4 }[kind] ?? (kind === DELIMITED ? next() : NaN);
      if (!(at + size <= data.length)) throw new PeerError("a field that runs over the end");
      value = data.subarray(at, at + size);
      at += size;
    }
    fields.push([Math.floor(tag / 8), value]);
  }
  return fields;
}

/** The last value of each field, as protobuf has it: what comes last holds. */
export const lastFields = (data) => new Map(readFields(data));
