"""`trioet web` as a service: listeners, signals, and when it ends by itself."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from socket import gethostname
from typing import Final

import trio

from trioet.errors import LocalError, StepFailed
from trioet.session.listeners import CannotListen, Listener, open_listener, remove_abandoned
from trioet.web.front import Front, Spoken
from trioet.web.login import Login
from trioet.web.options import WebOptions
from trioet.web.sessions import Sessions
from trioet.web.site import Site
from trioet.web.static_files import read_static_files
from trioet.web.terminals import Terminals
from trioet.web.tls import tls_context
from trioet.web.visitors import Visitors
from trioet.web.websocket import WebSocket
from trioet.wire.forward import ANYWHERE, LOOPBACK, Address, Endpoint, UnixPath
from trioet.wire.web_http import Request

log = logging.getLogger(__name__)

FOLLOWED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

MAX_MESSAGE: Final = 1024 * 1024
"""Bytes of a message of the link's, from a browser."""

MAX_PASTE: Final = 16 * 1024 * 1024
"""Bytes of a message of GoTTY's or ttyd's pages: these send what is pasted as one."""

MAX_WORDS: Final = 64 * 1024
"""The same where what is typed goes nowhere."""


class Service:
    """One `trioet web`. ``announce`` hears where the page is, when it is there."""

    def __init__(
        self,
        options: WebOptions,
        sessions: Sessions,
        key: bytes,
        announce: Callable[[str], None] = lambda url: None,
    ) -> None:
        self._options = options
        self._sessions = sessions
        self._login = Login(options.credentials, options.token, key)
        self._announce = announce
        self.finished = trio.Event()
        """Set, it ends the service."""

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, or until nobody is to be served any more.

        Sessions go on in their keeper; pages come again when somebody serves them.

        Raises:
          LocalError: an address cannot be had, or a file not be read.
        """
        options = self._options
        context = tls_context(options)
        files = read_static_files()
        with await listen(options) as listener, trio.open_signal_receiver(*FOLLOWED) as signals:
            async with trio.open_nursery() as nursery:
                visitors = Visitors(options, self._sessions, nursery, self.finished)
                site = Site(options, self._login, visitors, files)
                front = Front(
                    site,
                    self._spoken(site, visitors),
                    context,
                    ping_s=options.ping_s,
                    proxies=options.proxies,
                )
                serving = await nursery.start(_serve, front, listener)
                nursery.start_soon(front.ask_after_the_silent)
                self._announce(self._url(listener))
                nursery.start_soon(self._end_when_idle, visitors)
                nursery.start_soon(self._follow, signals, front)
                await self.finished.wait()
                serving.cancel()
                await visitors.say_goodbye()
                nursery.cancel_scope.cancel()

    def _spoken(self, site: Site, visitors: Visitors) -> dict[str, Spoken]:
        async def link(browser: WebSocket, _request: Request, _source: str) -> None:
            await visitors.serve(browser)

        if self._options.only_link:
            return {"trioet": Spoken(link, MAX_MESSAGE)}
        terminals = Terminals(self._options, site, self._login, visitors)
        most = MAX_PASTE if self._options.permit_write else MAX_WORDS
        webtty = Spoken(terminals.serve_webtty, most, asks_itself=True)
        tty = Spoken(terminals.serve_tty, most, asks_itself=True)
        # GoTTY's clients need not name theirs.
        return {"trioet": Spoken(link, MAX_MESSAGE), "webtty": webtty, "tty": tty, "": webtty}

    async def _end_when_idle(self, visitors: Visitors) -> None:
        if self._options.timeout_s:
            await visitors.wait_nobody(self._options.timeout_s)
            log.info("nobody came for %g s (--timeout)", self._options.timeout_s)
            visitors.finished.set()

    async def _follow(self, signals: AsyncIterator[int], front: Front) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                self._reload(front)
            else:
                self.finished.set()

    def _reload(self, front: Front) -> None:
        try:
            front.context = tls_context(self._options)
        except LocalError as error:
            log.error("certificates not reloaded: %s", error)
        else:
            log.info("certificates reloaded" if front.context else "no certificates to reload")

    def _url(self, listener: Listener) -> str:
        where = listener.addresses[0]
        if isinstance(where, UnixPath):
            return self._options.unix_socket
        host = LOOPBACK if self._options.address == LOOPBACK else where.host
        name = gethostname() if host in ("0.0.0.0", "::") else host
        name = f"[{name}]" if ":" in name else name
        scheme = "https" if self._options.has_tls else "http"
        return f"{scheme}://{name}:{where.port}{self._options.path}"


async def _serve(
    front: Front,
    listener: Listener,
    task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accept until cancelled; those who are there stay."""
    async with trio.open_nursery() as handlers:
        with trio.CancelScope() as accepting, listener:
            task_status.started(accepting)
            while True:
                sock = trio.socket.from_stdlib_socket(await listener.accept())
                handlers.start_soon(front.serve, trio.SocketStream(sock))


async def listen(options: WebOptions) -> Listener:
    """Listen where the operator wants it: a name is all its addresses.

    A Unix socket is its owner's alone, and in place of one that nobody serves.

    Raises:
      StepFailed: that cannot be had.
    """
    where = _where(options)
    if isinstance(where, UnixPath):
        remove_abandoned(where.path)
    try:
        return await open_listener(where)
    except CannotListen as error:
        option = "--unix-socket" if options.unix_socket else "--address or --port"
        hint = f"choose another with {option}, or stop what listens there"
        raise StepFailed("listen", str(error), hint) from error


def _where(options: WebOptions) -> Endpoint:
    if options.unix_socket:
        return UnixPath(os.path.abspath(options.unix_socket))
    # "::" is every address of both families.
    return Address(ANYWHERE if options.address == "::" else options.address, options.port)
