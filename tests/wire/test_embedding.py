"""A client without I/O: whatever is cut, the bytes are exact."""

from __future__ import annotations

import random

import pytest

from trioet.errors import ForgedPacket, HandshakeError, SessionLost
from trioet.link.resumable import ACK_EVERY
from trioet.wire.agreement import PreSharedKey
from trioet.wire.backed import BackedReader, BackedWriter, ReplayBudget
from trioet.wire.embedding import WINDOW, EternalClient
from trioet.wire.framing import PacketSplitter, packet_frame
from trioet.wire.handshake import (
    Handshake,
    Missed,
    PeerReceived,
    State,
    catchup_entry,
    catchup_head,
    connect_response_frame,
    sequence_header_frame,
)
from trioet.wire.introduction import answer_introduction
from trioet.wire.messages import (
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
    decode_count,
    encode_count,
)
from trioet.wire.packet import Packet, PacketType
from trioet.wire.sealing import Direction, SealedBox
from trioet.wire.stream_messages import (
    Answer,
    Closed,
    Credit,
    Data,
    End,
    StreamMessage,
    decode_stream_message,
    encode_stream_message,
)

PSK = b"sixteen bytes or more"
ID = b"0123456789abcdef"


class Server:
    """The other end, of the same parts: it keeps what it heard, and says what the test wants."""

    def __init__(self) -> None:
        self.heard: list[StreamMessage] = []
        self.acknowledged = 0
        self.refuses: ConnectResponse | None = None
        self.known = False
        self._introduced = False
        self.connected()

    def connected(self) -> None:
        self.out = bytearray()
        self._handshake = Handshake.server()
        self._splitter = PacketSplitter()
        self._ordinal = 1

    def take(self, data: bytes) -> None:
        if self._in_packets:
            self._packets(data)
            return
        for event in self._handshake.feed(data):
            self._happened(event)
        if self._in_packets:
            self._packets(self._handshake.rest())

    def _happened(self, event: object) -> None:
        match event:
            case ConnectRequest() if self.refuses is not None:
                self.out += connect_response_frame(self.refuses)
            case ConnectRequest() as request if not self._introduced:
                self._introduced = True
                answer, key = answer_introduction(PreSharedKey(PSK), request)
                self.writer = BackedWriter(
                    SealedBox(key, Direction.SERVER_TO_CLIENT), ReplayBudget(WINDOW)
                )
                self.reader = BackedReader(SealedBox(key, Direction.CLIENT_TO_SERVER))
                self.out += answer
                self._handshake = Handshake.server()
            case ConnectRequest():
                status = ConnectStatus.NEW_CLIENT
                if self.known:
                    status = ConnectStatus.RETURNING_CLIENT
                    self._ordinal = self.reader.received + 1
                self.out += connect_response_frame(ConnectResponse(status))
                if self.known:
                    self.out += sequence_header_frame(self.reader.received)
                self.known = True
                for each in self._handshake.decide(status):
                    self._happened(each)
            case PeerReceived(count):
                missed = list(self.writer.bodies(count + 1, self.writer.sent))
                self.out += catchup_head([len(body) for body in missed])
                self.out += b"".join(map(catchup_entry, missed))
            case Missed(body):
                self._arrived(body)

    @property
    def _in_packets(self) -> bool:
        return self._handshake.state is State.PACKETS

    def _packets(self, data: bytes) -> None:
        for body in self._splitter.feed(data):
            self._arrived(body)

    def _arrived(self, body: bytes) -> None:
        packet = self.reader.open(self._ordinal, body)
        self._ordinal += 1
        if packet is None:
            return
        self.reader.count()
        self._read(packet)

    def _read(self, packet: Packet) -> None:
        if packet.type == PacketType.KEEP_ALIVE:
            self.acknowledged = decode_count(packet.payload) or 0
        else:
            self.heard.append(decode_stream_message(packet.payload))

    def say(self, message: StreamMessage) -> None:
        self._send(PacketType.STREAM, encode_stream_message(message))

    def acknowledge(self) -> None:
        self._send(PacketType.KEEP_ALIVE, encode_count(self.reader.received))

    def _send(self, kind: int, payload: bytes) -> None:
        body = self.writer.body(self.writer.write(kind, payload))
        if self._in_packets:
            self.out += packet_frame(body)

    @property
    def data(self) -> bytes:
        return b"".join(each.data for each in self.heard if isinstance(each, Data))


class Meeting:
    """A client and a server, and the connection between them."""

    def __init__(self) -> None:
        self.client, self.server = EternalClient(PSK, ID), Server()
        self.received = b""
        self.connect()

    def connect(self) -> None:
        self.client.connected()
        self.server.connected()

    def carry(self, most: int = 1 << 30) -> int:
        """Bring over what is there, so many bytes each way at most; return how many."""
        carried = 0
        while True:
            up = self.client.data_to_send()
            down = bytes(self.server.out)
            self.server.out.clear()
            if not up and not down:
                return carried
            carried += len(up) + len(down)
            self.server.take(up[:most])
            self.received += self.client.receive_data(down[:most])
            if carried >= most:
                return carried


def met() -> Meeting:
    meeting = Meeting()
    meeting.carry()
    assert meeting.client.introduced
    return meeting


def test_bytes_go_both_ways() -> None:
    meeting = met()
    assert meeting.client.send(b"up") == 2
    meeting.server.say(Data(b"down"))
    meeting.carry()

    assert meeting.server.data == b"up"
    assert meeting.received == b"down"


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_cut_is_made_up_for(seed: int) -> None:
    chance = random.Random(seed)
    meeting = met()
    up, down = chance.randbytes(90_000), chance.randbytes(90_000)
    sent = told = 0
    while meeting.server.data != up or meeting.received != down:
        if chance.random() < 0.3:
            sent += meeting.client.send(up[sent : sent + chance.randint(1, 40_000)])
        if chance.random() < 0.3:
            part = down[told : told + chance.randint(1, 40_000)]
            meeting.server.say(Data(part))
            told += len(part)
        if chance.random() < 0.1:
            meeting.server.acknowledge()
        meeting.carry(chance.choice([10, 1000, 100_000]))
        # What was not carried is lost with the connection.
        meeting.connect()


def test_no_more_is_sent_than_there_is_credit_for() -> None:
    meeting = met()
    assert meeting.client.send(bytes(WINDOW + 1)) == WINDOW
    assert meeting.client.may_send == meeting.client.send(b"x") == 0
    meeting.carry()
    meeting.server.say(Credit(5))
    meeting.carry()
    assert meeting.client.send(b"123456") == 5


def test_credit_is_given_for_what_came() -> None:
    meeting = met()
    for _ in range(5):
        meeting.server.say(Data(bytes(20_000)))
    meeting.carry()

    assert meeting.server.heard == [Credit(80_000)]
    assert meeting.server.acknowledged == 4


def test_a_question_never_says_so_much_that_a_server_takes_it_for_an_acknowledgement() -> None:
    meeting = met()
    unsaid = 0
    for _ in range(20_000):
        meeting.server.say(Data(b"little"))
        unsaid += len(meeting.server.writer.body(meeting.server.writer.sent))
        before = meeting.server.acknowledged
        meeting.carry()
        if meeting.server.acknowledged > before:
            unsaid = 0
        assert unsaid < ACK_EVERY
    assert meeting.server.acknowledged > 10_000


def test_what_is_acknowledged_is_not_kept() -> None:
    meeting = met()
    meeting.client.send(b"x")
    meeting.carry()
    meeting.server.acknowledge()
    meeting.carry()
    meeting.connect()
    meeting.carry()
    meeting.client.send(b"y")
    meeting.carry()
    assert meeting.server.data == b"xy"


def test_the_end_is_said_by_both() -> None:
    meeting = met()
    meeting.client.send_eof()
    meeting.client.close()
    meeting.client.close()
    meeting.carry()
    assert meeting.server.heard == [End(), Closed()]
    assert not meeting.client.over
    meeting.server.say(Closed())
    meeting.carry()
    assert meeting.client.over
    assert meeting.client.ended


def test_who_hears_the_end_answers() -> None:
    meeting = met()
    meeting.server.say(End())
    meeting.carry()
    assert meeting.client.ended
    assert not meeting.client.over
    meeting.server.say(Closed())
    meeting.carry()
    assert meeting.client.over
    assert meeting.server.heard == [Closed()]
    assert meeting.server.acknowledged == 2


def test_an_answer_is_given_when_asked_for() -> None:
    meeting = met()
    meeting.server.say(Answer())
    meeting.carry()
    assert meeting.server.acknowledged == 1


def test_a_refusal_is_told_before_and_after_the_introduction() -> None:
    meeting = Meeting()
    meeting.server.refuses = ConnectResponse(ConnectStatus.INVALID_KEY, b"another key")
    with pytest.raises(SessionLost, match="another key"):
        meeting.carry()
    meeting = met()
    meeting.connect()
    meeting.server.refuses = ConnectResponse(ConnectStatus.INVALID_KEY, b"not registered")
    with pytest.raises(SessionLost, match="not registered"):
        meeting.carry()


def test_what_does_not_open_costs_the_connection() -> None:
    meeting = met()
    with pytest.raises(ForgedPacket):
        meeting.client.receive_data(packet_frame(b"\1\x44" + bytes(20)))
    meeting.connect()
    meeting.server.say(Data(b"well"))
    meeting.carry()
    assert meeting.received == b"well"


def test_a_server_that_has_forgotten_the_stream_is_left() -> None:
    meeting = met()
    meeting.server.say(Data(b"x"))
    meeting.carry()
    meeting.connect()
    meeting.server.known = False
    with pytest.raises(HandshakeError, match="has forgotten the stream"):
        meeting.carry()
