"""The one line that ssh runs on the far side.

It must mean the same to every login shell: sh, bash, zsh, fish, csh. So all of it stands
in single quotes, and inside are no single quotes, backslashes (fish), ``!`` (csh) nor
line breaks.
"""

from __future__ import annotations

from typing import Final

from trioet.bootstrap.credentials import clean_term
from trioet.errors import UsageError

EXTRA_PATH: Final = "$HOME/.local/bin:/usr/local/bin:/opt/homebrew/bin"
"""Where programs are that login shells find and shells run by ssh may not."""

EXIT_MISSING: Final = 127

IN_HOME: Final = ("~/", "$HOME/", "${HOME}/")

STDIO_READY: Final = b"TRIOET-STDIO\n"
"""What `trioet stdio` says first, behind whatever start-up files print."""

NOBODY: Final = "nothing answers at port"
"""How `trioet stdio` complains that nobody listens."""

UNQUOTABLE: Final = frozenset("'!\\\"$`")
"""What has a meaning inside double quotes inside single quotes, to one shell or another."""

KILL_ETTERMINAL: Final = 'pkill -u "$(id -un)" etterminal; sleep 0.5; '


def remote_command(
    *,
    term: str | None = None,
    terminal_path: str | None = None,
    server_fifo: str | None = None,
    port: int | None = None,
    kill_other_sessions: bool = False,
) -> str:
    """The command that brings an invitation, or prints ``TRIOET-MISSING``.

    It runs ``terminal_path``, else the first of trioet and etterminal there is. ``port`` is
    where a keeper shall listen if no server runs there; etterminal is not told. ``term`` spares
    trioet a look at its stdin, where ET has it.

    Raises:
      UsageError: a path holds a character that cannot be passed safely.
    """
    fifo = f" --serverfifo={quoted(server_fifo, '--serverfifo')}" if server_fifo else ""
    kill = " --kill-other-sessions" if kill_other_sessions else ""
    own_port = f" --port={port}" if port is not None else ""
    new = f" --term={clean_term(term)}" if term is not None else ""
    as_trioet = ("", f" terminal{new}{kill}{own_port}{fifo}")
    as_et = (KILL_ETTERMINAL if kill_other_sessions else "", f" --verbose=0{fifo}")
    if terminal_path:
        program = quoted(terminal_path, "--terminal-path")
        is_trioet = terminal_path.rpartition("/")[2] == "trioet"
        attempts = _attempt(program, *(as_trioet if is_trioet else as_et))
    else:
        attempts = _attempt("trioet", *as_trioet) + _attempt("etterminal", *as_et)
    return _in_any_shell(attempts)


def relay_command(*, server_fifo: str | None = None, port: int | None = None) -> str:
    """The command that brings a relay, on a jumphost, or prints ``TRIOET-MISSING``.

    ``port`` is where a keeper shall listen if no server runs there.

    Raises:
      UsageError: a path holds a character that cannot be passed safely.
    """
    fifo = f" --serverfifo={quoted(server_fifo, '--jserverfifo')}" if server_fifo else ""
    own_port = f" --port={port}" if port is not None else ""
    return _in_any_shell(_attempt("trioet", "", f" terminal --relay{own_port}{fifo}"))


def jump_command(
    host: str,
    port: int,
    *,
    terminal_path: str | None = None,
    server_fifo: str | None = None,
    kill_other_sessions: bool = False,
) -> str:
    """The command that makes a host ET's jumphost to a server (Eternal Terminal specification
    6.1), or prints ``TRIOET-MISSING``. The session's id and key go to its stdin.

    Raises:
      UsageError: the host or a path holds a character that cannot be passed safely.
    """
    fifo = f" --serverfifo={quoted(server_fifo, '--serverfifo')}" if server_fifo else ""
    where = f" --jump --dsthost={quoted(host, 'the host')} --dstport={port}"
    kill = KILL_ETTERMINAL if kill_other_sessions else ""
    program = quoted(terminal_path, "--terminal-path") if terminal_path else "etterminal"
    is_trioet = terminal_path is not None and terminal_path.rpartition("/")[2] == "trioet"
    attempt = _attempt(
        program, kill, f"{' terminal' if is_trioet else ''} --verbose=0{where}{fifo}"
    )
    return _in_any_shell(attempt)


def stdio_command(port: int, *, terminal_path: str | None = None) -> str:
    """The command that copies between its streams and a port there, after ``STDIO_READY``.

    Where there is no trioet it prints ``TRIOET-MISSING``.

    Raises:
      UsageError: the path holds a character that cannot be passed safely.
    """
    return _in_any_shell(_attempt(_trioet(terminal_path), "", f" stdio --port={port}"))


def guest_command(*, terminal_path: str | None = None) -> str:
    """The command that opens a session for a guest, or prints ``TRIOET-MISSING``. Who the guest
    is, and what it may do, goes to its stdin.

    Raises:
      UsageError: the path holds a character that cannot be passed safely.
    """
    return _in_any_shell(_attempt(_trioet(terminal_path), "", " terminal --guest"))


def guests_stdio_command(*, terminal_path: str | None = None) -> str:
    """The command that copies between its streams and the door for guests there, as
    :func:`stdio_command`."""
    return _in_any_shell(_attempt(_trioet(terminal_path), "", " stdio --guests"))


def _trioet(terminal_path: str | None) -> str:
    """The program, if the path that was given for the terminal is not etterminal's."""
    given = terminal_path if (terminal_path or "").rpartition("/")[2] == "trioet" else None
    return quoted(given, "--terminal-path") if given else "trioet"


def _in_any_shell(attempts: str) -> str:
    missing = f"echo TRIOET-MISSING; exit {EXIT_MISSING}"
    return f"sh -c 'PATH=\"$PATH:{EXTRA_PATH}\"; {attempts}{missing}'"


def _attempt(program: str, before: str, arguments: str) -> str:
    return f"if command -v {program} >/dev/null 2>&1; then {before}exec {program}{arguments}; fi; "


def quoted(path: str, option: str) -> str:
    """The path in double quotes; a leading ``~/`` or ``$HOME/`` means the far home.

    Raises:
      UsageError: a character of it would mean something to some shell; names ``option``.
    """
    home = next((prefix for prefix in IN_HOME if path.startswith(prefix)), "")
    rest = path[len(home) :]
    for index, char in enumerate(rest, len(home) + 1):
        if char in UNQUOTABLE or not char.isprintable():
            problem = f"{char!r} cannot be passed to every remote shell"
            raise UsageError(f"{option} {path!r}, column {index}: {problem}")
    return f'"{"$HOME/" if home else ""}{rest}"'
