"""`trioet web`: a command in the browser, for each visitor a session that survives."""

from __future__ import annotations

import dataclasses
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import trio

from trioet.bootstrap.credentials import new_real_credentials
from trioet.cli.keeper_answer import granted
from trioet.cli.output import Printing
from trioet.cli.private import keep_private
from trioet.cli.terminal import connect_keeper
from trioet.cli.web_options import is_private, read_options
from trioet.cli.web_unit import print_unit
from trioet.errors import LocalError, StepFailed, TrioetError
from trioet.link.quick_stream import QuickStream
from trioet.server.guest_request import GuestRequest
from trioet.server.pages import published_page
from trioet.server.places import guests_socket, make_runtime_dir
from trioet.server.share_request import TakeRequest
from trioet.session.descriptors import raise_limit
from trioet.web.far_sessions import FarSessions
from trioet.web.granting import TERM, grant
from trioet.web.login import token_for
from trioet.web.options import WebOptions
from trioet.web.service import Service
from trioet.web.sessions import Environment, OneSession, Opened, Sessions
from trioet.web.static_files import BUILT

KEY_BYTES: Final = 32
ANSWER_DEADLINE_S: Final = 15.0
MAX_ANSWER: Final = 64 * 1024

log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or SIGINT."""
    options = read_options(argv)
    if options.print_unit:
        sys.stdout.write(print_unit(argv))
        return 0
    keep_private()
    raise_limit()
    level = logging.WARNING if options.quiet else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # tells every visitor's mishap
    _warn(options)
    key = web_key()
    options = dataclasses.replace(options, token=token_for(options, key))
    with published_page() as publish:
        trio.run(serve, options, key, _announcer(options, publish))
    return 0


async def serve(options: WebOptions, key: bytes, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, or until nobody is to be served any more.

    ``announce`` hears the link. Sessions live on in their keeper.

    Raises:
      LocalError: it cannot be served; with --e2e also: there is no session.
    """
    failure: BaseException | None = None  # carried out, not thrown: a nursery would wrap it
    async with trio.open_nursery() as nursery:
        sessions: Sessions = KeeperSessions(options)
        if options.far is not None:
            sessions = FarSessions(options, options.far, nursery)
        try:
            if options.e2e:
                await _serve_one(options, sessions, key, announce, nursery)
            else:
                await Service(options, sessions, key, announce).run()
        except* TrioetError as group:
            failure = group
        nursery.cancel_scope.cancel()
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if failure is not None:
        raise failure


async def _serve_one(
    options: WebOptions,
    sessions: Sessions,
    key: bytes,
    announce: Callable[[str], None],
    nursery: trio.Nursery,
) -> None:
    """Open the one session, tell its key by the link, and forget it."""
    opened = await sessions.open((), {})
    secret = f"#session={opened.credentials.client_id}/{opened.credentials.passkey}"
    wait_over = opened.wait_over
    del opened

    def tell(url: str) -> None:
        announce(url + secret)

    service = Service(options, OneSession(sessions), key, tell)

    async def end_with_it() -> None:
        await wait_over()
        service.finished.set()

    nursery.start_soon(end_with_it)
    await service.run()


def _announcer(options: WebOptions, publish: Callable[[str], None]) -> Callable[[str], None]:
    def announce(url: str) -> None:
        if options.has_shares:
            publish(url)
        link = f"{url}#token={options.token}" if options.token else url
        with Printing():
            print(f"trioet web: {link}")

    return announce


def _warn(options: WebOptions) -> None:
    if not (options.only_shares or options.permit_write):
        log.info("visitors look on; to let them type: -w")
    if not (is_private(options) or options.has_tls):
        log.warning("without TLS (-t) everybody on the way can read along")
    if not (BUILT / "index.html").exists() and not options.index:
        log.warning("this trioet was installed without the page for browsers: npm builds it")


class KeeperSessions:
    """Sessions of this user's keeper, on this machine."""

    def __init__(self, options: WebOptions) -> None:
        self._options = options

    async def open(self, arguments: Sequence[str], environment: Environment, /) -> Opened:
        """Ask the keeper, started if need be.

        Raises:
          LocalError: it refuses, or there is none.
        """
        credentials = new_real_credentials()
        granted = grant(self._options, arguments)
        request = GuestRequest(credentials, TERM, {**os.environb, **environment}, granted)
        stream, _ = await _ask(request.encode())

        async def wait_over() -> None:
            async with stream:
                try:
                    await stream.receive_some(1)
                except trio.BrokenResourceError:
                    return

        return Opened(credentials, wait_over)

    async def take(self, ticket: str, source: str) -> Mapping[str, object]:
        """Ask the keeper what is in the box of a link, which nobody but its browser can open.

        Raises:
          LocalError: it refuses, or there is none.
        """
        stream, told = await _ask(TakeRequest(ticket, source).encode())
        await trio.aclose_forcefully(stream)
        return told

    async def dial(self, request: bytes) -> trio.abc.Stream:
        """Connect to the keeper's door for guests.

        Raises:
          OSError: nobody is there.
        """
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            sock.connect(guests_socket())
        except OSError:
            sock.close()
            raise
        stream = QuickStream(sock)
        try:
            await stream.send_all(request)
        except trio.BrokenResourceError:
            pass  # what it said before is still to be read
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream


async def _ask(request: bytes) -> tuple[trio.SocketStream, Mapping[str, object]]:
    """Ask the keeper, started if need be; return the connection, and what it says.

    Raises:
      LocalError: it refuses, or there is none.
    """
    descriptor = await trio.to_thread.run_sync(connect_keeper)
    stream = trio.SocketStream(trio.socket.socket(fileno=descriptor))
    try:
        with trio.fail_after(ANSWER_DEADLINE_S):
            await stream.send_all(request)
            await stream.send_eof()
            answer = await _read_line(stream)
        older = StepFailed(
            "keeper",
            "the keeper that runs here is an older trioet's, which knows no guests",
            "end this user's sessions here (trioet connect -x localhost), and wait for its end",
        )
        return stream, granted(answer, older)
    except (trio.TooSlowError, trio.BrokenResourceError):
        await trio.aclose_forcefully(stream)
        raise LocalError("the keeper does not answer; its log is keeper.log") from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _read_line(stream: trio.SocketStream) -> bytes:
    answer = b""
    while not answer.endswith(b"\n") and len(answer) < MAX_ANSWER:
        data = await stream.receive_some(MAX_ANSWER)
        if not data:
            break
        answer += data
    return answer


def web_key() -> bytes:
    """The key that seals this user's cookies, made if need be: so a login outlives a restart.

    Raises:
      LocalError: there is no place for it.
    """
    path = os.path.join(make_runtime_dir(), "web.key")
    try:
        with open(path, "rb") as file:
            if len(key := file.read()) == KEY_BYTES:
                return key
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from error
    key = secrets.token_bytes(KEY_BYTES)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
    except FileExistsError:
        return web_key()  # another `trioet web` was quicker
    except OSError as error:
        raise LocalError(f"cannot make {path}: {error.strerror}") from error
    return key
