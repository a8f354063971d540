"""A client of goscon's protocol that does what it is told, right or wrong."""

from __future__ import annotations

from dataclasses import replace

import trio

from trioet.wire.scon_handshake import (
    FrameReader,
    NewRequest,
    ResumeRequest,
    frame,
    parse_new_answer,
)
from trioet.wire.scon_keys import public_key, shared_secret
from trioet.wire.scon_streams import Arc4Inward, Arc4Keys, Arc4Outward

PRIVATE = 0x539A026C334C9985


class Caller:
    """One session, over as many connections as the test makes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.session_id = 0
        self.keys = Arc4Keys(0)
        self.sent = b""
        """All ciphertext so far: a real client keeps some."""
        self.stream: trio.SocketStream
        self.opened: list[trio.SocketStream] = []

    async def connect(self) -> trio.SocketStream:
        self.opened.append(await trio.open_tcp_stream("127.0.0.1", self.port))
        return self.opened[-1]

    def close(self) -> None:
        """Close every connection that was made."""
        for stream in self.opened:
            stream.socket.close()

    async def ask(self, text: bytes, rest: bytes = b"") -> bytes:
        """Say this on a new connection, which is :attr:`stream` then; return the answer."""
        self.stream = await self.connect()
        await self.stream.send_all(frame(text) + rest)
        reader = FrameReader()
        while True:
            data = await self.stream.receive_some(reader.wanted)
            if not data:
                return b"closed"
            answer = reader.feed(data)
            if answer is not None:
                return answer

    async def begin(self, target: bytes = b"test1", flags: int = 0) -> None:
        request = NewRequest(public_key(PRIVATE), target, flags)
        answer = parse_new_answer(await self.ask(request.text()))
        secret = shared_secret(PRIVATE, answer.public)
        self.session_id, self.keys = answer.session_id, Arc4Keys(secret)
        self.outward, self.inward = Arc4Outward(secret), Arc4Inward(secret)

    async def resume(
        self, index: int, received: int | None = None, *, code: bytes = b"", rest: bytes = b""
    ) -> bytes:
        """Ask to resume; return the answer."""
        got = self.inward.received if received is None else received
        request = ResumeRequest(self.session_id, index, got)
        request = replace(request, code=code or self.keys.sign(request))
        return await self.ask(request.text(), rest)

    async def say(self, data: bytes) -> None:
        sealed = self.outward.seal(data)
        self.sent += sealed
        await self.stream.send_all(sealed)

    async def hear(self, size: int) -> bytes:
        """So many bytes, or as many as came before the end."""
        got = b""
        while len(got) < size:
            data = await self.stream.receive_some(size - len(got))
            if not data:
                break
            got += self.inward.open(bytes(data))
        return got

    async def hears_end(self) -> bool:
        """True when the connection is closed, whatever comes before that."""
        try:
            while await self.stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        return True
