"""What ssh brings back from the far side: an invitation, or why there is none.

Anywhere in whatever the far side's start-up files print: ``IDPASSKEY:id/passkey``, from a
trioet followed by a line ``TRIOET:`` with the details as JSON (Eternal Terminal
specification 2.2, 2.3). Instead, on failure: ``TRIOET-ERROR:`` with JSON, or
``TRIOET-MISSING`` from the remote command.

No I/O here: feed bytes, get an invitation or an error.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from typing import ClassVar, Final, Generic, NamedTuple, NoReturn, TypeVar

from trioet.bootstrap.credentials import ID_LENGTH, MAX_TERM, PASSKEY_LENGTH
from trioet.bootstrap.host import MAX_PORTS
from trioet.bootstrap.plain import plain
from trioet.errors import PeerError, StepFailed
from trioet.wire.forward import Address

T = TypeVar("T")

MAX_NOISE: Final = 1024 * 1024
"""Bytes that start-up files may print before the invitation."""

MAX_LINE: Final = 4096
"""Bytes in a line of JSON from the far side."""

MAYBE_PASSKEY: Final = re.compile(rf"[0-9A-Za-z]{{{PASSKEY_LENGTH},}}")
"""In a marker that somebody has mangled there may still be one."""

MAX_TEXT: Final = 500
"""Characters of the far side's own error text that are shown."""

MARKER: Final = re.compile(rb"IDPASSKEY:([0-9A-Za-z]{16})/([0-9A-Za-z]{32})")
MARKER_LENGTH: Final = len("IDPASSKEY:") + ID_LENGTH + 1 + PASSKEY_LENGTH
DETAILS: Final = b"TRIOET:"
FAILURE: Final = re.compile(
    rb"(?:^TRIOET-(MISSING)|TRIOET-ERROR:([^\n]{0,%d}?))\r?\n" % MAX_LINE, re.MULTILINE
)
"""An error may stand behind noise in its line. That something is missing the exit status tells as
well, and a shell that traces its commands says that word in vain."""

INSTALL_HINT: Final = (
    "`trioet install {host}` puts it there (so does, there, `pipx install trioet` or "
    "`uv tool install trioet`); or say where it is with --terminal-path"
)
ET_HINT: Final = "start etserver there; or install trioet there, which needs no server running"
NOISE_HINT: Final = (
    "does the login shell there run commands that ssh gives it? Quieten its start-up files"
)


class Invitation(NamedTuple):
    """What the far side answered: the real credentials, and where to connect.

    ``port``, ``router`` (does a router listen there, or the user's keeper itself?) and
    ``version`` are None when an ET terminal answered: it does not say.
    """

    client_id: str
    passkey: str
    port: int | None = None
    router: bool | None = None
    version: str | None = None
    more_ports: tuple[int, ...] = ()
    """Of further routers, which lead to the same keeper."""
    sshd: Address | None = None
    """Where the sshd listens that let us in, as its own machine sees it; None: not said."""

    def __repr__(self) -> str:
        return (
            f"Invitation(client_id={self.client_id!r}, port={self.port!r}, router={self.router!r})"
        )


def parse_invitation(output: bytes, host: str = "the host") -> Invitation:
    """Find the invitation in all that the far side printed.

    Raises:
      StepFailed: the far side says that it failed, or there is no invitation.
      PeerError: there is one, with details that make no sense.
    """
    reader = InvitationReader(host)
    invitation = reader.feed(output) or reader.end()
    if invitation is None:
        raise reader.no_answer("the output ended")
    return invitation


class Missing(StepFailed):
    """The far side has no program to answer us."""


class AnswerReader(ABC, Generic[T]):
    """Find an answer in output that arrives in pieces, however they are cut."""

    ANSWER: ClassVar[str]
    """What is looked for, in words."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._output = bytearray()

    @property
    def marker_seen(self) -> bool:
        """True when the answer is known, and only details may still follow."""
        return False

    @abstractmethod
    def feed(self, data: bytes) -> T | None:
        """Take output; return the answer once it is complete.

        Raises:
          StepFailed: the far side says that it failed, or prints without end.
          PeerError: the answer makes no sense.
        """

    @abstractmethod
    def end(self) -> T | None:
        """No more will come: the answer, or None if there is none.

        Raises:
          StepFailed: the last line, cut short, says that the far side failed.
          PeerError: as for ``feed``.
        """

    def no_answer(self, circumstance: str) -> StepFailed:
        """The error for output that ended without an answer."""
        said = self.last_words()
        what = f"no {self.ANSWER} came from {self._host}: {circumstance}"
        if not said:
            return StepFailed("terminal", f"{what}, nothing was printed", NOISE_HINT)
        hint = ET_HINT if b"daemon is not running" in self._output else NOISE_HINT
        return StepFailed("terminal", f"{what}. Its last words: {said}", hint)

    def missing(self) -> StepFailed:
        """The error for a host that has no program to answer us."""
        what = f"neither trioet nor etterminal was found on {self._host}"
        return Missing("terminal", what, INSTALL_HINT.format(host=self._host))

    def last_words(self) -> str:
        """The end of what was printed, fit to be shown, without what may be a passkey."""
        said = plain(bytes(self._output[-4 * MAX_TEXT :]))
        return MAYBE_PASSKEY.sub("…", said)[-MAX_TEXT:]

    def _too_noisy(self) -> StepFailed:
        what = f"{self._host} printed more than {MAX_NOISE} bytes and no {self.ANSWER}"
        return StepFailed("terminal", what, NOISE_HINT)

    def _fail(self, failure: re.Match[bytes]) -> NoReturn:
        missing, text = failure.groups()
        if missing:
            raise self.missing()
        fields = json_object(text)
        said = [fields.get(key, "") for key in ("step", "what", "hint")]
        step, what, hint = (
            plain(text)[:MAX_TEXT] if isinstance(text, str) else "" for text in said
        )
        raise StepFailed(step or "terminal", f"{self._host}: {what or 'failed'}", hint)


class InvitationReader(AnswerReader[Invitation]):
    """Find the invitation."""

    ANSWER = "invitation"

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self._searched = 0
        self._found: re.Match[bytes] | None = None

    @property
    def marker_seen(self) -> bool:
        """True when the credentials are known, and only details may still follow."""
        return self._found is not None

    def feed(self, data: bytes) -> Invitation | None:
        """Take output; return the invitation once it and its details are complete.

        Raises:
          StepFailed: the far side says that it failed, or prints without end.
          PeerError: the details make no sense.
        """
        self._output += data
        if self._found is None:
            self._search()
        return None if self._found is None else self._with_details(self._found)

    def end(self) -> Invitation | None:
        """No more will come: the invitation without details, or None if there is none.

        Raises:
          StepFailed: the last line, cut short, says that the far side failed.
          PeerError: as for ``feed``.
        """
        return self.feed(b"\n") or (self._found and _invitation(self._found)) or None

    def _search(self) -> None:
        marker = MARKER.search(self._output, max(0, self._searched - MARKER_LENGTH))
        failure = FAILURE.search(self._output, max(0, self._searched - 2 * MAX_LINE))
        if failure and (marker is None or failure.end() <= marker.start()):
            self._fail(failure)
        if (marker.start() if marker else len(self._output) - MARKER_LENGTH) > MAX_NOISE:
            raise self._too_noisy()
        self._searched = len(self._output)
        self._found = marker

    def _with_details(self, marker: re.Match[bytes]) -> Invitation | None:
        rest = bytes(self._output[marker.end() : marker.end() + 2 * MAX_LINE + 2])
        trailing, newline, follows = rest.partition(b"\n")
        line, complete, _ = follows.partition(b"\n")
        if len(trailing) > MAX_LINE:
            return _invitation(marker)
        if line.startswith(DETAILS):
            if len(line) > MAX_LINE:
                raise PeerError(f"the details from {self._host} are longer than {MAX_LINE} bytes")
            return _invitation(marker, line[len(DETAILS) :]) if complete else None
        if not newline or (DETAILS.startswith(line) and not complete):
            return None
        return _invitation(marker)


def _invitation(marker: re.Match[bytes], details: bytes | None = None) -> Invitation:
    client_id, passkey = (group.decode() for group in marker.groups())
    if details is None:
        return Invitation(client_id, passkey)
    fields = json_object(details)
    port, router, version = (fields.get(key) for key in ("port", "router", "version"))
    ports = fields.get("ports", [])
    if not isinstance(ports, list):
        raise PeerError("the far side's details list no ports")
    more = (checked_port(each) for each in ports if each != port)
    return Invitation(
        client_id,
        passkey,
        port=None if port is None else checked_port(port),
        router=router if isinstance(router, bool) else None,
        version=plain(version)[:MAX_TERM] if isinstance(version, str) else None,
        more_ports=tuple(dict.fromkeys(more))[: MAX_PORTS - 1],
        sshd=_sshd(fields.get("sshd")),
    )


def _sshd(details: object) -> Address | None:
    match details:
        case None:
            return None
        case {"host": str(host), "port": port} if 0 < len(host) <= MAX_TEXT:
            return Address(host, checked_port(port))
        case _:
            raise PeerError("the far side's details name an sshd that is none")


def checked_port(port: object) -> int:
    """Return what details say to be a port.

    Raises:
      PeerError: it is none.
    """
    # bool is an int to isinstance, and no port.
    if type(port) is not int or not 0 < port < 65536:
        raise PeerError("the far side's details name a port that is none")
    return port


def json_object(text: bytes) -> dict[str, object]:
    """Read the details of an answer.

    Raises:
      PeerError: they are none.
    """
    try:
        fields: object = json.loads(text)
    # Deep nesting exhausts the stack, politely.
    except (ValueError, RecursionError) as error:
        raise PeerError("the far side's details are not JSON") from error
    if not isinstance(fields, dict):
        raise PeerError("the far side's details are not a JSON object")
    return fields
