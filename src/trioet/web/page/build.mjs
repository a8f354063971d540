// Build the page: `node build.mjs DIRECTORY`. hatch_build.py at the top calls this.

import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

import * as esbuild from "esbuild";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const out = path.resolve(process.argv[2] ?? path.join(HERE, "../static"));

fs.rmSync(out, { recursive: true, force: true });
fs.mkdirSync(out, { recursive: true });

const { metafile } = await esbuild.build({
  absWorkingDir: HERE,
  entryPoints: { page: "page.js" },
  bundle: true,
  external: ["child_process", "fs", "path", "util"], // of Node, where trzsz runs too
  minify: true,
  format: "esm",
  target: ["chrome110", "firefox115", "safari16.4"],
  charset: "utf8",
  legalComments: "none", // licenses.txt has them whole
  metafile: true,
  outdir: out,
});

for (const name of ["index.html", "icon.svg"]) {
  fs.copyFileSync(path.join(HERE, name), path.join(out, name));
}

// What trzsz was built with, and has in it without their licenses.
const WITHIN = { trzsz: ["base64-js", "pako", "ts-md5"] };

const packages = new Set(
  Object.keys(metafile.inputs)
    .map((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1])
    .filter(Boolean)
    .flatMap((name) => [name, ...(WITHIN[name] ?? [])]),
);
const licenses = [...packages].sort().map((name) => {
  const root = path.join(HERE, "node_modules", name);
  const file = fs.readdirSync(root).find((entry) => /^licen[sc]e/i.test(entry));
  const { version, license } = JSON.parse(fs.readFileSync(path.join(root, "package.json")));
  const text = file ? fs.readFileSync(path.join(root, file), "utf8") : `${license}\n`;
  return `${name} ${version}\n\n${text.trim()}\n`;
});
fs.writeFileSync(path.join(out, "licenses.txt"), licenses.join(`\n${"-".repeat(78)}\n\n`));
