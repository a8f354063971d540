"""Build the page of ``trioet web`` into wheel and sdist, by npm.

Where npm is missing, or cannot fetch what the lock file names, the build goes on without the
page, and ``trioet web`` says what to do. An sdist has the built page, so that a wheel made of it
needs no npm. With TRIOET_PAGE=needed in the environment a build without it fails.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = "src/trioet/web/page"
STATIC = "src/trioet/web/static"
STAMP = "built-from"
"""A file beside the page, with a hash of what it was built from."""


class PageBuildHook(BuildHookInterface[Any]):
    """Build the page, unless it is there already, of the same sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        page, static = Path(self.root, PAGE), Path(self.root, STATIC)
        sources = hash_of(page)
        stamp = static / STAMP
        if not (stamp.is_file() and stamp.read_text() == sources):
            failure = build(page, static)
            if failure:
                shutil.rmtree(static, ignore_errors=True)
                if os.environ.get("TRIOET_PAGE") == "needed":
                    raise RuntimeError(f"the page was not built: {failure}")
                self.app.display_warning(f"built without the page of trioet web: {failure}")
                return
            stamp.write_text(sources)
        build_data["artifacts"].append(f"/{STATIC}/**")


def hash_of(page: Path) -> str:
    """A hash of all files that the page is built from."""
    digest = hashlib.sha256()
    for path in sorted(page.rglob("*")):
        if path.is_file() and "node_modules" not in path.parts:
            digest.update(f"{path.relative_to(page)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def build(page: Path, static: Path) -> str:
    """Build; say what went wrong, or nothing."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        return "npm is not installed"
    for command in ([npm, "ci"], [node, "build.mjs", str(static)]):
        done = subprocess.run(
            command, cwd=page, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            return f"{Path(command[0]).name} {command[1]}: {lines[-1] if lines else 'failed'}"
    return ""
