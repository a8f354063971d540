"""The half of `trioet proxy` that needs Trio: what it is made of, and how it logs in."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from shutil import which

import trio

from trioet.bootstrap.credentials import bootstrap_line, new_credentials
from trioet.bootstrap.invitation import Invitation
from trioet.bootstrap.spawn import spawn_ssh, spawn_ssh_config, ssh_argv, ssh_config_argv
from trioet.bootstrap.ssh_config import SshConfig
from trioet.cli.connect import jumphosts_found
from trioet.cli.connect_options import ConnectOptions, SshBackend
from trioet.cli.connected import connect, connect_without_ssh, drive, settle_in
from trioet.cli.output import write_error
from trioet.cli.passage import Passage
from trioet.cli.piped import bare_wish
from trioet.cli.proxy_options import ProxyOptions
from trioet.cli.session_ways import SessionWays
from trioet.client.app import Client
from trioet.client.console import open_console
from trioet.health.place import listen, parse_place, read_token
from trioet.proxy.entrance import accept_eternal, accept_sockets
from trioet.proxy.figures import Figures
from trioet.proxy.gateway import Carrier, Gateway
from trioet.proxy.keys import read_key
from trioet.proxy.onward import Onward, OpenStream, eternal, plain
from trioet.proxy.places import ProxyPlace
from trioet.proxy.service import serve
from trioet.session.listeners import open_listener, remove_abandoned
from trioet.wire.forward import Address, UnixPath

log = logging.getLogger(__name__)


def run_proxy(options: ProxyOptions) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP.

    Raises:
      LocalError: it cannot listen.
      UsageError: a file of the command line cannot be followed.
    """
    key = read_key(options.key_file) if options.key_file is not None else b""
    token = read_token(options.health_token) if options.health_token is not None else None
    with ExitStack() as opened:
        health = None
        if options.health is not None:
            health = opened.enter_context(listen(parse_place(options.health), token))
        session = options.session
        if session is not None:
            session = opened.enter_context(jumphosts_found(session))
        trio.run(_run, options._replace(session=session), key, health, token)


async def _run(
    options: ProxyOptions, key: bytes, health: socket.socket | None, token: str | None
) -> None:
    settle_in()
    figures = Figures()
    gateway = None
    if isinstance(options.listen.endpoint, UnixPath):
        remove_abandoned(options.listen.endpoint.path)
    with await open_listener(options.listen.endpoint) as listener:
        accept: Callable[[], Awaitable[None]]
        if options.session is not None:
            login = StandingLogin(options.session)
            to = options.to.endpoint
            gateway = Gateway(options.session.host, login.open_session, to, figures)
            accept = partial(accept_sockets, listener, gateway.carry, figures)
        else:
            onward = Onward(str(options.to), _open_far(options.to, key), figures)
            if options.listen.eternal:
                accept = partial(accept_eternal, listener, key, onward.carry_eternal, figures)
            else:
                accept = partial(accept_sockets, listener, onward.carry_socket, figures)
        via = f" via {options.session.host}" if options.session is not None else ""
        await serve(
            accept,
            figures,
            gateway=gateway,
            health=health,
            token=token,
            what=f"{' and '.join(map(str, listener.addresses))} leads to {options.to}{via}",
        )


def _open_far(to: ProxyPlace, key: bytes) -> OpenStream:
    if not to.eternal:
        return plain(to.endpoint)
    assert isinstance(to.endpoint, Address), "a path is refused"
    return eternal(to.endpoint, key)


class StandingLogin:
    """Logs in to the gateway, as often as it takes. The first login may ask the user, if there is
    one; all others must do without."""

    def __init__(self, options: ConnectOptions) -> None:
        self._options = options
        self._may_ask = os.isatty(0)

    async def open_session(self, carrier: Carrier) -> None:
        """Log in, and run a session to its end.

        Cancellation ends ssh and the connection; the session stays alive on the gateway.

        Raises:
          TrioetError: no session could be had, or it is lost.
        """
        options = self._options
        if not self._may_ask:
            options = options._replace(ssh_options=(*options.ssh_options, "BatchMode=yes"))
        self._may_ask = False
        target, run = options.ssh_target, partial(_run_session, carrier)
        line = bootstrap_line(new_credentials(), options.term)
        if options.ssh_backend is SshBackend.ASYNCSSH or which("ssh") is None:
            await connect_without_ssh(options, line, run)
            return
        ssh = spawn_ssh(ssh_argv(target, options.remote_command), line, options.host)
        config = spawn_ssh_config(ssh_config_argv(target), options.host)
        await connect(options, ssh, config, run)


async def _run_session(
    carrier: Carrier,
    options: ConnectOptions,
    config: SshConfig,
    invitation: Invitation,
    passage: Passage,
) -> int:
    ways = SessionWays(options, config, invitation, passage)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        with open_console(nothing, nothing, raw=False) as console:
            client = Client(
                bare_wish(ways, invitation, passage, carrier.carry), console, write_error
            )
            carrier.began(client)
            if passage.notice:
                log.info("%s", passage.notice)
            return await drive(client, ways, log.info)
    finally:
        os.close(nothing)
