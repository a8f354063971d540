"""trioet as it is when it is installed, for tests that run it from its source tree."""

from __future__ import annotations

import tomllib
from pathlib import Path

import trioet

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def describe(place: Path) -> Path:
    """Write into ``place`` what an installer would, so that it is found on sys.path."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    needs = "".join(f"Requires-Dist: {each}\n" for each in project["dependencies"])
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
