"""What a visitor gets to use: the operator's command, in the operator's directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from trioet.session.guest import Grant
from trioet.session.program import spawn_on_pty, user_environment
from trioet.session.shell import Shell
from trioet.web.options import WebOptions
from trioet.web.sessions import Environment
from trioet.wire.messages import WindowSize

TERM: Final = "xterm-256color"
"""What the page is, and GoTTY's and ttyd's are."""

START_S: Final = 120.0
"""From a session to its visitor's first connection: pages connect at once, and a link that is
handed on has as long as a visitor who is away."""


def grant(options: WebOptions, arguments: Sequence[str]) -> Grant:
    """What the operator lets visitors do, with the arguments that one has given."""
    return Grant(
        argv=tuple(os.fsencode(word) for word in (*options.command, *arguments)),
        directory=os.fsencode(os.getcwd()),
        write=options.permit_write,
        rows=options.height,
        columns=options.width,
        start_s=max(START_S, options.linger_s if options.e2e else 0),
        linger_s=options.linger_s,
        close_signal=options.close_signal,
        close_timeout_s=options.close_timeout_s,
    )


def start(
    options: WebOptions, arguments: Sequence[str], told: Environment, size: WindowSize
) -> Shell:
    """Start the command here, for a connection that it will not outlive.

    Raises:
      LocalError: it cannot be started.
    """
    granted = grant(options, arguments)
    environment = user_environment({**os.environb, **told}, {}, {b"TERM": TERM.encode()})
    shell = Shell(spawn_on_pty(granted.program(environment), granted.size(size)))
    shell.hang_up_with(granted.close_signal, granted.close_timeout_s)
    return shell
