"""What a machine is like for trioet, gathered on that machine: by `trioet check`, or here.

Standard library only, and nothing is changed, made or started. The answer is JSON, which
`trioet.doctor.far_report` reads.
"""

from __future__ import annotations

import configparser
import json
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from trioet import __version__
from trioet.errors import LocalError
from trioet.server.places import SYSTEM_ROUTER_SOCKET, runtime_dir, runtime_path
from trioet.server.request import INVITED, STATUS
from trioet.session.terminfo import known_term

PROTOCOL: Final = 6
"""trioet.wire.messages.PROTOCOL_VERSION, which would bring protobuf with it."""

ROUTER_QUESTION: Final = b'{"v":1,"add":[]}\n'
"""A registration of no ids: the router answers it with its port (trioet.server.registration)."""

PATIENCE_S: Final = 3.0
"""For each answer of a keeper or router. Both take milliseconds."""

KEEPER_TELLS: Final = ("version", "sessions", "ports", "routers")

START_S: Final = 8.0
"""For a keeper's program to show that it starts. It takes a quarter of a second."""

MAX_ANSWER: Final = 16 * 1024

LOGIND_DIRECTORIES: Final = ("/usr/lib/systemd", "/run/systemd", "/etc/systemd")
"""Where logind.conf and logind.conf.d are; later ones win (logind.conf(5))."""


def gather(term: str, server_fifo: str = "") -> dict[str, Any]:
    """Look at everything; never raises. Each look has a deadline of its own.

    ``term`` is the TERM to look for. ``took`` in the answer are seconds, by step.
    """
    facts: dict[str, Any] = {
        "version": __version__,
        "protocol": PROTOCOL,
        "python": sys.version.partition(" ")[0],
        "user": user_name(),
        "agent": bool(os.environ.get("SSH_AUTH_SOCK")),
    }
    took: dict[str, float] = {}
    looks: dict[str, Callable[[], object]] = {
        "runtime": runtime_facts,
        "keeper": keeper_facts,
        "linger": linger_facts,
        "router": lambda: router_facts(server_fifo),
        "terminfo": lambda: terminfo_facts(term),
    }
    for step, look in looks.items():
        began = time.monotonic()
        facts[step] = look()
        took[step] = round(time.monotonic() - began, 6)
    return {**facts, "took": took, "time": time.time()}


def runtime_facts() -> dict[str, Any]:
    """The directory for sockets: is it there, whose, how open, and what is wrong with it."""
    path = runtime_path()
    facts: dict[str, Any] = {"path": path, "exists": os.path.lexists(path)}
    if not facts["exists"]:
        above = Path(path)
        while not above.exists() and above != above.parent:
            above = above.parent
        writable = above.is_dir() and os.access(above, os.W_OK | os.X_OK)
        return {**facts, "problem": "" if writable else f"{above} may not be written"}
    found = os.lstat(path)
    facts |= {"owner": found.st_uid, "mode": f"{found.st_mode & 0o7777:04o}"}
    try:
        runtime_dir()
    except LocalError as error:
        return {**facts, "problem": str(error)}
    return {**facts, "problem": ""}


def keeper_facts() -> dict[str, Any]:
    """Does a keeper serve? ``state`` is ``runs``, ``none`` or ``silent``.

    If none does, ``trouble`` is what keeps one from starting, or empty.
    """
    path = os.path.join(runtime_path(), "keeper.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        try:
            sock.connect(path)
        except BlockingIOError:
            return {"state": "silent"}  # its queue is full
        except OSError:
            return {"state": "none", "trouble": keeper_trouble()}
        try:
            sock.sendall(STATUS)
            sock.shutdown(socket.SHUT_WR)
            answer = _read_to_end(sock)
        except OSError:
            return {"state": "silent"}
    if not answer:
        return {"state": "silent"}
    status = _object(answer.removeprefix(INVITED)) if answer.startswith(INVITED) else {}
    return {"state": "runs", **{key: status.get(key) for key in KEEPER_TELLS}}


def keeper_trouble() -> str:
    """Try whether the keeper's program starts, without starting a keeper: the last line of its
    errors if it does not. Its libraries may be missing, or made for another machine."""
    command = [sys.executable, "-P", "-m", "trioet.cli.main", "keeper", "--help"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=START_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"exit status {done.returncode}"


def linger_facts() -> dict[str, Any]:
    """Does logind end what a login leaves behind, and does this user linger?"""
    user = user_name()
    logind = os.path.isdir("/run/systemd/sessions")
    settings = _logind_settings() if logind else {}
    excluded = settings.get("killexcludeusers", "root").split()
    kills = settings.get("killuserprocesses", "no").lower() in ("yes", "true", "on", "1")
    return {
        "logind": logind,
        "kills": kills and user not in excluded,
        "lingers": os.path.exists(os.path.join("/var/lib/systemd/linger", user)),
    }


def router_facts(server_fifo: str = "") -> dict[str, Any]:
    """The first router that serves; ``state`` is ``serves``, ``none``, ``silent`` or ``denied``."""
    own = os.path.join(runtime_path(), "router.sock")
    places = [own] if "TRIOET_RUNTIME_DIR" in os.environ else [own, SYSTEM_ROUTER_SOCKET]
    found: dict[str, Any] = {"state": "none"}
    for path in [os.path.expanduser(server_fifo)] if server_fifo else places:
        answer = _ask_router(path)
        if answer["state"] == "serves":
            return answer
        if found["state"] == "none":
            found = answer
    return found


def terminfo_facts(term: str) -> dict[str, Any]:
    """Is there a description of this terminal?"""
    return {"term": term, "known": known_term(term, os.environb)[0] == term}


def user_name() -> str:
    """Who we are; the number of one who has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _ask_router(path: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"socket": path}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(PATIENCE_S)
        try:
            sock.connect(path)
        except PermissionError:
            return {**facts, "state": "denied"}
        except BlockingIOError:
            return {**facts, "state": "silent"}  # its queue is full
        except OSError:
            return {**facts, "state": "none"}
        with suppress(OSError):
            sock.sendall(ROUTER_QUESTION)
            while data := sock.recv(MAX_ANSWER):
                answer = _object(data)
                if type(answer.get("port")) is int:
                    relaying = answer.get("relaying", "any")
                    told = {"port": answer["port"], "relaying": relaying}
                    return {**facts, "state": "serves", **told}
    return {**facts, "state": "silent"}


def _read_to_end(sock: socket.socket) -> bytes:
    answer = b""
    while len(answer) < MAX_ANSWER and (data := sock.recv(MAX_ANSWER)):
        answer += data
    return answer


def _object(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _logind_settings() -> dict[str, str]:
    settings: dict[str, str] = {}
    for path in _logind_files():
        parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
        with suppress(OSError, configparser.Error, UnicodeDecodeError):
            parser.read_string(path.read_text())
            section = parser["Login"] if parser.has_section("Login") else {}
            settings |= {name: value or "" for name, value in section.items()}
    return settings


def _logind_files() -> Iterator[Path]:
    """In the order in which they are followed: one logind.conf, then the drop-ins by name."""
    main = [Path(place, "logind.conf") for place in LOGIND_DIRECTORIES]
    yield from [path for path in main if path.is_file()][-1:]
    drop_ins: dict[str, Path] = {}
    for place in LOGIND_DIRECTORIES:
        drop_ins |= {path.name: path for path in Path(place, "logind.conf.d").glob("*.conf")}
    yield from (drop_ins[name] for name in sorted(drop_ins))
