"""GoTTY's and ttyd's clients: a process for each connection, which ends with it, as theirs do.

What theirs do not do: all that a process has written is delivered before the end, which is a
close with 1000 and the exit status; input may have any length; nothing is dropped.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import trio
from websockets.frames import CloseCode

from trioet.errors import LocalError
from trioet.session.shell import LAST_OUTPUT_S, Shell
from trioet.session.terminal import DEFAULT_SIZE, MAX_PENDING_INPUT
from trioet.web.granting import start
from trioet.web.limits import Full
from trioet.web.login import LockedOut, Login
from trioet.web.options import WebOptions
from trioet.web.site import Refusal, Site
from trioet.web.titles import inert
from trioet.web.visitors import Visitors
from trioet.web.websocket import Gone, WebSocket
from trioet.wire.messages import WindowSize
from trioet.wire.web_http import Request
from trioet.wire.web_tty import (
    Asked,
    BadMessage,
    Hello,
    Resized,
    Said,
    Tty,
    Typed,
    Webtty,
    arguments,
)

HELLO_DEADLINE_S: Final = 10.0
PONG_S: Final = 5.0
SIZE_PATIENCE_S: Final = 0.25
"""How long a process waits for GoTTY's page to say a size; it does at once."""


class Terminals:
    """Serves connections of either kind."""

    def __init__(self, options: WebOptions, site: Site, login: Login, visitors: Visitors) -> None:
        self._options = options
        self._site = site
        self._login = login
        self._visitors = visitors

    async def serve_webtty(self, browser: WebSocket, request: Request, source: str) -> None:
        """Serve a client of GoTTY's until it has gone, or its process has ended."""
        await self._serve(browser, request, source, Webtty())

    async def serve_tty(self, browser: WebSocket, request: Request, source: str) -> None:
        """The same for a client of ttyd's."""
        await self._serve(browser, request, source, Tty())

    async def _serve(
        self, browser: WebSocket, request: Request, source: str, speech: Webtty | Tty
    ) -> None:
        try:
            async with self._visitors.present(browser) as welcome:
                if welcome:
                    await self._greet(browser, request, source, speech)
        except Gone:
            pass
        except BadMessage as error:
            await browser.close(CloseCode.PROTOCOL_ERROR, str(error))

    async def _greet(
        self, browser: WebSocket, request: Request, source: str, speech: Webtty | Tty
    ) -> None:
        with trio.move_on_after(HELLO_DEADLINE_S) as patience:
            hello = speech.hello(await browser.receive())
        if patience.cancelled_caught:
            raise BadMessage("no first message")
        try:
            if not await self._may_enter(hello, request, source):
                raise Refusal(HTTPStatus.UNAUTHORIZED, "log in first")
            asked = hello.arguments if isinstance(speech, Webtty) else arguments(request.query)
            words = self._site.permitted(list(asked))
            with self._visitors.own_process(source):
                await self._run(browser, speech, hello.size, words, request, source)
        except Refusal as refusal:
            await browser.close(CloseCode.POLICY_VIOLATION, refusal.what)
        except LockedOut as locked:
            wait = f"too many wrong passwords; wait {locked.seconds} s"
            await browser.close(CloseCode.POLICY_VIOLATION, wait)
        except Full:
            await browser.close(CloseCode.TRY_AGAIN_LATER, "as many processes as there may be")
        except LocalError:
            await browser.close(CloseCode.INTERNAL_ERROR, "the command cannot be started")

    async def _may_enter(self, hello: Hello, request: Request, source: str) -> bool:
        """True if the request or the first message says what lets somebody in."""
        if await self._site.is_logged_in(request, source):
            return True
        if "token" in self._login.ways and ":" not in hello.auth_token:
            return self._login.token_is_right(source, hello.auth_token)
        return await self._login.word_is_right(source, hello.auth_token)

    async def _run(
        self,
        browser: WebSocket,
        speech: Webtty | Tty,
        size: WindowSize | None,
        words: Sequence[str],
        request: Request,
        source: str,
    ) -> None:
        early: list[Said] = []
        if size is None:
            with trio.move_on_after(SIZE_PATIENCE_S):
                while size is None:
                    early.append(said := speech.read(await browser.receive()))
                    size = said.size if isinstance(said, Resized) else None
        shell = start(self._options, words, self._site.environment(request), size or DEFAULT_SIZE)
        try:
            for message in self._begin(speech, shell, source):
                await browser.send(message)
            terminal = _Terminal(browser, speech, shell, self._options)
            await terminal.serve(early)
        finally:
            await shell.aclose()

    def _begin(self, speech: Webtty | Tty, shell: Shell, source: str) -> list[str] | list[bytes]:
        options = self._options
        if isinstance(speech, Webtty):
            title = self._site.title_for(pid=shell.pid, remote_addr=source)
            return speech.begin(title, options.preferences, options.reconnect_s)
        command = " ".join([options.name, *options.command[1:]])
        title = inert(f"{command} ({socket.gethostname()})")
        return speech.begin(title, options.preferences)


class _Terminal:
    """One process and the connection that it belongs to."""

    def __init__(
        self, browser: WebSocket, speech: Webtty | Tty, shell: Shell, options: WebOptions
    ) -> None:
        self._browser = browser
        self._speech = speech
        self._shell = shell
        self._options = options
        self._pending = bytearray()
        self._typed = trio.lowlevel.ParkingLot()
        self._taken = trio.lowlevel.ParkingLot()
        self._resumed = trio.Event()
        self._resumed.set()
        self._status: int | None = None
        self._ended = trio.Event()
        self._reading = trio.CancelScope()

    async def serve(self, early: list[Said]) -> None:
        """Pass on both ways; close the WebSocket behind the last output of the process.

        Raises:
          BadMessage: something came that makes no sense.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._feed)
                nursery.start_soon(self._hear, early)
                nursery.start_soon(self._notice_end)
                await self._show()
                await self._ended.wait()
                nursery.cancel_scope.cancel()
        except* Gone:
            pass
        except* BadMessage as errors:
            raise BadMessage(str(errors.exceptions[0])) from None
        if self._status is None:
            return
        ended = f"exit status {self._status}" if self._status >= 0 else f"signal {-self._status}"
        await self._browser.close(CloseCode.NORMAL_CLOSURE, ended)

    # From the process

    async def _show(self) -> None:
        while True:
            await self._resumed.wait()
            # After its end, for as long as something comes; a background job may hold the
            # terminal open for ever.
            patience = math.inf if self._status is None else LAST_OUTPUT_S
            with trio.move_on_after(patience) as self._reading:
                output = await self._shell.read_output()
                if not output:
                    return
            if self._reading.cancelled_caught:
                return
            await self._browser.send(self._speech.output(output))

    async def _notice_end(self) -> None:
        self._status = await self._shell.wait()
        self._ended.set()
        self._reading.deadline = min(self._reading.deadline, trio.current_time() + LAST_OUTPUT_S)

    # From the client

    async def _hear(self, early: list[Said]) -> None:
        for said in early:
            await self._heed(said)
        while True:
            await self._heed(self._speech.read(await self._browser.receive()))

    async def _heed(self, said: Said) -> None:
        match said:
            case Typed(data) if self._options.permit_write:
                await self._type(data)
            case Resized(size):
                width, height = self._options.width, self._options.height
                self._shell.resize(WindowSize(height or size.rows, width or size.columns))
            case Asked.PING:
                # Whole, even if the process ends just now: the end comes behind it.
                with trio.move_on_after(PONG_S, shield=True):
                    await self._browser.send(Webtty.pong())
            case Asked.PAUSE if self._resumed.is_set():
                self._resumed = trio.Event()
            case Asked.RESUME:
                self._resumed.set()

    async def _type(self, data: bytes) -> None:
        if not self._pending:
            data = data[self._shell.write_nowait(data) :]
        if not data:
            return
        self._pending += data
        self._typed.unpark_all()
        while len(self._pending) > MAX_PENDING_INPUT:
            # A program that may not write will not read either, and RESUME is behind this.
            self._resumed.set()
            await self._taken.park()

    async def _feed(self) -> None:
        while True:
            while not self._pending:
                await self._typed.park()
            await self._shell.wait_writable()
            del self._pending[: self._shell.write_nowait(self._pending)]
            self._taken.unpark_all()
