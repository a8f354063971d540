"""A line that is known to lead to a server, because the server has answered.

What a socket says of itself is not enough where a program of somebody else's stands between:
ssh takes what it is given before it knows whether the channel opens. So the first words of the
link are said here, and the line exists once something came back.
"""

from __future__ import annotations

import socket

from trioet.link.line import LineBroken, SocketLine


class GreetedLine(SocketLine):
    """A line on which the link's first words have been said already.

    The link says them too, as on any line; they are taken and not sent again.
    """

    def __init__(
        self, sock: socket.socket, greeting: bytes, answer: bytes, peer_name: str = ""
    ) -> None:
        super().__init__(sock, peer_name)
        self._said = greeting
        self._answer = answer

    def try_send(self, data: bytes | memoryview) -> int:
        if not self._said:
            return super().try_send(data)
        taken = min(len(data), len(self._said))
        if self._said[:taken] != data[:taken]:
            raise LineBroken("this connection was opened for other words")
        self._said = self._said[taken:]
        rest = data[taken:]
        return taken + (super().try_send(rest) if rest else 0)

    async def receive(self) -> bytes:
        if self._answer:
            answer, self._answer = self._answer, b""
            return answer
        return await super().receive()
