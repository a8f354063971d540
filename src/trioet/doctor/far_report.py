"""What the far side prints when `trioet doctor` looks at it: start-up noise, then a report.

The report's lines begin with ``TRIOET-CHECK:``. ``begin`` is the first, ``end`` or a line of
JSON the last; between them are ``name=value``, told by the far `sh`. No I/O here: feed bytes
that a stranger may have written, and look.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from trioet.bootstrap.plain import plain

PREFIX: Final = b"TRIOET-CHECK:"
BEGIN: Final = re.compile(rb"\r?\nTRIOET-CHECK:begin\r?\n")
MAX_BEGIN: Final = len(b"\r\nTRIOET-CHECK:begin\r\n")

MAX_LINE: Final = 64 * 1024
"""Bytes in a line of the report; the rest of a longer one is passed over."""

MAX_TEXT: Final = 300
"""Characters of a far text that are kept."""

MAX_SHOWN: Final = 2048
"""Bytes of noise that are kept, for its last words."""

MAX_SAID: Final = 64
"""Facts of one name, and names, that a far `sh` may tell."""


@dataclass(frozen=True, slots=True)
class FarFacts:
    """What `trioet check` said (trioet.doctor.facts), each value of the kind it should be.

    A value of another kind is as one that is missing: None, or empty.
    """

    version: str = ""
    protocol: int | None = None
    python: str = ""
    user: str = ""
    agent: bool | None = None
    time: float | None = None
    took: Mapping[str, float] = field(default_factory=dict)
    runtime_path: str = ""
    runtime_exists: bool = False
    runtime_owner: int | None = None
    runtime_mode: str = ""
    runtime_problem: str = ""
    keeper_state: str = ""
    keeper_trouble: str = ""
    keeper_version: str = ""
    keeper_sessions: int | None = None
    keeper_ports: tuple[int, ...] = ()
    keeper_waits_for: str = ""
    """The socket of a router that the keeper has sessions with, and that is gone."""

    logind: bool | None = None
    kills: bool | None = None
    lingers: bool | None = None
    router_state: str = ""
    router_socket: str = ""
    router_port: int | None = None
    relaying: str = ""
    """Where that router lets relays lead: ``any``, ``some`` or ``none``; empty if not told."""

    reach_state: str = ""
    reach_words: str = ""
    reach_answer: str = ""
    """What came of another place that it was to reach, as :mod:`trioet.doctor.reach` tells it."""

    stand_in: int | None = None
    """The port of a stand-in that listens in the keeper's place."""

    no_port_free: bool = False
    """A stand-in was to listen, and found no port."""

    term: str = ""
    term_known: bool | None = None


def read_facts(fields: Mapping[str, Any]) -> FarFacts:
    """Take the answer of `trioet check` apart; passes over what makes no sense."""
    runtime, keeper = _part(fields, "runtime"), _part(fields, "keeper")
    linger, router = _part(fields, "linger"), _part(fields, "router")
    terminfo, reach = _part(fields, "terminfo"), _part(fields, "reach")
    ports, routers = _list(keeper.get("ports")), _list(keeper.get("routers"))
    away = [item for item in routers if isinstance(item, dict) and item.get("connected") is False]
    took = {name: _seconds(value) for name, value in _part(fields, "took").items()}
    return FarFacts(
        version=_text(fields.get("version")),
        protocol=_number(fields.get("protocol")),
        python=_text(fields.get("python")),
        user=_text(fields.get("user")),
        agent=_truth(fields.get("agent")),
        time=_seconds(fields.get("time")),
        took={name: seconds for name, seconds in took.items() if seconds is not None},
        runtime_path=_text(runtime.get("path")),
        runtime_exists=runtime.get("exists") is True,
        runtime_owner=_number(runtime.get("owner")),
        runtime_mode=_text(runtime.get("mode")),
        runtime_problem=_text(runtime.get("problem")),
        keeper_state=_text(keeper.get("state")),
        keeper_trouble=_text(keeper.get("trouble")),
        keeper_version=_text(keeper.get("version")),
        keeper_sessions=_number(keeper.get("sessions")),
        keeper_ports=tuple(port for item in ports if (port := _port(item))),
        keeper_waits_for=_text(away[0].get("socket")) if away else "",
        logind=_truth(linger.get("logind")),
        kills=_truth(linger.get("kills")),
        lingers=_truth(linger.get("lingers")),
        router_state=_text(router.get("state")),
        router_socket=_text(router.get("socket")),
        router_port=_port(router.get("port")),
        relaying=_text(router.get("relaying")),
        reach_state=_text(reach.get("state")),
        reach_words=_text(reach.get("words")),
        reach_answer=_text(reach.get("answer")),
        stand_in=_port(fields.get("stand_in")),
        no_port_free="stand_in" in fields and fields["stand_in"] is None,
        term=_text(terminfo.get("term")),
        term_known=_truth(terminfo.get("known")),
    )


@dataclass(frozen=True, slots=True)
class FarReport:
    """All that is known of the far side so far."""

    began: bool = False
    complete: bool = False
    noise: int = 0
    """Bytes that start-up files printed before the command ran."""

    last_words: str = ""
    """The end of that, fit to be shown."""

    said: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What the far `sh` told: every value of a name."""

    facts: FarFacts | None = None
    """What `trioet check` told, if it is there and knows how."""

    def one(self, name: str) -> str:
        """The only or first value that the far `sh` told by this name; empty if none."""
        return self.said.get(name, ("",))[0]


class FarReader:
    """Read the far side's output, however it is cut."""

    def __init__(self) -> None:
        self.report = FarReport()
        self._pending = b""
        self._noise = b""
        self._overlong = False

    def feed(self, data: bytes) -> None:
        """Take output; :attr:`report` tells what it came to. Never raises."""
        if not self.report.began:
            data = self._pass_noise(data)
        if self.report.began:
            self._read_lines(data)

    def _pass_noise(self, data: bytes) -> bytes:
        """Count noise; return what follows the beginning of the report."""
        held = self._pending + data
        found = BEGIN.search(held)
        end = found.start() if found else max(0, len(held) - MAX_BEGIN)
        # The noise's own last line end and ours are one: only ours is surely there.
        self._noise = (self._noise + held[:end])[-MAX_SHOWN:]
        self._pending = b"" if found else held[end:]
        self.report = replace(
            self.report,
            began=found is not None,
            noise=self.report.noise + end,
            last_words=plain(self._noise + self._pending)[-MAX_TEXT:],
        )
        return held[found.end() :] if found else b""

    def _read_lines(self, data: bytes) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            if not self._overlong and len(line) <= MAX_LINE:
                self._take(line.removesuffix(b"\r"))
            self._overlong = False
        if len(self._pending) > MAX_LINE:
            self._pending, self._overlong = b"", True

    def _take(self, line: bytes) -> None:
        if not line.startswith(PREFIX) or self.report.complete:
            return
        word = line.removeprefix(PREFIX)
        if word == b"end":
            self.report = replace(self.report, complete=True)
        elif word.startswith(b"{"):
            self._take_facts(word)
        else:
            self._take_said(word)

    def _take_facts(self, word: bytes) -> None:
        try:
            fields = json.loads(word)
        except (ValueError, RecursionError):
            return
        self.report = replace(self.report, facts=read_facts(fields), complete=True)

    def _take_said(self, word: bytes) -> None:
        name, equals, value = word.partition(b"=")
        key, values = plain(name), dict(self.report.said)
        before = values.get(key, ())
        if equals and len(before) < MAX_SAID and (before or len(values) < MAX_SAID):
            values[key] = (*before, plain(value)[:MAX_TEXT])
            self.report = replace(self.report, said=values)


def _part(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = fields.get(name)
    return part if isinstance(part, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return plain(value)[:MAX_TEXT] if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**63 else None


def _port(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 65536 else None


def _seconds(value: object) -> float | None:
    if type(value) not in (int, float):
        return None
    assert isinstance(value, int | float)
    return float(value) if 0 <= value < 2**40 else None


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
