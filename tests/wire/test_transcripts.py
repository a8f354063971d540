"""Sessions of the real programs, read from both sides and sealed again to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorded import CLIENT_TO_SERVER, SERVER_TO_CLIENT, TRANSCRIPTS, load
from trioet.wire.backed import BackedReader, BackedWriter, ReplayBudget
from trioet.wire.framing import PacketSplitter
from trioet.wire.handshake import Handshake, Missed, PeerReceived, State
from trioet.wire.messages import ConnectRequest, ConnectStatus
from trioet.wire.sealing import Direction, SealedBox

SIDES = {
    CLIENT_TO_SERVER: Direction.CLIENT_TO_SERVER,
    SERVER_TO_CLIENT: Direction.SERVER_TO_CLIENT,
}


def bodies_of(handshake: Handshake, chunks: list[bytes], status: ConnectStatus) -> list[bytes]:
    """Read one direction of one connection; return every packet body on it."""
    splitter, bodies = PacketSplitter(), []
    for data in chunks:
        if handshake.state.name == "PACKETS":
            bodies += splitter.feed(data)
            continue
        events = handshake.feed(data)
        if ConnectRequest in map(type, events):
            events = handshake.decide(status)
        bodies += [event.body for event in events if isinstance(event, Missed)]
        assert all(event.count >= 0 for event in events if isinstance(event, PeerReceived))
        if handshake.state is State.PACKETS:
            bodies += splitter.feed(handshake.rest())
    return bodies


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("direction", SIDES)
def test_recorded_sessions_read_and_seal_to_the_byte(path: Path, direction: str) -> None:
    transcript = load(path)
    box = SealedBox(transcript.passkey, SIDES[direction])
    reader, writer = BackedReader(box), BackedWriter(box, ReplayBudget(10**9))

    got = []
    for number, connection in enumerate(transcript.connections):
        side = Handshake.server() if direction == CLIENT_TO_SERVER else Handshake.client()
        status = ConnectStatus.RETURNING_CLIENT if number else ConnectStatus.NEW_CLIENT
        for body in bodies_of(side, transcript.chunks(connection, direction), status):
            packet = reader.open(reader.received + 1, body)
            assert packet is not None
            reader.count()
            assert writer.body(writer.write(packet.type, packet.payload)) == body
            got.append(packet)

    recorded = transcript.packets(direction)
    assert len(got) == len(recorded) > 1
    for packet, (packet_type, length, head) in zip(got, recorded, strict=True):
        assert (packet.type, len(packet.payload)) == (packet_type, length)
        assert packet.payload.startswith(head)
