"""Files dropped on the page arrive where the shell is; a real Chromium, and a real trz."""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from browsing import SHELL, Visit, Wire
from fixtures_web import MakeVisit, MakeWeb
from page_files import skip_or_fail

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

DROP = """(files) => {
  const dataTransfer = new DataTransfer();
  for (const { name, text, size } of files) {
    const bytes = size ? Uint8Array.from({ length: size }, () => 256 * Math.random()) : text;
    dataTransfer.items.add(new File([bytes], name));
  }
  const how = { dataTransfer, bubbles: true, cancelable: true };
  document.querySelector("#terminal").dispatchEvent(new DragEvent("dragover", how));
  document.querySelector("#terminal").dispatchEvent(new DragEvent("drop", how));
}"""


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """The directory of the shell."""
    made = tmp_path / "where"
    made.mkdir()
    return made


@pytest.fixture
def shell(where: Path) -> tuple[str, ...]:
    """A shell that knows trz."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if shutil.which("trz", path=path) is None:
        skip_or_fail("needs trz: pip install trzsz-svr")
    return ("env", "-C", str(where), f"PATH={path}", *SHELL[1:])


@pytest.fixture
def seen(make_web: MakeWeb, visit: MakeVisit, shell: tuple[str, ...]) -> Visit:
    """A page with that shell."""
    opened = visit(make_web("-w", command=shell).port)
    opened.until_ready()
    return opened


def drop(seen: Visit, **files: str | int) -> None:
    """Drop files of these texts; or of random bytes, so many."""
    seen.page.evaluate(
        DROP,
        [
            {"name": name, "text" if isinstance(what, str) else "size": what}
            for name, what in files.items()
        ],
    )


def until_card(seen: Visit, text: str) -> None:
    """Wait until the card of files says that."""
    seen.until(
        "(text) => { const box = document.querySelector('#files');"
        " return !box.hidden && box.innerText.includes(text) }",
        text,
    )


def until_told(seen: Visit, text: str) -> None:
    seen.until("(text) => document.querySelector('#toast').textContent.includes(text)", text)


def press(seen: Visit, which: str) -> None:
    seen.page.click(f"#files [data-do={which}]")


def test_what_is_dropped_arrives_where_the_shell_is(seen: Visit, where: Path) -> None:
    drop(seen, **{"a note.txt": "grün\n", "empty": "", "noise.bin": 3_000_000})
    until_card(seen, "3 files, 3.0 MB")
    until_card(seen, "$ trz -t 600")
    press(seen, "yes")
    until_told(seen, "3 files have arrived")
    assert (where / "a note.txt").read_text() == "grün\n"
    assert (where / "empty").read_bytes() == b""
    assert (where / "noise.bin").stat().st_size == 3_000_000
    seen.until_shown("\nSaved 3 files")
    seen.run("echo still a shell")
