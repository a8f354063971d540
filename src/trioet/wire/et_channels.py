"""Channels as Eternal Terminal has them, told as trioet's messages (specification 5).

ET names a connection twice: until it stands by a token of the side that listens (``fd``),
then by one of the side that connects (``socketid``). It has no credit, and no half-close:
the end of one direction is the end of both.
"""

from __future__ import annotations

from typing import Final

from trioet.errors import MessageError
from trioet.wire.channels import (
    ChannelData,
    ChannelEnd,
    ChannelMessage,
    ChannelOpen,
    ChannelOpened,
    ChannelRefused,
    ChannelReset,
)
from trioet.wire.forward_messages import (
    ForwardData,
    ForwardRequest,
    ForwardResponse,
    decode_forward_data,
    decode_forward_request,
    decode_forward_response,
    encode_forward_data,
    encode_forward_request,
    encode_forward_response,
)
from trioet.wire.packet import Packet, PacketType
from trioet.wire.reach import Failure

NO_LIMIT: Final = 2**62
"""Credit of a peer that gives none and takes all."""

MAX_TOKEN: Final = 2**31 - 1
"""ET's names of a connection are int32."""

RESET: Final = b"Connection reset by peer"


class EtChannels:
    """Translate both ways. Channels of the peer's get numbers of its parity."""

    half_close = False
    credit = False
    early = False

    def __init__(self, peers_parity: int) -> None:
        """``peers_parity`` is 1 if the peer is the client, 0 if it is the server."""
        self._peers_parity = peers_parity
        self._sockets = 0
        self._asked: dict[int, int] = {}
        """Channel of the peer's, not yet connected -> its fd."""
        self._ours: dict[int, int] = {}
        """Our channel -> the peer's socket id."""
        self._by_socket: dict[int, int] = {}
        """The peer's socket id -> our channel."""
        self._theirs: set[int] = set()
        """Channels of the peer's that are connected."""
        self._opening: dict[int, int] = {}
        """Our fd -> our channel, not yet connected."""

    # What we say

    def encode(self, message: ChannelMessage) -> Packet | None:
        """The packet that says it; None where ET has nothing to say."""
        match message:
            case ChannelOpen(channel, _, destination) if destination is not None:
                fd = channel // 2 & MAX_TOKEN
                self._opening[fd] = channel
                request = ForwardRequest(fd, destination)
                return Packet(
                    PacketType.PORT_FORWARD_DESTINATION_REQUEST, encode_forward_request(request)
                )
            case ChannelOpened(channel):
                self._theirs.add(channel)
                return self._respond(channel)
            case ChannelRefused(channel, _, text):
                return self._respond(channel, text.encode(errors="replace"))
            case ChannelData(channel, data):
                return self._data(channel, data=bytes(data))
            case ChannelEnd(channel):
                return self._data(channel, closed=True)
            case ChannelReset(channel):
                return self._data(channel, error=RESET)
            case _:
                return None

    def _respond(self, channel: int, error: bytes | None = None) -> Packet:
        response = ForwardResponse(self._asked.pop(channel), channel // 2, error)
        return Packet(
            PacketType.PORT_FORWARD_DESTINATION_RESPONSE, encode_forward_response(response)
        )

    def _data(
        self, channel: int, *, data: bytes = b"", closed: bool = False, error: bytes | None = None
    ) -> Packet | None:
        from_source = channel in self._ours
        if not from_source and channel not in self._theirs:
            return None
        socket = self._ours[channel] if from_source else channel // 2
        said = ForwardData(from_source, socket, data, closed, error)
        if closed or error is not None:
            self._forget(channel)
        return Packet(PacketType.PORT_FORWARD_DATA, encode_forward_data(said))

    def _forget(self, channel: int) -> None:
        self._theirs.discard(channel)
        socket = self._ours.pop(channel, None)
        if socket is not None:
            self._by_socket.pop(socket, None)

    # What the peer says

    def decode(self, packet: Packet) -> ChannelMessage | None:
        """What a packet says; None for a connection that is gone already (5.4).

        Raises:
          MessageError: nothing that belongs here.
        """
        match packet.type:
            case PacketType.PORT_FORWARD_DESTINATION_REQUEST:
                return self._requested(decode_forward_request(packet.payload))
            case PacketType.PORT_FORWARD_DESTINATION_RESPONSE:
                return self._responded(decode_forward_response(packet.payload))
            case PacketType.PORT_FORWARD_DATA:
                return self._said(decode_forward_data(packet.payload))
            case _:
                raise MessageError(f"packet type {packet.type} is of no channel")

    def _requested(self, request: ForwardRequest) -> ChannelMessage:
        self._sockets = self._sockets % MAX_TOKEN + 1
        channel = 2 * self._sockets + self._peers_parity
        self._asked[channel] = request.fd
        return ChannelOpen(channel, 0, request.destination, NO_LIMIT)

    def _responded(self, response: ForwardResponse) -> ChannelMessage | None:
        channel = self._opening.pop(response.fd, None)
        if channel is None:
            return None
        if response.error is not None:
            # Which error it was, ET does not know itself (5.3).
            text = response.error.decode(errors="replace")
            return ChannelRefused(channel, Failure.GENERAL, text)
        self._ours[channel] = response.socket
        self._by_socket[response.socket] = channel
        return ChannelOpened(channel, NO_LIMIT)

    def _said(self, said: ForwardData) -> ChannelMessage | None:
        if said.from_source:
            channel = 2 * said.socket + self._peers_parity
            known = channel in self._theirs
        else:
            channel = self._by_socket.get(said.socket, 0)
            known = bool(channel)
        if not known:
            return None
        if not said.closed and said.error is None:
            return ChannelData(channel, said.data)
        self._forget(channel)
        return ChannelEnd(channel) if said.closed else ChannelReset(channel)
