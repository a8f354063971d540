"""The library's words: wire/introduction.py, stream_messages.py and embedding.py."""

from __future__ import annotations

from collections.abc import Iterable

from harness import Target, instrumented, sliced

with instrumented():
    from trioet.errors import PeerError, SessionLost
    from trioet.wire import stream_messages as sm
    from trioet.wire.agreement import KeyPair, PreSharedKey
    from trioet.wire.embedding import EternalClient
    from trioet.wire.framing import packet_frame
    from trioet.wire.handshake import (
        Handshake,
        catchup_entry,
        catchup_head,
        connect_response_frame,
        sequence_header_frame,
    )
    from trioet.wire.introduction import IntroductionOfClient, answer_introduction
    from trioet.wire.messages import ConnectRequest, ConnectResponse, ConnectStatus
    from trioet.wire.packet import PacketType, join_body
    from trioet.wire.sealing import Direction, SealedBox

ID, PSK = b"0123456789abcdef", b"sixteen bytes or more"
KEYS = KeyPair.from_secret(bytes(range(32)))
CLIENT = IntroductionOfClient(PreSharedKey(PSK), ID, KEYS)
ANSWER, KEY = answer_introduction(
    PreSharedKey(PSK), ConnectRequest(ID, introduction=CLIENT.introduction), KEYS
)


def take(data: bytes) -> None:
    """The first byte says who hears the rest."""
    if not data:
        return
    choice, rest = data[0] % 4, data[1:]
    match choice:
        case 0:
            message = sm.decode_stream_message(rest)
            assert sm.encode_stream_message(message) == rest
        case 1:
            for event in Handshake.server().feed(rest):
                assert isinstance(event, ConnectRequest)
                answer_introduction(PreSharedKey(PSK), event)
        case 2:
            IntroductionOfClient(PreSharedKey(PSK), ID, KEYS).feed(rest)
        case _:
            whole = heard([rest])
            assert heard(sliced(rest)) == whole


def heard(pieces: Iterable[bytes]) -> tuple[bytes, int, bool]:
    """What a client makes of it."""
    client = EternalClient(PSK, ID, KEYS)
    client.connected()
    client.receive_data(ANSWER)
    got = b"".join(map(client.receive_data, pieces))
    return got, client.may_send, client.over


def frame(ordinal: int, message: sm.StreamMessage) -> bytes:
    sealed = SealedBox(KEY, Direction.SERVER_TO_CLIENT).seal(
        ordinal, sm.encode_stream_message(message)
    )
    return join_body(PacketType.STREAM, sealed)


NEW = connect_response_frame(ConnectResponse(ConnectStatus.NEW_CLIENT))
AGAIN = connect_response_frame(ConnectResponse(ConnectStatus.RETURNING_CLIENT))
SAID = [frame(1, sm.Data(b"hello")), frame(2, sm.Credit(9)), frame(3, sm.Closed())]
CATCHUP = catchup_head([len(body) for body in SAID]) + b"".join(map(catchup_entry, SAID))

TARGET = Target(
    take,
    seeds=[
        *(
            b"\0" + sm.encode_stream_message(message)
            for message in (sm.Data(b"x"), sm.Message(b"y"), sm.End(), sm.Closed(), sm.Credit(1))
        ),
        b"\1" + CLIENT.request,
        b"\2" + ANSWER,
        b"\2" + connect_response_frame(ConnectResponse(ConnectStatus.INVALID_KEY, b"no\x1b[2J")),
        b"\3" + NEW + b"".join(map(packet_frame, SAID)),
        b"\3" + AGAIN + sequence_header_frame(0) + CATCHUP,
    ],
    refusals=(PeerError, SessionLost),
)

if __name__ == "__main__":
    TARGET.run()
