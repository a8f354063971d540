"""What is in src/trioet/wire/vectors.json, made by our own code: `python tests/protocol_vectors.py`
writes it. Eternal Terminal's vectors are facts of its specification (appendix A), given here."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from trioet.wire import stream_messages as sm
from trioet.wire.agreement import KeyPair, PreSharedKey
from trioet.wire.framing import packet_frame
from trioet.wire.handshake import (
    catchup_entry,
    catchup_head,
    connect_request_frame,
    connect_response_frame,
    sequence_header_frame,
)
from trioet.wire.introduction import IntroductionOfClient, answer_introduction
from trioet.wire.messages import (
    ConnectRequest,
    ConnectResponse,
    ConnectStatus,
    encode_count,
)
from trioet.wire.packet import PacketType, join_body
from trioet.wire.sealing import Direction, SealedBox

ID, KEY = b"1234567890123456", b"12345678901234567890123456789012"
PSK = b"thirty-two bytes that both know."
CLIENT_SECRET, SERVER_SECRET = bytes(range(32)), bytes(range(32, 64))

ET_HANDSHAKE = {
    "ConnectRequest": "14000000000000000a10313233343536373839303132333435361006",
    "ConnectResponse NEW_CLIENT": "02000000000000000801",
    "ConnectResponse RETURNING_CLIENT": "02000000000000000802",
    "ConnectResponse INVALID_KEY": "1c00000000000000080312"
    "18436c69656e74206973206e6f742072656769737465726564",
    "SequenceHeader 0": "02000000000000000800",
    "SequenceHeader 1": "02000000000000000801",
    "SequenceHeader 300": "030000000000000008ac02",
    "CatchupBuffer, empty": "0000000000000000",
    "CatchupBuffer with the client's packet 2": "14000000000000000a12"
    "01000050b28137f728daf6bb85447ce9a725",
}
ET_PACKETS: list[tuple[str, int, int, str, str]] = [
    ("client", 1, 253, "0800", "0000001401fd8fd03f2f9e9f98f6928ab32faabcca1cd3f5"),
    ("client", 2, 0, "", "0000001201000050b28137f728daf6bb85447ce9a725"),
    ("client", 3, 1, "0a0161", "0000001501016e7b072e8c84463ebdb94ca1897e4ba3257fc9"),
    ("client", 4, 2, "1018185020002800",
     "0000001a0102e79eaaf8ce32b55e08a69fed641ad2751d440f3e8c4dc286"),
    ("server", 1, 252, "", "0000001201fcabb6f3f5a0f08f692cd53a61bdb10ae9"),
    ("server", 2, 0, "", "000000120100014ad1cbdbcd0d8be842934958f5889f"),
]  # fmt: skip
"""Who sends it, its ordinal, type, payload, and the whole frame."""


def frame(sender: str, ordinal: int, kind: int, payload: bytes, key: bytes = KEY) -> bytes:
    way = Direction.CLIENT_TO_SERVER if sender == "client" else Direction.SERVER_TO_CLIENT
    return packet_frame(join_body(kind, SealedBox(key, way).seal(ordinal, payload)))


def our_handshake() -> dict[str, bytes]:
    """The same messages as in ET_HANDSHAKE, by our own code."""
    body = frame("client", 2, 0, b"")[4:]
    statuses = {
        f"ConnectResponse {status.name}": connect_response_frame(ConnectResponse(status, text))
        for status, text in (
            (ConnectStatus.NEW_CLIENT, b""),
            (ConnectStatus.RETURNING_CLIENT, b""),
            (ConnectStatus.INVALID_KEY, b"Client is not registered"),
        )
    }
    headers = {f"SequenceHeader {count}": sequence_header_frame(count) for count in (0, 1, 300)}
    return {
        "ConnectRequest": connect_request_frame(ConnectRequest(ID)),
        **statuses,
        **headers,
        "CatchupBuffer, empty": catchup_head([]),
        "CatchupBuffer with the client's packet 2": catchup_head([len(body)]) + catchup_entry(body),
    }


def introduction() -> dict[str, str]:
    """Both sides' bytes, of keys that nobody else should use."""
    keys = [KeyPair.from_secret(secret) for secret in (CLIENT_SECRET, SERVER_SECRET)]
    client = IntroductionOfClient(PreSharedKey(PSK), ID, keys[0])
    request = ConnectRequest(ID, introduction=client.introduction)
    answer, passkey = answer_introduction(PreSharedKey(PSK), request, keys[1])
    return {
        "psk": PSK.hex(),
        "client_id": ID.hex(),
        "client_secret": CLIENT_SECRET.hex(),
        "server_secret": SERVER_SECRET.hex(),
        "request": client.request.hex(),
        "answer": answer.hex(),
        "passkey": passkey.hex(),
    }


def stream() -> list[dict[str, object]]:
    """A short stream, sealed under the passkey of the introduction."""
    key = bytes.fromhex(introduction()["passkey"])
    said: list[tuple[str, int, int, bytes, str]] = [
        ("client", 1, PacketType.KEEP_ALIVE, encode_count(0), "has received 0 packets"),
        ("server", 1, PacketType.KEEP_ALIVE, encode_count(0), "has received 0 packets"),
        *[
            (sender, ordinal, PacketType.STREAM, sm.encode_stream_message(message), repr(message))
            for sender, ordinal, message in (
                ("client", 2, sm.Data(b"hello")),
                ("client", 3, sm.Message(b"a message")),
                ("server", 2, sm.Data(b"")),
                ("server", 3, sm.Credit(65536)),
                ("server", 4, sm.Answer()),
                ("client", 4, sm.Part(b"a longer ")),
                ("client", 5, sm.Message(b"message")),
                ("client", 6, sm.End()),
                ("client", 7, sm.Closed()),
                ("server", 5, sm.Closed(aborted=True)),
            )
        ],
    ]
    return [
        {
            "sender": sender,
            "ordinal": ordinal,
            "type": int(kind),
            "says": says,
            "payload": payload.hex(),
            "frame": frame(sender, ordinal, kind, payload, key).hex(),
        }
        for sender, ordinal, kind, payload, says in said
    ]


def nonce(sender: str, ordinal: int) -> str:
    return (ordinal.to_bytes(23, "little") + bytes([sender == "server"])).hex()


def vectors() -> dict[str, Any]:
    return {
        "about": "Test vectors of Eternal Terminal's protocol, version 6, and of what trioet adds "
        "(docs/protocol.md). Bytes are in hexadecimal.",
        "client_id": ID.hex(),
        "passkey": KEY.hex(),
        "nonces": [
            {"sender": sender, "ordinal": ordinal, "nonce": nonce(sender, ordinal)}
            for sender, ordinal in (("client", 1), ("server", 256))
        ],
        "handshake": ET_HANDSHAKE,
        "packets": [
            dict(zip(("sender", "ordinal", "type", "payload", "frame"), each, strict=True))
            for each in ET_PACKETS
        ],
        "introduction": introduction(),
        "stream": stream(),
    }


def shipped() -> dict[str, Any]:
    """As users have it."""
    found: dict[str, Any] = json.loads((files("trioet.wire") / "vectors.json").read_text())
    return found


if __name__ == "__main__":
    place = Path(str(files("trioet.wire") / "vectors.json"))
    place.write_text(json.dumps(vectors(), indent=2) + "\n")
