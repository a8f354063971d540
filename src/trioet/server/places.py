"""Where the sockets live.

Standard library only: `trioet terminal` is on every user's path to a prompt.
"""

from __future__ import annotations

import os
import stat

from trioet.errors import LocalError

SYSTEM_ROUTER_SOCKET = "/run/trioet/router.sock"

MAX_FURTHER = 7
"""Routers beside one; a client tries no more ports (trioet.bootstrap.host.MAX_PORTS)."""

MAX_SOCKET_PATH = 107
"""Bytes that fit struct sockaddr_un, unix(7)."""


def make_runtime_dir() -> str:
    """Return :func:`runtime_dir`, made if it is not there, with mode 0700: for who writes into it.

    Raises:
      LocalError: as :func:`runtime_dir`; or it cannot be made.
    """
    path = runtime_path()
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise LocalError(f"cannot make {path} for trioet's sockets: {error.strerror}") from error
    return runtime_dir()


def runtime_dir() -> str:
    """Return this user's directory for sockets: if it is there, it is ours and closed to others.

    $TRIOET_RUNTIME_DIR; else trioet/ in $XDG_RUNTIME_DIR or /run/user/UID, which
    vanish at logout like all in them; else ~/.local/state/trioet. Never in /tmp.

    Raises:
      LocalError: it is a link, somebody else's, or open to others.
    """
    path = runtime_path()
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return path
    except OSError as error:
        raise LocalError(f"cannot look at {path}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise LocalError(f"{path} is not a directory; trioet keeps its sockets there")
    if found.st_uid != os.geteuid():
        raise LocalError(f"{path} belongs to uid {found.st_uid}; it must be yours")
    if found.st_mode & 0o077:
        raise LocalError(f"{path} is open to others; make it private: chmod 700 {path}")
    return path


def runtime_path() -> str:
    """Where that directory is, or will be; makes and checks nothing."""
    return os.environ.get("TRIOET_RUNTIME_DIR") or _default_dir()


def keeper_socket() -> str:
    """Where this user's keeper listens."""
    return checked_path(os.path.join(runtime_dir(), "keeper.sock"))


def router_socket_to_serve() -> str:
    """Where a router listens for keepers, unless told otherwise: root's is the machine's."""
    if os.geteuid() == 0 and "TRIOET_RUNTIME_DIR" not in os.environ:
        return SYSTEM_ROUTER_SOCKET
    return checked_path(os.path.join(runtime_dir(), "router.sock"))


def router_sockets_to_try() -> list[str]:
    """Where a keeper looks for routers: the user's own first, then the machine's.

    Beside each router.sock those of further routers, ``router-NAME.sock``.
    """
    own = os.path.join(runtime_dir(), "router.sock")
    if "TRIOET_RUNTIME_DIR" in os.environ:
        return _with_further(own)
    return [*_with_further(own), *_with_further(SYSTEM_ROUTER_SOCKET)]


def _with_further(path: str) -> list[str]:
    directory = os.path.dirname(path)
    try:
        names = os.listdir(directory)
    except OSError:
        names = []
    further = [name for name in names if name.startswith("router-") and name.endswith(".sock")]
    return [path, *(os.path.join(directory, name) for name in sorted(further)[:MAX_FURTHER])]


def check_socket_place(path: str) -> None:
    """Check the directory of a socket that others will trust to be ours.

    Raises:
      LocalError: anybody may put things there, it is in a directory for temporary files, or
          a link leads there.
    """
    directory = os.path.dirname(os.path.abspath(path))
    if os.path.realpath(directory) != directory:
        raise LocalError(f"{directory} is reached by a link; say {os.path.realpath(directory)}")
    for temporary in ("/tmp", "/var/tmp"):
        if os.path.commonpath([temporary, directory]) == temporary:
            raise LocalError(f"{path}: no sockets in {temporary}; use /run or a private directory")
    found = os.stat(directory)
    if found.st_mode & 0o002:
        raise LocalError(f"{directory} may be written by anybody; use a directory that may not")
    if found.st_uid not in (0, os.geteuid()):
        raise LocalError(f"{directory} belongs to uid {found.st_uid}, who could replace {path}")


def _default_dir() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.isabs(runtime):
        runtime = f"/run/user/{os.geteuid()}"
    if os.path.isdir(runtime) and os.stat(runtime).st_uid == os.geteuid():
        return os.path.join(runtime, "trioet")
    return os.path.join(os.path.expanduser("~"), ".local", "state", "trioet")


def checked_path(path: str) -> str:
    """The path of a socket, if it fits.

    Raises:
      LocalError: it is too long.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise LocalError(
            f"{path} is too long for a socket's name ({MAX_SOCKET_PATH} bytes); "
            "set TRIOET_RUNTIME_DIR to a shorter private directory"
        )
    return path
