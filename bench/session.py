"""An open session of a peer, brought to a known prompt."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from bench.peers import Peer
from bench.place import quiet_home
from bench.terminal import BenchError, Terminal

CONNECT_S: Final = 30.0
ANSWER_S: Final = 15.0
END_S: Final = 2.0

FIRST_PROMPT: Final = re.compile(rb"bench>" if quiet_home() else rb"[#$%>] ?$")
PROMPT: Final = b"~~>"
SET_PROMPT: Final = b"PS1='~''~> '\r"
"""Typed so that its echo is not taken for the prompt."""

READY: Final = b"=ready="
RAW_CAT: Final = b"stty raw -echo; printf =rea''dy=; exec cat\r"
"""A program that sends every byte back as it comes: the whole way there and back."""


@contextmanager
def connected(peer: Peer, argv: Sequence[str] | None = None) -> Iterator[Terminal]:
    """A session at its first prompt. Ended, with all its processes, afterwards. ``argv`` is
    what opens it, if not what usually does.

    How long it took: from ``terminal.started`` to ``terminal.shown_at``.

    Raises:
      BenchError: there is no prompt within CONNECT_S.
    """
    with Terminal(argv or peer.argv(), peer.near_environment()) as terminal:
        try:
            terminal.wait_for(FIRST_PROMPT, CONNECT_S)
            yield terminal
        finally:
            peer.end_shells()
            terminal.wait_end(END_S)


@contextmanager
def open_session(peer: Peer, port: int | None = None) -> Iterator[Terminal]:
    """A session at PROMPT, quiet. Ended as in :func:`connected`.

    Raises:
      BenchError: it does not come to that.
    """
    with connected(peer, peer.argv(port)) as terminal:
        terminal.settle(0.1)
        terminal.write(SET_PROMPT)
        terminal.wait_for(PROMPT, ANSWER_S)
        terminal.settle(0.1)
        yield terminal


def run_raw_cat(terminal: Terminal) -> None:
    """Have the far side send back every byte typed.

    Raises:
      BenchError: it does not start.
    """
    terminal.write(RAW_CAT)
    terminal.wait_for(READY, ANSWER_S)
    terminal.settle(0.1)


def echo_time(terminal: Terminal, key: bytes, timeout_s: float = ANSWER_S) -> float:
    """Type ``key``, wait until it comes back; return how many seconds that took.

    Raises:
      BenchError: it does not come back within ``timeout_s``.
    """
    begun = time.perf_counter()
    terminal.write(key)
    seen = b""
    while (left := begun + timeout_s - time.perf_counter()) > 0:
        seen += terminal.read(min(left, 0.5))
        if key in seen:
            return time.perf_counter() - begun
    raise BenchError(f"no echo within {timeout_s:g} s; last: {terminal.shown}")
