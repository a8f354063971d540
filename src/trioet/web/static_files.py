"""The files of the page: what the build has put into ``static/``, in memory."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BUILT: Final = Path(__file__).with_name("static")
"""Where the build puts them."""

MAX_FILE: Final = 8 * 1024 * 1024
MIN_GZIPPED: Final = 512
"""Bytes below which it saves nothing."""

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".wasm": "application/wasm",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served; other files, source maps among them, are not."""

NOT_BUILT: Final = b"""\
<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>trioet web</title>
<h1>The page is not there</h1>
<p>This trioet was installed without the page for browsers, which is built by npm. Install
trioet from a wheel that has it, or with npm on PATH:
<code>pip install --force-reinstall trioet</code>.
<p>GoTTY's and ttyd's clients can connect nevertheless.
</html>
"""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, as it is sent."""

    media_type: str
    data: bytes
    gzipped: bytes | None
    etag: str


def static_file(name: str, data: bytes) -> StaticFile:
    """A file with those contents."""
    packed = gzip.compress(data, mtime=0) if len(data) >= MIN_GZIPPED else data
    etag = '"' + hashlib.sha256(data).hexdigest()[:24] + '"'
    media_type = TYPES.get(Path(name).suffix, TYPES[".txt"])
    return StaticFile(media_type, data, packed if len(packed) < len(data) else None, etag)


def read_static_files(directory: Path = BUILT) -> dict[str, StaticFile]:
    """All files there by the path they are asked for; empty if the page was not built.

    They are read once: nothing that is asked for becomes a file's name.
    """
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.suffix in TYPES and path.is_file() and path.stat().st_size <= MAX_FILE:
            name = path.relative_to(directory).as_posix()
            found[name] = static_file(name, path.read_bytes())
    return found
