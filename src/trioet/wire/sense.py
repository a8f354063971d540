"""Does a packet make sense? For whoever passes packets on, and does not use them.

A packet's type travels unsealed. One that was retyped on its way would be taken here, passed
on, refused there, and come again for ever: nobody is left who has it as it was. So it is
looked at where it arrives, before it counts as received.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from trioet.errors import MessageError, PacketError
from trioet.wire.channels import decode_channel
from trioet.wire.forward_messages import (
    decode_forward_data,
    decode_forward_request,
    decode_forward_response,
)
from trioet.wire.messages import (
    END_OF_INPUT,
    LEFT,
    decode_session_over,
    decode_stderr,
    decode_terminal_buffer,
    decode_terminal_info,
)
from trioet.wire.packet import Packet, PacketType

Check = Callable[[bytes], object]


def _keep_alive(payload: bytes) -> None:
    if len(payload) not in (0, 8):
        raise MessageError(f"a KEEP_ALIVE with {len(payload)} bytes")


def _stdin_eof(payload: bytes) -> None:
    if payload != END_OF_INPUT:
        raise MessageError("a STDIN_EOF that no client sends")


def _left(payload: bytes) -> None:
    if decode_session_over(payload).reason != LEFT:
        raise MessageError("a SESSION_OVER that no client sends")


Checks = Mapping[int, Check]

ALWAYS: Final[Checks] = {
    PacketType.KEEP_ALIVE: _keep_alive,
    PacketType.TERMINAL_BUFFER: decode_terminal_buffer,
}

ET_TUNNELS: Final[Checks] = {
    PacketType.PORT_FORWARD_DESTINATION_REQUEST: decode_forward_request,
    PacketType.PORT_FORWARD_DESTINATION_RESPONSE: decode_forward_response,
    PacketType.PORT_FORWARD_DATA: decode_forward_data,
}

OF_CLIENTS: Final[Mapping[str, Checks]] = {
    "acks": {},
    "over": {PacketType.SESSION_OVER: _left},
    "exec": {PacketType.STDIN_EOF: _stdin_eof},
    "channels": {PacketType.CHANNEL: decode_channel},
}

OF_SERVERS: Final[Mapping[str, Checks]] = {
    "acks": {},
    "over": {PacketType.SESSION_OVER: decode_session_over},
    "exec": {PacketType.STDERR: decode_stderr},
    "channels": {PacketType.CHANNEL: decode_channel},
}

FIRST_UNKNOWN: Final = PacketType.CHANNEL + 1
LAST_UNKNOWN: Final = PacketType.INITIAL_RESPONSE - 1
"""The types that a feature of a newer trioet may have brought."""


class Sense:
    """What one end says to the other, after its first packet, if they agreed on ``features``."""

    def __init__(self, features: Collection[str], *, of_client: bool) -> None:
        brought = OF_CLIENTS if of_client else OF_SERVERS
        self._checks = dict(ALWAYS)
        if of_client:
            self._checks[PacketType.TERMINAL_INFO] = decode_terminal_info
        if "channels" not in features:
            self._checks |= ET_TUNNELS
        for name in features:
            self._checks |= brought.get(name, {})
        self._newer = any(name not in brought for name in features)

    def check(self, packet: Packet) -> None:
        """Return if the packet is one that the ends may send.

        Raises:
          PeerError: it is not.
        """
        check = self._checks.get(packet.type)
        if check is not None:
            check(packet.payload)
        elif not (self._newer and FIRST_UNKNOWN <= packet.type <= LAST_UNKNOWN):
            raise PacketError(f"packet type {packet.type}, which was not agreed on")
