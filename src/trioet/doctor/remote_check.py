"""The one command that ssh runs on the far side for the doctor.

Like :mod:`trioet.bootstrap.remote_command` it means the same to every login shell: all of
it in single quotes, and inside no single quotes, backslashes, ``!`` nor line breaks. It
finds the program in the same way, and tells the rest of what it sees by itself, so that
something is known of a host that has no trioet, or an old one.
"""

from __future__ import annotations

from typing import Final

from trioet.bootstrap.credentials import clean_term
from trioet.bootstrap.remote_command import EXTRA_PATH, quoted

LINES: Final = b"1\n2\n"
"""For the command's stdin, which then stays open: if the first line that it reads is not the
first, a start-up file has taken it, as it would take the passkey."""

TERMINFO: Final = (
    '$TERMINFO $HOME/.terminfo $(echo "$TERMINFO_DIRS" | tr : " ") '
    "/etc/terminfo /lib/terminfo /usr/share/terminfo /usr/lib/terminfo /usr/local/share/terminfo"
)
"""As trioet.session.terminfo looks for it."""

ELSEWHERE: Final = (
    '"$HOME"/bin "$HOME"/*/bin "$HOME"/.*/bin "$HOME"/.local/share/*/*/bin /opt/trioet/bin'
)
"""Where a program may be that is not found: virtual environments mostly."""

INSTALLERS: Final = "uv pipx pip3 pip"


def check_command(
    *,
    term: str,
    terminal_path: str | None = None,
    server_fifo: str | None = None,
    port: int | None = None,
    reach: tuple[str, int] | None = None,
) -> str:
    """The command; :class:`trioet.doctor.far_report.FarReader` reads what it prints.

    ``port`` is where a keeper shall listen if no server runs there. ``reach`` is a host and a port
    that is to be reached from there; then nobody stands in for the keeper.

    Raises:
      UsageError: a path holds a character that cannot be passed safely.
    """
    term = clean_term(term)
    fifo = f" --serverfifo={quoted(server_fifo, '--serverfifo')}" if server_fifo else ""
    stand_in = f" --stand-in={port}" if port is not None else " --stand-in"
    if reach is not None:
        stand_in = f" --reach={quoted(f'{reach[0]}:{reach[1]}', 'the host')}"
    check = f" check --term={term}{stand_in}{fifo}"
    if terminal_path:
        program = quoted(terminal_path, "--terminal-path")
        is_trioet = terminal_path.rpartition("/")[2] == "trioet"
        programs = _look(program, check if is_trioet else "")
    else:
        programs = _look("trioet", check) + _look("etterminal")
    return (
        "sh -c '"
        f'PATH="$PATH:{EXTRA_PATH}"; read -r line; echo; echo TRIOET-CHECK:begin; '
        f"{_tell('stdin', '$line')}{_tell('shell', '$SHELL')}{_tell('system', '$(uname -sm)')}"
        f"{_tell('user', '$(id -un)')}{_tell('time', '$(date +%s)')}"
        f"for place in {TERMINFO}; do "
        f"if [ -e $place/{term[0]}/{term} ]; then {_tell('terminfo', '$place')}fi; done; "
        f"{programs}"
        f"for place in {ELSEWHERE}; do "
        f"if [ -x $place/trioet ]; then {_tell('elsewhere', '$place/trioet')}fi; done; "
        f"for program in {INSTALLERS}; do if command -v $program >/dev/null 2>&1; then "
        f"{_tell('installer', '$program')}fi; done; "
        f"{_tell('python', '$(python3 --version 2>&1)')}"
        "echo TRIOET-CHECK:end'"
    )


def _tell(name: str, value: str) -> str:
    return f'echo "TRIOET-CHECK:{name}={value}"; '


def _look(program: str, check: str = "") -> str:
    """Look for a program; if it is there, ask it, or else its version, and that is all."""
    version = _tell("version", f"$({program} --version 2>&1 </dev/null | tail -n 1)")
    ask = f"{program}{check} && exit 0; " if check else ""
    # Inside $(...) inside double quotes, double quotes begin anew: POSIX, 2.6.3.
    return (
        f"if command -v {program} >/dev/null 2>&1; then "
        f"{_tell('program', f'$(command -v {program})')}{ask}{version}"
        "echo TRIOET-CHECK:end; exit 0; fi; "
    )
