"""The half of `trioet pipe` that needs Trio: the session, and what ends it."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from trioet.bootstrap.invitation import Invitation
from trioet.bootstrap.ssh_config import SshConfig
from trioet.cli.connect_options import ConnectOptions
from trioet.cli.connected import RunSession, drive, settle_in, warnings_shown
from trioet.cli.ending import ending_signals
from trioet.cli.output import write_error
from trioet.cli.passage import Passage
from trioet.cli.pipe_options import PipeOptions
from trioet.cli.session_ways import SessionWays
from trioet.client.app import Client
from trioet.client.console import open_console
from trioet.client.piping import Pipe
from trioet.client.wish import Wish
from trioet.errors import StepFailed
from trioet.session.forwards import Forwards
from trioet.wire.forward import LOOPBACK, Address
from trioet.wire.messages import Exec


def pipe_session(options: PipeOptions) -> RunSession:
    """What runs the session of that pipe."""
    return partial(_run, options)


async def _run(
    asked: PipeOptions,
    options: ConnectOptions,
    config: SshConfig,
    invitation: Invitation,
    passage: Passage,
) -> int:
    settle_in()
    ways = SessionWays(options, config, invitation, passage)
    with open_console(raw=False) as console, warnings_shown(console):
        notice = console.notice if asked.verbose else _say_nothing
        destination = Address(asked.host, asked.port)
        if asked.is_gateway:
            destination = invitation.sshd or Address(LOOPBACK, asked.port)
        pipe = Pipe(console, options.host, destination)

        async def carry(forwards: Forwards) -> None:
            await pipe.carry(forwards)
            console.end_notices()  # the farewell may take a while

        wish = bare_wish(ways, invitation, passage, carry)
        wish = replace(wish, log_in=ways.log_in, login_needed=ways.login_needed)
        client = Client(wish, console, write_error)
        pipe.on_question = client.asked

        async def end_on_signal() -> None:
            told = False
            with ending_signals() as signals:
                async for number in signals:
                    if told or not pipe.begun:
                        name = signal.Signals(number).name
                        client.leave(StepFailed("session", f"ended by {name}"))
                    pipe.stop()
                    # ssh says SIGHUP whenever it has ended, be it by a SIGINT that came here too.
                    told = number != signal.SIGHUP

        if passage.notice:
            notice(f"trioet: {passage.notice}")
        notice(f"trioet: {options.host} connects to {destination}")
        return await drive(client, ways, notice, end_on_signal)


def bare_wish(
    ways: SessionWays,
    invitation: Invitation,
    passage: Passage,
    purpose: Callable[[Forwards], Awaitable[None]],
) -> Wish:
    """A session that has no terminal and runs nothing: it is there for its ``purpose``.

    The user's tunnels and environment are for the ssh that goes through it.
    """
    return Wish(
        client_id=invitation.client_id.encode(),
        passkey=invitation.passkey.encode(),
        host=ways.host,
        dial=ways.dial,
        environment={},
        exec=Exec(nothing=True),
        has_terminal=False,
        purpose=purpose,
        jumphost=passage.et_jumphost,
    )


def _say_nothing(text: str) -> None:
    """For notices of what ssh's user need not know."""
