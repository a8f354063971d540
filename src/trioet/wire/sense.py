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


ALWAYS: Final[Mapping[int, Check]] = {
    PacketType.KEEP_ALIVE: _keep_alive,
    PacketType.TERMINAL_BUFFER: decode_terminal_buffer,
    PacketType.TERMINAL_INFO: decode_terminal_info,
}

ET_TUNNELS: Final[Mapping[int, Check]] = {
    PacketType.PORT_FORWARD_DESTINATION_REQUEST: decode_forward_request,
    PacketType.PORT_FORWARD_DESTINATION_RESPONSE: decode_forward_response,
    PacketType.PORT_FORWARD_DATA: decode_forward_data,
}

OF_FEATURES: Final[Mapping[str, Mapping[int, Check]]] = {
    "acks": {},
    "over": {PacketType.SESSION_OVER: decode_session_over},
    "exec": {PacketType.STDERR: decode_stderr, PacketType.STDIN_EOF: _stdin_eof},
    "channels": {PacketType.CHANNEL: decode_channel},
}

FIRST_UNKNOWN: Final = PacketType.CHANNEL + 1
LAST_UNKNOWN: Final = PacketType.INITIAL_RESPONSE - 1
"""The types that a feature of a newer trioet may have brought."""


class Sense:
    """What two ends say to each other, after the first packets, that agreed on ``features``."""

    def __init__(self, features: Collection[str]) -> None:
        self._checks = dict(ALWAYS)
        if "channels" not in features:
            self._checks |= ET_TUNNELS
        for name, checks in OF_FEATURES.items():
            if name in features:
                self._checks |= checks
        self._newer = any(name not in OF_FEATURES for name in features)

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
