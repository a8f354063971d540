"""One login for each jumphost, however often ssh goes through it.

ssh reaches the destination through all jumphosts, and then each jumphost is asked for a
relay. Without more, a chain of three would cost ten logins, each with its questions. So a
configuration in front of the user's has ssh keep the connections to the jumphosts for a
moment (ControlMaster, ssh_config(5)). What the user's own says of that goes first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

PERSIST_S = 10
"""How long ssh keeps a connection that nobody uses."""

ENDING_GRACE_S = 2
"""How long one may take to hear that it is to end."""

LONGEST_PLACE = 107 - len("/8-") - 40 - 17
"""Bytes of a directory in which ssh can make its sockets: unix(7), less a number and a hash
(%C), less what ssh adds while it makes one."""

USUAL_FILES = ("~/.ssh/config", "/etc/ssh/ssh_config")


QUIET = ".quiet"


def quiet_config(config_file: str | None) -> str | None:
    """The same configuration, by which ssh asks nothing: not on its way to a jumphost either.

    None if ``config_file`` is none of :func:`shared_logins`.
    """
    quiet = f"{config_file}{QUIET}"
    return quiet if config_file is not None and os.path.exists(quiet) else None


def _fits(directory: str) -> bool:
    """True for a directory whose name ssh can work with."""
    # It passes the name of its configuration on to itself, without quotes.
    plain = directory.isprintable() and not set(directory) & set(" '\"\\%$`;&|<>()*?[]")
    size = len(os.fsencode(os.path.join(directory, "ssh-12345678")))
    return bool(directory) and plain and size <= LONGEST_PLACE


def _write(path: str, lines: Sequence[str]) -> None:
    with open(path, "x") as file:
        file.write("\n".join([*lines, ""]))


@contextmanager
def shared_logins(
    config_file: str | None, hosts: Sequence[str], directory: str
) -> Iterator[str | None]:
    """A configuration file by which ssh shares its connections to ``hosts``.

    It stands for ``config_file`` (``-F``), whose words it includes. It lies in ``directory``,
    which is private, and vanishes at the end, as do the connections. Without such a place, it
    is ``config_file``.
    """
    if not _fits(directory):
        yield config_file
        return
    files: Sequence[str] = USUAL_FILES if config_file is None else [os.path.abspath(config_file)]
    if config_file == "none":
        files = ()
    place = tempfile.mkdtemp(prefix="ssh-", dir=directory)
    try:
        lines = [f'Include "{os.path.expanduser(name)}"' for name in files]
        for number, host in enumerate(hosts):
            lines += [
                f"Host {host}",
                "  ControlMaster auto",
                # The hash is of address, port and user. Behind each other, two hosts may have
                # the same.
                f"  ControlPath {place}/{number}-%C",
                f"  ControlPersist {PERSIST_S}",
            ]
        path = os.path.join(place, "config")
        _write(path, lines)
        _write(path + QUIET, ["BatchMode yes", *lines])
        yield path
    finally:
        _end_those_left(place)
        shutil.rmtree(place, ignore_errors=True)


def _end_those_left(place: str) -> None:
    """One whose far side hangs would stay, and hold the terminal, for as long as that does."""
    for entry in os.scandir(place):
        if entry.is_file(follow_symlinks=False):
            continue
        command = ["ssh", "-F", "none", "-S", entry.path, "-O", "exit", "--", "any"]
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=ENDING_GRACE_S,
                check=False,
            )
