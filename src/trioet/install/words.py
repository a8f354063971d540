"""What the far side's scripts say, among all that others print there.

Lines that begin with ``TRIOET-INSTALL:`` are theirs: a word that tells its kind, and text.
All else is noise: of start-up files, of pip. Sans-IO, and made for hostile bytes: what the
far side says is shown, and decides what is sent there, nothing more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from trioet.bootstrap.plain import plain
from trioet.errors import MessageError

MARK: Final = b"TRIOET-INSTALL:"

MAX_LINE: Final = 64 * 1024
"""Bytes of a line that are looked at; nothing of ours is longer."""

MAX_WORDS: Final = 1000
"""Words in one answer; twenty are usual."""


class Word(NamedTuple):
    """A line of our scripts; of noise, ``kind`` is empty."""

    kind: str
    text: str


class WordReader:
    """Makes words of bytes as they come."""

    def __init__(self) -> None:
        self._line = bytearray()

    def feed(self, data: bytes) -> list[Word]:
        """Return the lines that are complete now. A longer line than MAX_LINE loses its end."""
        *lines, rest = data.split(b"\n")
        words = []
        for line in lines:
            self._add(line)
            words.append(_word(bytes(self._line)))
            self._line.clear()
        self._add(rest)
        return [word for word in words if word.kind or word.text]

    def _add(self, data: bytes) -> None:
        self._line += data[: MAX_LINE - len(self._line)]


def _word(line: bytes) -> Word:
    if not line.startswith(MARK):
        return Word("", plain(line))
    kind, _, text = plain(line[len(MARK) :]).partition(" ")
    return Word(kind, text)


class Python(NamedTuple):
    """A Python that is there. ``problem`` says why it cannot run trioet, if it cannot."""

    path: str
    version: tuple[int, ...] = ()
    implementation: str = ""
    platform: str = ""
    glibc: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()
    has_pip: bool = False

    @property
    def problem(self) -> str:
        if not self.version:
            return f"{self.path} does not run"
        name = f"Python {'.'.join(map(str, self.version))} ({self.path})"
        if self.version < NEEDED:
            return f"{name} is older than {'.'.join(map(str, NEEDED))}"
        if self.implementation not in ("", "CPython"):
            return f"{name} is {self.implementation}, not CPython"
        if self.missing:
            return f"{name} is without {', '.join(self.missing)}"
        return ""


NEEDED: Final = (3, 11)


@dataclass
class Answer:
    """What one script said, up to its ``done``."""

    facts: dict[str, str] = field(default_factory=dict)
    pythons: list[Python] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    last_noise: str = ""
    """Of what others printed the last line, or the last that is of an error."""

    status: int | None = None
    """The script's exit status; None until it has ended."""

    words: int = 0

    def add(self, word: Word) -> None:
        """Take one word in.

        Raises:
          MessageError: there are too many, or one makes no sense.
        """
        if not word.kind:
            is_error = word.text.lower().startswith("error")
            if is_error or not self.last_noise.lower().startswith("error"):
                self.last_noise = word.text
            return
        self.words += 1
        if self.words > MAX_WORDS:
            raise MessageError(f"the far side says more than {MAX_WORDS} words")
        match word.kind:
            case "fact":
                name, _, value = word.text.partition(" ")
                self.facts[name] = value
            case "python" | "broken":
                python = parse_python(word.text) if word.kind == "python" else Python(word.text)
                if python.path not in [known.path for known in self.pythons]:
                    self.pythons.append(python)
            case "taken":
                self.taken.append(word.text)
            case "problem":
                self.problems.append(word.text)
            case "done":
                if not word.text.isdecimal() or len(word.text) > 3:
                    raise MessageError("a script ended with what is no exit status")
                self.status = int(word.text)
            case _:
                pass  # "did" and "ready" are their readers' affair

    @property
    def problem(self) -> str:
        """Why the script failed; empty if it did not."""
        if self.status == 0 and not self.problems:
            return ""
        said = "; ".join(self.problems) or f"it ended with exit status {self.status}"
        return f"{said} ({self.last_noise[:200]})" if self.last_noise else said


def parse_python(text: str) -> Python:
    """What ask.py says of the Python that runs it.

    Raises:
      MessageError: that is not what it says.
    """
    try:
        said = json.loads(text)
        glibc = str(said.get("glibc", ""))
        return Python(
            path=_path(said["path"]),
            version=tuple(map(int, said.get("version", ())))[:3],
            implementation=plain(str(said.get("implementation", ""))),
            platform=plain(str(said.get("platform", ""))),
            glibc=parse_version(glibc),
            missing=tuple(plain(str(name)) for name in said.get("missing", ())),
            has_pip=bool(said.get("pip")),
        )
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        raise MessageError("the far side does not say what its Python is") from None


def parse_version(text: str) -> tuple[int, ...]:
    """The first two numbers of a version like 2.36; empty if there are none."""
    numbers = text.split(".")[:2]
    if not all(number.isascii() and number.isdigit() and len(number) < 6 for number in numbers):
        return ()
    return tuple(map(int, numbers))


def _path(said: object) -> str:
    if not isinstance(said, str) or not (said.startswith("/") and said.isprintable()):
        raise MessageError("a path that is none")
    return said
