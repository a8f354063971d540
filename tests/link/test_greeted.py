from __future__ import annotations

import socket

import pytest
import trio

from trioet.link.greeted import GreetedLine
from trioet.link.line import LineBroken


@pytest.mark.parametrize("size", [1, 3, 5, 6, 100])
async def test_the_first_words_are_not_said_twice(size: int) -> None:
    ours, theirs = socket.socketpair()
    line = GreetedLine(ours, b"hello", b"good day")
    words = b"hello, and this"
    at = 0
    while at < len(words):
        at += line.try_send(words[at : at + size])
    line.shutdown()
    with theirs:
        assert theirs.recv(100) == b", and this"
        theirs.sendall(b" to you")
        assert await line.receive() == b"good day"
        assert await line.receive() == b" to you"
        line.close()


async def test_other_words_are_not_sent() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        line = GreetedLine(ours, b"hello", b"good day")
        with pytest.raises(LineBroken, match="other words"):
            line.try_send(b"help")
        line.close()
        assert theirs.recv(100) == b""


async def test_a_cancelled_receive_loses_nothing() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        line = GreetedLine(ours, b"hello", b"good day")
        assert await line.receive() == b"good day"
        with trio.move_on_after(0.01):
            await line.receive()
        theirs.sendall(b"x")
        assert await line.receive() == b"x"
        line.close()
