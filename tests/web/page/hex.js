// Bytes as tests write them.

export const hex = (data) => Buffer.from(data).toString("hex");

export const bytes = (text) => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));
