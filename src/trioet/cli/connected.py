"""The half of `trioet connect` that needs Trio: from ssh's answer to the exit status."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

import trio

from trioet.bootstrap.invitation import Invitation
from trioet.bootstrap.openssh import finish, read_invitation, read_ssh_config
from trioet.bootstrap.plain import plain
from trioet.bootstrap.spawn import RunningSsh
from trioet.bootstrap.ssh_backend import OPENSSH, asyncssh_backend
from trioet.bootstrap.ssh_config import SshConfig, check_usable, environment_to_send
from trioet.cli.chained import cannot_relay
from trioet.cli.connect_options import ConnectOptions, parse_escape
from trioet.cli.ending import ending_signals, until_ended
from trioet.cli.output import write_error
from trioet.cli.passage import Passage, find_passage
from trioet.cli.private import keep_private
from trioet.cli.session_ways import SessionWays
from trioet.client.app import Client
from trioet.client.console import Console, open_console
from trioet.client.wish import Wish
from trioet.errors import SessionLost, StepFailed, TrioetError
from trioet.link.reconnect import CannotConnect
from trioet.link.resumable import Refused
from trioet.session.descriptors import raise_limit
from trioet.wire.forward import Forward, Side, UnixPath, Variable
from trioet.wire.forward_specs import with_gateway_ports
from trioet.wire.messages import ConnectStatus, Exec

RunSession: TypeAlias = Callable[[ConnectOptions, SshConfig, Invitation, Passage], Awaitable[int]]
"""Runs a session, and returns its exit status. The Passage is what jumphosts are ready for."""


def connect_by_openssh(
    options: ConnectOptions, ssh: RunningSsh, config: RunningSsh, run: RunSession
) -> int:
    """Take over a started ssh and `ssh -G`; return the session's exit status."""
    return trio.run(until_ended, partial(connect, options, ssh, config, run))


def connect_by_asyncssh(options: ConnectOptions, line: bytes, run: RunSession) -> int:
    """Do without an ssh program; return the session's exit status."""
    return trio.run(until_ended, partial(connect_without_ssh, options, line, run))


async def connect(
    options: ConnectOptions, ssh: RunningSsh, config: RunningSsh, run: RunSession
) -> int:
    """The same, for who is in Trio already. Cancellation ends ssh, and the session here.

    Raises:
      StepFailed: no session could be had.
      SessionLost: there was one, and the server no longer knows it.
    """
    async with trio.open_nursery() as nursery:
        try:
            try:
                resolved = await read_ssh_config(config)
                check_usable(resolved, options.host)
            except TrioetError:
                ssh.abandon()
                raise
            invitation = await read_invitation(ssh)
            # ssh has served; its end is awaited beside the session.
            nursery.start_soon(finish, ssh)
            passage = await find_passage(options, resolved, invitation, OPENSSH)
            status = await run(options, resolved, invitation, passage)
        except TrioetError as error:
            failure: TrioetError | None = error
        else:
            failure = None
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return status


async def connect_without_ssh(options: ConnectOptions, line: bytes, run: RunSession) -> int:
    """The same by asyncssh."""
    ssh = asyncssh_backend()
    target = options.ssh_target
    resolved = await ssh.fetch_ssh_config(target)
    invitation = await ssh.visit(target, options.remote_command, line)
    passage = await find_passage(options, resolved, invitation, ssh)
    return await run(options, resolved, invitation, passage)


async def run_session(
    options: ConnectOptions,
    config: SshConfig,
    invitation: Invitation,
    passage: Passage,
) -> int:
    """Connect to where the invitation leads and run the session; return its exit status.

    Raises:
      StepFailed: no session could be had; says which step failed and what to do.
    """
    settle_in()
    ways = SessionWays(options, config, invitation, passage)
    with open_console(raw=False) as console, warnings_shown(console):
        runs = _exec(options, config, console)
        escape = parse_escape(options.escape or config.escape_char)
        wish = Wish(
            client_id=invitation.client_id.encode(),
            passkey=invitation.passkey.encode(),
            host=options.host,
            dial=ways.dial,
            log_in=ways.log_in,
            login_needed=ways.login_needed,
            environment=environment_to_send(config, os.environb),
            keepalive_s=options.keepalive_s,
            exec=runs,
            typed=_typed(options),
            # ET types what is to run into a shell, whose terminal makes a signal of Ctrl-C.
            raw=options.has_terminal and (runs.pty or invitation.version is None),
            escape=escape,
            has_terminal=options.has_terminal,
            forwards=_forwards(options, config, console),
            exit_on_forward_failure=config.exit_on_forward_failure,
            gateway_ports=config.gateway_ports,
            jumphost=passage.et_jumphost,
        )
        client = Client(wish, console, write_error)
        if passage.notice:
            console.notice(f"trioet: {passage.notice}")
        status = await _run_until_signal(client, ways, console)
        if console.is_tty_out and wish.exec.pty:
            console.notice("[trioet: session ended]")
    return status


async def _run_until_signal(client: Client, ways: SessionWays, console: Console) -> int:
    async def end_on_signal() -> None:
        with ending_signals() as signals:
            async for number in signals:
                client.leave(StepFailed("session", f"ended by {signal.Signals(number).name}"))

    return await drive(client, ways, console.notice, end_on_signal)


def settle_in() -> None:
    """Prepare this process for a session."""
    keep_private()
    raise_limit()
    gc.freeze()  # what was imported stays: the collector need never look at it again


async def drive(
    client: Client,
    ways: SessionWays,
    notice: Callable[[str], None],
    *beside: Callable[[], Awaitable[None]],
) -> int:
    """Run a session over its ways, with further tasks ``beside`` it; return its exit status.

    Cancellation closes the connection; the session stays alive on the server.

    Raises:
      StepFailed: no session could be had, or the server no longer knows it; says what to do.
    """
    status = 0
    failure: TrioetError | None = None
    async with trio.open_nursery() as nursery:
        for task in beside:
            nursery.start_soon(task)
        nursery.start_soon(ways.run, client.link, client.reconnector, notice)
        try:
            status = await client.run()
        except (CannotConnect, Refused) as error:
            failure = _explained(error, ways)
        except SessionLost as error:
            hint = "it was restarted, or the session was ended there"
            failure = StepFailed("session", f"{ways.host}: {error}", hint)
        except TrioetError as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return status


class _Notices(logging.Handler):
    """Tells the user what is logged, as lines of their own also while the terminal is raw."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = f"trioet: {plain(record.getMessage())}"
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self._console.notice(text)


@contextmanager
def warnings_shown(console: Console) -> Iterator[None]:
    """What trioet logs as a warning is told to the user, as long as the context lasts."""
    notices = _Notices(console)
    log = logging.getLogger("trioet")
    log.addHandler(notices)
    try:
        yield
    finally:
        log.removeHandler(notices)


def _exec(options: ConnectOptions, config: SshConfig, console: Console) -> Exec:
    """What to run, and whether on a terminal: as ssh decides it, RequestTTY included."""
    runs_command = options.command is not None and not options.stays
    on_terminal = console.is_tty_in and (console.is_tty_out or not runs_command)
    match config.request_tty:
        case "no" | "false":
            on_terminal = False
        case "yes" | "true":
            on_terminal = console.is_tty_in
        case "force":
            on_terminal = True
    if options.stays or not options.has_terminal:
        on_terminal = True
    command = os.fsencode(options.command) if runs_command and options.command else None
    return Exec(command, on_terminal, nothing=not options.has_terminal)


def _forwards(options: ConnectOptions, config: SshConfig, console: Console) -> tuple[Forward, ...]:
    """The tunnels of command line and configuration, the agent's first."""
    given = options.forwards
    if config.gateway_ports:
        given = tuple(map(with_gateway_ports, given))
    forwards = (
        *given,
        *config.local_forwards,
        *config.remote_forwards,
        *config.dynamic_forwards,
    )
    if options.forward_agent or (options.forward_agent is None and config.forward_agent != "no"):
        agent = _agent(options, config)
        if agent is None:
            console.notice(
                "trioet: no ssh agent to forward: $SSH_AUTH_SOCK is not set here; "
                "--ssh-socket names another"
            )
        else:
            written = "the ssh agent"
            listen = Variable("SSH_AUTH_SOCK")
            forwards = (Forward(Side.REMOTE, listen, agent, written=written), *forwards)
    return forwards


def _agent(options: ConnectOptions, config: SshConfig) -> UnixPath | None:
    """The socket of the agent to forward, as ssh chooses it."""
    path = options.agent_socket
    if path is None and config.forward_agent not in ("no", "yes"):
        path = config.forward_agent
    if path is None and config.identity_agent not in (None, "none"):
        path = config.identity_agent
    if path is None or path == "SSH_AUTH_SOCK":
        path = "$SSH_AUTH_SOCK"
    if path.startswith("$"):
        path = os.environ.get(path[1:].strip("{}"))
    return UnixPath(os.path.abspath(os.path.expanduser(path))) if path else None


def _typed(options: ConnectOptions) -> bytes:
    """What ET types into the shell for ``-c`` (specification 2.6)."""
    if options.command is None:
        return b""
    return os.fsencode(options.command) + (b"\n" if options.stays else b"; exit\n")


def _explained(error: CannotConnect | Refused, ways: SessionWays) -> StepFailed:
    where = ways.where
    unknown = "does not know the session that was just opened"
    other_server = (
        "another server may listen there than the one the session registered with; see -p "
        "and --serverfifo"
    )
    if isinstance(error, CannotConnect) and ways.refusing:
        what = f"the server at {ways.refusing} {unknown}, and no other is reached: {error}"
        return StepFailed("session", what, other_server)
    if isinstance(error, CannotConnect) and ways.chain is not None:
        return cannot_relay(str(error), where, ways.chain)
    if isinstance(error, CannotConnect) and ways.refusal:
        return StepFailed("connect", ways.refusal, "without --srv its ports are tried")
    if isinstance(error, CannotConnect):
        return StepFailed(
            "connect",
            f"ssh works, but {where} cannot be reached from here: {error}",
            f"is it open in the firewalls between, and a trioet or ET server behind it? -p names "
            f"another port, `trioet doctor {ways.host}` looks why",
        )
    if error.status is ConnectStatus.INVALID_KEY:
        return StepFailed(
            "session",
            f"the server at {ways.refusing or where} {unknown}",
            other_server,
        )
    hint = "install the same protocol version on both"
    return StepFailed("session", f"{where}: {plain(str(error))}", hint)
