from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorded_scon import SESSIONS, connections, load, said
from trioet.wire.scon_handshake import (
    Code,
    FrameReader,
    NewRequest,
    ResumeAnswer,
    ResumeRequest,
    parse_new_answer,
    parse_request,
    parse_resume_answer,
)
from trioet.wire.scon_keys import public_key, shared_secret
from trioet.wire.scon_streams import Arc4Inward, Arc4Keys, Arc4Outward


@given(st.lists(st.binary()))
def test_what_goes_in_comes_out(parts: list[bytes]) -> None:
    outward, inward = Arc4Outward(0x19), Arc4Inward(0x19)
    assert [inward.open(outward.seal(part)) for part in parts] == parts
    assert inward.received == sum(map(len, parts))
    inward.restart()
    assert inward.open(outward.seal(b"on it goes")) == b"on it goes"
    assert (inward.acknowledged, inward.ended, inward.over) == (0, False, False)


def test_answers_are_proven_by_nothing() -> None:
    request, answer = ResumeRequest(1, 1, 0), ResumeAnswer(0, Code.OK)
    assert Arc4Keys(0x19).prove(request, answer) == b""


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.stem)
def test_a_real_session_is_followed_byte_by_byte(path: Path) -> None:
    """Both ends at once: what each resume asks for is replayed from what was recorded before."""
    recording = load(path)
    private = int(recording["client_private"], 16)
    secret = 0
    up = down = b""
    for connection in connections(recording):
        asked, answered = (said(recording, connection, way) for way in ("c2s", "s2c"))
        asking, answering = FrameReader(), FrameReader()
        request = parse_request(asking.feed(asked) or b"")
        text = answering.feed(answered) or b""
        if isinstance(request, NewRequest):
            assert request.public == public_key(private) == int(recording["client_public"], 16)
            secret = shared_secret(private, parse_new_answer(text).public)
            assert secret == int(recording["secret"], 16)
            up, down = asking.rest(), answering.rest()
            continue
        answer = parse_resume_answer(text)
        signed = Arc4Keys(secret).sign(request)
        assert (signed == request.code) is (answer.code != 401)
        if answer.code != Code.OK:
            assert (answer.received, asking.rest(), answering.rest()) == (0, b"", b"")
            continue
        # What is replayed is the old ciphertext, verbatim.
        asks, answers = asking.rest(), answering.rest()
        up = _joined(up, answer.received, asks)
        down = _joined(down, request.received, answers)
    assert len(up) == recording["client_sent"]
    assert len(down) == recording["client_received"]
    plain = Arc4Inward(secret).open(up), Arc4Inward(secret).open(down)
    assert Arc4Outward(secret).seal(plain[0]) == up
    if "plain_c2s" in recording:
        assert plain == (
            bytes.fromhex(recording["plain_c2s"]),
            bytes.fromhex(recording["plain_s2c"]),
        )


def _joined(before: bytes, received: int, replayed: bytes) -> bytes:
    """The stream so far, continued by what was sent from ``received`` on."""
    again = before[received : received + len(replayed)]
    assert replayed.startswith(again) or again.startswith(replayed)
    return before[:received] + max(replayed, before[received:], key=len)
