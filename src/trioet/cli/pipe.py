"""`trioet pipe`: stdin and stdout as a connection that survives, for ssh's ProxyCommand."""

from __future__ import annotations

import os
from typing import Final

from trioet.cli.connect import log_in
from trioet.cli.pipe_options import PipeOptions, parse
from trioet.errors import StepFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trioet.cli.connected import RunSession

UNDER_WAY: Final = "TRIOET_PIPES"
"""Variable: the logins of those pipes whose ssh has started this one, one in each word."""


def main(argv: list[str]) -> int:
    """Carry stdin and stdout; return the exit status."""
    options = parse(argv)
    _check_not_through_itself(options)

    def session() -> RunSession:
        from trioet.cli.piped import pipe_session

        return pipe_session(options)

    try:
        return log_in(options.session, session)
    except StepFailed as error:
        if not (options.is_gateway and error.step == "ssh"):
            raise
        hint = (
            f"{error.hint}\n        without --via, {options.host}:{options.port} must be an sshd; "
            f"to another port: --via {options.host} localhost:{options.port}"
        )
        raise StepFailed(error.step, error.what, hint) from error


def _check_not_through_itself(options: PipeOptions) -> None:
    """ssh's configuration may have the gateway's own login go through a pipe: to another
    gateway is fine, to the same would never end.

    Raises:
      StepFailed: it is the same.
    """
    under_way = os.environ.get(UNDER_WAY, "").split()
    host = options.session.host
    login = f"{host}:{options.port}" if options.is_gateway else host
    if login in under_way:
        raise StepFailed(
            "ssh",
            f"ssh's configuration has the login to {host} go through `trioet pipe`, whose own "
            "login that is",
            f"write `ProxyCommand none` for {host}, before what holds for other hosts too",
        )
    os.environ[UNDER_WAY] = " ".join([*under_way, login])
