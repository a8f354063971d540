"""The introduction on a connection, from either side: in clear, or inside TLS."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from trioet.errors import FrameError, MessageError
from trioet.eternal.line_stream import LineStream
from trioet.link.line import Line
from trioet.link.resumable import Refused
from trioet.wire.agreement import PreSharedKey
from trioet.wire.handshake import Handshake
from trioet.wire.introduction import IntroductionOfClient, words_of
from trioet.wire.messages import ConnectRequest, ConnectResponse

NOBODY = PreSharedKey(b"")
"""Inside TLS, which says who is there."""


@dataclass(frozen=True)
class Introduced:
    """What a client and a server know of each other now."""

    client_id: bytes
    passkey: bytes = field(repr=False)
    peer_certificate: Mapping[str, Any] | None = None


async def introduce(line: Line, client_id: bytes, psk: PreSharedKey) -> Introduced:
    """Introduce a client; the line can then be used by the link.

    Raises:
      Refused: the server said no, and why.
      PeerError: whoever is there knows nothing of introductions, or lacks the key.
      BrokenResourceError: the connection is gone.
    """
    passkey = await _converse(LineStream(line), IntroductionOfClient(psk, client_id))
    return Introduced(client_id, passkey)


async def introduce_in_tls(
    line: Line, client_id: bytes, context: ssl.SSLContext, server_hostname: str
) -> Introduced:
    """Introduce a client inside TLS. The line is of no use afterwards.

    Raises:
      Refused, PeerError, BrokenResourceError: as :func:`introduce`.
    """
    stream = trio.SSLStream(LineStream(line), context, server_hostname=server_hostname)
    passkey = await _converse(stream, IntroductionOfClient(NOBODY, client_id))
    return Introduced(client_id, passkey, _certificate(stream))


async def read_request_in_tls(
    line: Line, context: ssl.SSLContext
) -> tuple[trio.SSLStream[LineStream], ConnectRequest, Mapping[str, Any] | None]:
    """Read the introduction of a client that begins with TLS, and its certificate if it has one.

    Raises:
      PeerError: it makes no sense.
      BrokenResourceError: the connection is gone, or TLS failed.
    """
    stream = trio.SSLStream(LineStream(line), context, server_side=True)
    handshake = Handshake.server()
    while True:
        data = await stream.receive_some()
        if not data:
            raise FrameError("closed before an introduction was whole")
        for event in handshake.feed(bytes(data)):
            if not isinstance(event, ConnectRequest) or event.introduction is None:
                raise MessageError("TLS without an introduction")
            return stream, event, _certificate(stream)


async def _converse(stream: trio.abc.Stream, introduction: IntroductionOfClient) -> bytes:
    await stream.send_all(introduction.request)
    while True:
        data = await stream.receive_some()
        if not data:
            raise trio.BrokenResourceError("the server closed the connection without an answer")
        match introduction.feed(bytes(data)):
            case ConnectResponse(status, text):
                raise Refused(status, words_of(text))
            case bytes() as passkey:
                return passkey


def _certificate(stream: trio.SSLStream[LineStream]) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = stream.getpeercert()
    return found or None
