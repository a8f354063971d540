"""The pages of the public API, made by pdoc of its docstrings: `python docs/api.py DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

import pdoc

import trioet

PUBLIC = ("trioet", "trioet.errors", "trioet.wire", "!trioet\\.wire\\.pb")


def main(directory: str) -> None:
    for name in trioet.__all__:
        getattr(trioet, name)  # imported when asked for; pdoc looks at what is there
    pdoc.pdoc(*PUBLIC, output_directory=Path(directory))


if __name__ == "__main__":
    main(sys.argv[1])
