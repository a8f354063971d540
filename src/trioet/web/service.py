"""`trioet web` as a service: listeners, signals, and when it ends by itself."""

from __future__ import annotations

import logging
import os
import signal
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from trioet.errors import LocalError, StepFailed
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
from trioet.wire.web_http import Request

log = logging.getLogger(__name__)

BACKLOG: Final = 256

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
        listener = listen(options)
        try:
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
                await self._follow_signals(front, visitors)
                serving.cancel()
                await visitors.say_goodbye()
                nursery.cancel_scope.cancel()
        finally:
            if options.unix_socket:
                with suppress(FileNotFoundError):
                    os.unlink(options.unix_socket)

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

    async def _follow_signals(self, front: Front, visitors: Visitors) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._reload_on_sighup, front)
            nursery.start_soon(_set_on_signal, visitors.finished)
            await visitors.finished.wait()
            nursery.cancel_scope.cancel()

    async def _reload_on_sighup(self, front: Front) -> None:
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            async for _ in signals:
                try:
                    front.context = tls_context(self._options)
                except LocalError as error:
                    log.error("certificates not reloaded: %s", error)
                else:
                    log.info("certificates reloaded")

    def _url(self, listener: socket.socket) -> str:
        if self._options.unix_socket:
            return self._options.unix_socket
        host, port = listener.getsockname()[:2]
        name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
        name = f"[{name}]" if ":" in name else name
        scheme = "https" if self._options.has_tls else "http"
        return f"{scheme}://{name}:{port}{self._options.path}"


async def _set_on_signal(finished: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            finished.set()


async def _serve(
    front: Front,
    listener: socket.socket,
    task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accept until cancelled; those who are there stay."""
    async with trio.open_nursery() as handlers:
        with trio.CancelScope() as accepting:
            task_status.started(accepting)
            listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
            await trio.serve_listeners(front.serve, listeners, handler_nursery=handlers)


def listen(options: WebOptions) -> socket.socket:
    """Listen where the operator wants it.

    Raises:
      StepFailed: that cannot be had.
    """
    if options.unix_socket:
        return _listen_unix(options.unix_socket)
    try:
        found = socket.getaddrinfo(
            options.address, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        return socket.create_server(
            address,
            family=family,
            backlog=BACKLOG,
            dualstack_ipv6=address[0] == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror
        what = f"cannot listen on {options.address} port {options.port}: {why}"
        hint = "choose another with --address or --port, or stop what listens there"
        raise StepFailed("listen", what, hint) from error


def _listen_unix(path: str) -> socket.socket:
    """A socket that only its owner may connect to, in place of one that nobody serves."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                with socket.socket(socket.AF_UNIX) as probe:
                    if probe.connect_ex(path) != 0:
                        os.unlink(path)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        what = f"cannot listen at {path}: {error.strerror or error}"
        hint = "choose another with --unix-socket, or stop what listens there"
        raise StepFailed("listen", what, hint) from error
    return listener
