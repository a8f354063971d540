"""The doctor's report: aligned lines for people, one object for programs."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Final, TextIO

from trioet import __version__
from trioet.doctor.finding import Finding, Outcome

NAMES: Final = {
    "ssh": "ssh",
    "config": "ssh config",
    "name": "name",
    "srv": "SRV records",
    "login": "ssh login",
    "shell": "login shell",
    "program": "program",
    "version": "version",
    "runtime": "runtime dir",
    "linger": "linger",
    "keeper": "keeper",
    "router": "router",
    "relay": "relay",
    "next": "next hop",
    "port": "port",
    "mtu": "path MTU",
    "clock": "clock",
    "terminfo": "terminfo",
    "agent": "agent",
}
"""What people read for each step. The keys are those of ``--json``."""

MARKS: Final = {
    Outcome.WELL: ("✓", "+", "32"),
    Outcome.WORTH_KNOWING: ("!", "!", "33"),
    Outcome.FAILED: ("✗", "x", "31"),
    Outcome.SKIPPED: ("-", "-", "2"),
}
"""With UTF-8, without, and the colour (ECMA-48, 8.3.117)."""

WIDTH: Final = max(map(len, NAMES.values()))
INDENT: Final = 2 + WIDTH + 2 + 7 + 2
NARROWEST: Final = 60
WIDEST: Final = 110


class Report:
    """Prints findings as they come. Lines of steps that were skipped together are one."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._unicode = "utf" in (out.encoding or "").lower() and speaks_utf8(os.environ)
        self._colours = out.isatty() and not os.environ.get("NO_COLOR")
        columns = shutil.get_terminal_size().columns if out.isatty() else WIDEST
        self._columns = min(max(columns, NARROWEST), WIDEST)
        self._skipped: list[Finding] = []

    def add(self, finding: Finding) -> None:
        """Print it, unless it belongs to a line that may still grow."""
        if self._skipped and _reason(finding) != _reason(self._skipped[0]):
            self._flush()
        if finding.outcome is Outcome.SKIPPED:
            self._skipped.append(finding)
        else:
            self._flush()
            took = f"{1000 * finding.took_s:,.0f} ms"
            self._line(finding, NAMES[finding.step], _reason(finding), took)

    def end(self, findings: Sequence[Finding]) -> None:
        """Print what it all comes to."""
        self._flush()
        failed, odd = (
            ", ".join(dict.fromkeys(_name(item) for item in findings if item.outcome is kind))
            for kind in (Outcome.FAILED, Outcome.WORTH_KNOWING)
        )
        if failed:
            self._print(f"\nTo mend: {failed}.")
        elif odd:
            self._print(f"\nAll is well. Worth knowing: {odd}.")
        else:
            self._print("\nAll is well.")

    def _flush(self) -> None:
        skipped, self._skipped = self._skipped, []
        if skipped:
            names = ", ".join(NAMES[item.step] for item in skipped)
            self._line(skipped[0], "skipped", f"{_reason(skipped[0])}: {names}", "")

    def _line(self, finding: Finding, name: str, what: str, took: str) -> None:
        pretty, plain, colour = MARKS[finding.outcome]
        mark = pretty if self._unicode else plain
        head = f"{self._coloured(mark, colour)} {name:<{WIDTH}}  {took:>7}  "
        self._print(head + self._wrapped(what))
        if finding.fix:
            self._print(" " * INDENT + self._wrapped(finding.fix))
        if finding.command:
            # In one piece, for what was taken apart cannot be copied.
            command = f"$ {finding.command}"
            fits = INDENT + len(command) <= self._columns
            self._print(" " * (INDENT if fits else 4) + self._coloured(command, "1"))

    def _wrapped(self, text: str) -> str:
        """Fit into the room beside the head."""
        room = self._columns - INDENT
        lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
        return f"\n{' ' * INDENT}".join(lines)

    def _coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text

    def _print(self, text: str) -> None:
        if not self._unicode:
            text = text.replace("…", "...").encode("ascii", "replace").decode()
        print(text, file=self._out, flush=True)


def _reason(finding: Finding) -> str:
    return f"{finding.hop}: {finding.what}" if finding.hop else finding.what


def _name(finding: Finding) -> str:
    name = NAMES[finding.step]
    return f"{name} of {finding.hop}" if finding.hop else name


def speaks_utf8(environment: Mapping[str, str]) -> bool:
    """Does the user's locale?"""
    chosen = (environment.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    name = next(filter(None, chosen), "")
    return name.lower().replace("-", "").endswith("utf8")


def as_json(host: str | None, findings: Sequence[Finding]) -> str:
    """All of it as one object; docs/manual.md tells the keys, which stay."""
    report = {
        "version": __version__,
        "host": host,
        "well": is_well(findings),
        "steps": [
            {
                "step": finding.step,
                "hop": finding.hop,
                "outcome": finding.outcome.value,
                "what": finding.what,
                "fix": finding.fix,
                "command": finding.command,
                "took_s": round(finding.took_s, 6),
                "facts": finding.facts,
            }
            for finding in findings
        ],
    }
    return json.dumps(report, indent=2)


def is_well(findings: Sequence[Finding]) -> bool:
    """Nothing failed."""
    return not any(finding.outcome is Outcome.FAILED for finding in findings)
