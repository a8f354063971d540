"""trioet as it is when it is installed, for tests that run it from its source tree."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trioet

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


FOR_A_SESSION: Final = ("trio", "pynacl", "protobuf")
"""What a host needs for sessions; asyncssh's cryptography is half of the files of all."""


def describe(place: Path, *, needed: Sequence[str] = ()) -> Path:
    """Write into ``place`` what an installer would, so that it is found on sys.path.

    It needs all that trioet does, or of that what is named.
    """
    project = tomllib.loads(PROJECT.read_text())["project"]
    names = {re.split(r"[^\w-]", each, maxsplit=1)[0]: each for each in project["dependencies"]}
    wanted = [names[name] for name in needed or names]
    needs = "".join(f"Requires-Dist: {each}\n" for each in wanted)
    programs = "".join(f"{name} = {at}\n" for name, at in project["scripts"].items())
    described = place / f"trioet-{trioet.__version__}.dist-info"
    described.mkdir(parents=True)
    head = f"Metadata-Version: 2.4\nName: trioet\nVersion: {trioet.__version__}\n"
    (described / "METADATA").write_text(head + needs)
    (described / "entry_points.txt").write_text(f"[console_scripts]\n{programs}")
    (described / "WHEEL").write_text(
        "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    return place
