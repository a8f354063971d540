"""Ask a keeper for sessions and use them, as `trioet terminal` and `trioet connect` do."""

from __future__ import annotations

import json
from typing import Any

import trio

from pairs import Inbox
from trioet.bootstrap.credentials import new_real_credentials
from trioet.errors import TrioetError
from trioet.link.dial import dial
from trioet.link.line import LineBroken
from trioet.link.reconnect import Reconnector
from trioet.link.resumable import ResumableLink, Role
from trioet.server.request import INVITED, REFUSED, OpenRequest
from trioet.wire.messages import (
    LEFT,
    Exec,
    InitialPayload,
    SessionOver,
    decode_session_over,
    decode_terminal_buffer,
    encode_initial_payload,
    encode_session_over,
    encode_terminal_buffer,
)
from trioet.wire.packet import PacketType
from waiting import until

FEATURES = ("acks", "over", "exec")
ECHO = b"exec cat"
"""A program that shows what is typed."""


async def ask(path: str, request: bytes) -> bytes:
    """Send a request to the keeper at ``path``; return all that it answers."""
    with trio.fail_after(10):
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(request)
            await stream.send_eof()
            return b"".join([bytes(data) async for data in stream])


def invitation(answer: bytes) -> dict[str, Any]:
    """What an answer that grants a session says."""
    assert answer.startswith(INVITED), answer
    fields: dict[str, Any] = json.loads(answer.removeprefix(INVITED))
    return fields


def refusal(answer: bytes) -> dict[str, str]:
    """What an answer that grants none says."""
    assert answer.startswith(REFUSED), answer
    fields: dict[str, str] = json.loads(answer.removeprefix(REFUSED))
    return fields


class Caller:
    """One session: who asked for it, and uses it from the tasks of a nursery."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.credentials = new_real_credentials()
        self.inbox = Inbox()
        passkey = self.credentials.passkey.encode()
        self.link = ResumableLink(passkey, Role.CLIENT, self.inbox)
        self.inbox.link = self.link
        self.lost: TrioetError | None = None
        """Why the session cannot be had any more."""
        self.port = 0
        """Where it comes to next."""
        self._nursery = nursery

    def request(
        self,
        *,
        term: str = "xterm",
        router_socket: str = "",
        ports: tuple[int, int] | None = None,
        kill_others: bool = False,
    ) -> bytes:
        """The request for it."""
        return OpenRequest(
            self.credentials,
            term,
            {b"PATH": b"/usr/bin:/bin"},
            router_socket=router_socket,
            ports=ports,
            kill_others=kill_others,
        ).encode()

    def begin(self, port: int, command: bytes = ECHO, *, pty: bool = False) -> None:
        """Run a command in the session, and keep connected to it."""
        payload = InitialPayload(features=FEATURES, exec=Exec(command, pty))
        self.link.send(PacketType.INITIAL_PAYLOAD, encode_initial_payload(payload))
        self.port = port
        self._nursery.start_soon(self._keep_connected)

    async def _keep_connected(self) -> None:
        client_id = self.credentials.client_id.encode()
        reconnector = Reconnector(self.link, client_id, lambda: dial("127.0.0.1", self.port))
        self.link.on_change = reconnector.line_changed
        try:
            await reconnector.run()
        except* TrioetError as errors:
            self.lost = next(error for error in errors.exceptions if isinstance(error, TrioetError))

    async def refused_at(self, port: int) -> str:
        """Come once more; return why that failed."""
        line = await dial("127.0.0.1", port)
        try:
            await self.link.run_client_line(line, self.credentials.client_id.encode())
        except (LineBroken, TrioetError) as error:
            return str(error)
        raise AssertionError("a line's life ends in an exception")

    def cut(self) -> None:
        """Lose every line; whoever keeps connected comes again."""
        for line in self.link.lines:
            line.close()

    def type(self, text: bytes) -> None:
        """Type."""
        self.link.send(PacketType.TERMINAL_BUFFER, encode_terminal_buffer(text))

    @property
    def shown(self) -> bytes:
        """Everything the program has written so far."""
        return b"".join(
            decode_terminal_buffer(packet.payload)
            for packet in self.inbox.packets
            if packet.type == PacketType.TERMINAL_BUFFER
        )

    async def echoes(self, text: bytes) -> None:
        """Type, and see exactly that."""
        before = self.shown
        self.type(text)
        await until(lambda: len(self.shown) >= len(before + text))
        assert self.shown == before + text

    async def until_shown(self, text: bytes) -> None:
        """Wait until the program has written this."""
        await until(lambda: text in self.shown)

    @property
    def over(self) -> SessionOver | None:
        """What was said when the session ended."""
        for packet in self.inbox.packets:
            if packet.type == PacketType.SESSION_OVER:
                return decode_session_over(packet.payload)
        return None

    async def until_over(self) -> SessionOver:
        """Wait for the end; let the keeper know that we were told."""
        await until(lambda: self.over)
        self.link.send_keepalive()
        assert self.over is not None
        return self.over

    def leave(self) -> None:
        """End the session for good, as a user does with ``~.``."""
        over = encode_session_over(SessionOver(reason=LEFT))
        self.link.send(PacketType.SESSION_OVER, over)
