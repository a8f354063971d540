"""EternalClient: a client's end of an eternal stream, for whoever brings the I/O.

For programs that do not run on Trio. Bytes in, bytes out; what to do with connections is the
owner's business::

    client = EternalClient(psk, client_id)
    for each connection:
        client.connected()
        send client.data_to_send()
        for what comes: client.receive_data(it), then send client.data_to_send()

until the connection is lost or PeerError is raised; then the next. Nothing is lost with one:
what the server has not acknowledged is sent again, and nothing comes twice. The first connection
must last until :attr:`introduced`; before that, begin anew with another client and id.

It is trioet's link as its simplest peer needs it: one connection at a time, and no more sent
than the server gave credit for. It looks at no clock, so whether a silent connection is dead is
for the owner to find out; :meth:`ping` makes the server say something.
"""

from __future__ import annotations

from typing import Final

from trioet.errors import HandshakeError, SessionLost
from trioet.wire.agreement import KeyPair, PreSharedKey
from trioet.wire.backed import BackedReader, BackedWriter, ReplayBudget
from trioet.wire.framing import PacketSplitter, packet_frame
from trioet.wire.handshake import (
    Event,
    Handshake,
    Missed,
    PeerReceived,
    State,
    catchup_entry,
    catchup_head,
    connect_request_frame,
    sequence_header_frame,
)
from trioet.wire.introduction import IntroductionOfClient, words_of
from trioet.wire.messages import (
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
    decode_count,
    encode_count,
)
from trioet.wire.packet import PacketType
from trioet.wire.sealing import Direction, SealedBox
from trioet.wire.stream_messages import (
    Closed,
    Credit,
    Data,
    End,
    StreamMessage,
    decode_stream_message,
    encode_stream_message,
)

WINDOW: Final = 256 * 1024
"""Credit that both ends begin with."""

CHUNK: Final = 16 * 1024

TELL_EVERY: Final = WINDOW // 4
"""Bytes received before the server is given credit, and acknowledgement."""


class EternalClient:
    """One stream, over any number of connections that its owner makes."""

    def __init__(self, psk: bytes, client_id: bytes, keys: KeyPair | None = None) -> None:
        """``client_id``: 16 bytes at random, for this stream only. ``keys`` are fresh ones, unless
        a test gives them.

        Raises:
          ValueError: the pre-shared key is too short.
        """
        self.ended = False
        """No more bytes will come."""
        self.over = False
        """Both sides have closed: send what is left to send, and connect no more."""
        self._closed = False
        self.may_send = WINDOW
        """Bytes that :meth:`send` would take now."""
        self._id = client_id
        self._introduction: IntroductionOfClient | None
        self._introduction = IntroductionOfClient(PreSharedKey(psk), client_id, keys)
        self._writer: BackedWriter
        self._reader: BackedReader
        self._handshake = Handshake.client()
        self._splitter = PacketSplitter()
        self._ordinal = 1
        """Of the next packet that this connection brings, and of the next that it takes:"""
        self._cursor = 1
        self._owed = 0
        self._unsaid = 0
        """Bytes of packets since we last said how many came."""
        self._inbox = bytearray()
        self._outbox = bytearray()

    @property
    def introduced(self) -> bool:
        """Both have agreed on a key: the stream can be used, and outlives its connection."""
        return self._introduction is None

    def connected(self) -> None:
        """There is a new connection; nothing of an earlier one is of use."""
        self._outbox.clear()
        if self._introduction is not None:
            self._outbox += self._introduction.request
        else:
            self._ask_to_go_on()

    def data_to_send(self) -> bytes:
        """What is to be sent on the connection; each time only what is new."""
        data = bytes(self._outbox)
        self._outbox.clear()
        return data

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes from the connection; return those of the stream that they brought.

        Raises:
          PeerError: drop this connection.
          SessionLost: the server refuses, and says why.
        """
        if self._introduction is not None:
            answer = self._introduction.feed(data)
            if isinstance(answer, ConnectResponse):
                raise SessionLost(words_of(answer.error))
            if answer is not None:
                self._begin(answer)
        elif self._in_packets:
            self._packets(data)
        else:
            for event in self._handshake.feed(data):
                self._happened(event)
            if self._in_packets:
                self.ping()  # proves us to the server
                self._packets(self._handshake.rest())
        received = bytes(self._inbox)
        self._inbox.clear()
        return received

    def send(self, data: bytes) -> int:
        """Send as much of ``data`` as there is credit for; return how much that was."""
        taken = min(len(data), self.may_send)
        self.may_send -= taken
        for start in range(0, taken, CHUNK):
            self._say(Data(data[start : min(start + CHUNK, taken)]))
        return taken

    def send_eof(self) -> None:
        """Nothing more will be sent."""
        self._say(End())

    def close(self) -> None:
        """Nothing more will be sent or read. The server then ends, too, and forgets the session."""
        if not self._closed:
            self._closed = True
            self._say(Closed())

    def ping(self) -> None:
        """Acknowledge what came; the server does the same."""
        self._unsaid = 0
        self._send_packet(PacketType.KEEP_ALIVE, encode_count(self._reader.received))

    @property
    def _in_packets(self) -> bool:
        return self._handshake.state is State.PACKETS

    def _begin(self, passkey: bytes) -> None:
        self._introduction = None
        # No budget: credit bounds it.
        self._writer = BackedWriter(
            SealedBox(passkey, Direction.CLIENT_TO_SERVER), ReplayBudget(WINDOW)
        )
        self._reader = BackedReader(SealedBox(passkey, Direction.SERVER_TO_CLIENT))
        self._ask_to_go_on()

    def _ask_to_go_on(self) -> None:
        self._handshake, self._splitter = Handshake.client(), PacketSplitter()
        self._ordinal = 1
        self._outbox += connect_request_frame(ConnectRequest(self._id))

    def _happened(self, event: Event) -> None:
        match event:
            case ConnectResponse(ConnectStatus.NEW_CLIENT):
                if self._reader.received:
                    raise HandshakeError("the server has forgotten the stream and offers a new one")
                self._cursor = 1
            case ConnectResponse(ConnectStatus.RETURNING_CLIENT):
                self._ordinal = self._reader.received + 1
                self._outbox += sequence_header_frame(self._reader.received)
            case ConnectResponse(_, text):
                raise SessionLost(words_of(text))
            case PeerReceived(count):
                self._writer.check_received(count)
                missed = list(self._writer.bodies(count + 1, self._writer.sent))
                self._outbox += catchup_head([len(body) for body in missed])
                self._outbox += b"".join(map(catchup_entry, missed))
                self._cursor = self._writer.sent + 1
            case Missed(body):
                self._arrived(body)

    def _packets(self, data: bytes) -> None:
        for body in self._splitter.feed(data):
            self._arrived(body)

    def _arrived(self, body: bytes) -> None:
        packet = self._reader.open(self._ordinal, body)
        self._ordinal += 1
        assert packet is not None, "a connection begins where the one before it ended"
        if packet.type == PacketType.KEEP_ALIVE:
            count = decode_count(packet.payload) or 0
            self._writer.acknowledge(count)
            self._writer.forget(count)
            self._reader.count()
        else:
            message = decode_stream_message(packet.payload)
            self._reader.count()
            self._heed(message)
        self._unsaid += len(body)
        if self._unsaid >= TELL_EVERY:
            self.ping()  # else an owner's would acknowledge so much that it is not answered

    def _heed(self, message: StreamMessage) -> None:
        match message:
            case Data(data):
                self._inbox += data
                self._owe(len(data))
            case Credit(amount):
                self.may_send += amount
            case End():
                self.ended = True
            case Closed():
                self.ended = self.over = True
                self.ping()  # so that the server may forget the session
                self.close()
            case _:
                self.ping()

    def _owe(self, amount: int) -> None:
        self._owed += amount
        if self._owed >= TELL_EVERY:
            owed, self._owed = self._owed, 0
            self._say(Credit(owed))
            self.ping()

    def _say(self, message: StreamMessage) -> None:
        self._send_packet(PacketType.STREAM, encode_stream_message(message))

    def _send_packet(self, packet_type: int, payload: bytes) -> None:
        self._writer.write(packet_type, payload)
        if self._in_packets:
            for body in self._writer.bodies(self._cursor, self._writer.sent):
                self._outbox += packet_frame(body)
            self._cursor = self._writer.sent + 1
