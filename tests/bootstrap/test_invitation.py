from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trioet.bootstrap.invitation import (
    MAX_LINE,
    MAX_NOISE,
    Invitation,
    InvitationReader,
    parse_invitation,
)
from trioet.errors import PeerError, StepFailed
from trioet.wire.forward import Address

ID = "abcdefghijklmnop"
PASSKEY = "0123456789ABCDEF0123456789abcdef"
MARKER = f"IDPASSKEY:{ID}/{PASSKEY}".encode()
BARE = Invitation(ID, PASSKEY)

pieces = st.sampled_from(
    [
        MARKER,
        MARKER[:-1],
        b"IDPASSKEY:",
        b"\n",
        b"\r\n",
        b"TRIOET:",
        b'TRIOET:{"port":2022,"router":true,"version":"9"}\n',
        b"TRIOET:[]\n",
        b'TRIOET:{"port":true}\n',
        b'TRIOET:{"sshd":{"host":"x","port":1}}\n',
        b"TRIOET:" + b"[" * 3000 + b"\n",
        b"\nTRIOET-MISSING\n",
        b"TRIOET-ERROR:",
        b'TRIOET-ERROR:{"step":"x","what":"\\u001b[2J","hint":3}\n',
        b"x" * 5000,
        b"\x1b]0;",
    ]
)
noise = st.lists(st.one_of(pieces, st.binary(max_size=30)), max_size=8).map(b"".join)


def details(**fields: object) -> bytes:
    return b"TRIOET:" + json.dumps(fields).encode() + b"\n"


def test_no_repr_shows_a_passkey() -> None:
    assert PASSKEY not in repr(BARE)


def test_an_et_terminal_gives_credentials_and_nothing_else() -> None:
    assert parse_invitation(MARKER + b"\n\n") == BARE


def test_a_trioet_terminal_gives_its_details_too() -> None:
    output = MARKER + b"\n" + details(version="0.1.0", port=4040, router=False, new="field")

    assert parse_invitation(output) == Invitation(ID, PASSKEY, 4040, False, "0.1.0")


@pytest.mark.parametrize(
    ("ports", "more"),
    [
        ([4040], ()),
        ([4040, 5], (5,)),
        ([5, 4040, 6, 5], (5, 6)),
        ([*range(1, 100)], tuple(range(1, 8))),
    ],
)
def test_further_ports_are_told_beside_the_first(ports: list[int], more: tuple[int, ...]) -> None:
    output = MARKER + b"\n" + details(port=4040, ports=ports)
    assert parse_invitation(output) == Invitation(ID, PASSKEY, 4040, more_ports=more)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
def test_where_the_sshd_listens_is_told_if_it_is_known(host: str) -> None:
    output = MARKER + b"\n" + details(port=4040, sshd={"host": host, "port": 22})
    assert parse_invitation(output).sshd == Address(host, 22)
    assert parse_invitation(MARKER + b"\n" + details(port=4040)).sshd is None


@pytest.mark.parametrize(
    "sshd",
    [
        22,
        "box:22",
        [],
        {},
        {"host": "box"},
        {"host": "", "port": 22},
        {"host": 1, "port": 22},
        {"host": "box", "port": "22"},
        {"host": "box", "port": 0},
        {"host": "x" * 600, "port": 22},
    ],
)
def test_an_sshd_that_is_none_is_refused(sshd: object) -> None:
    with pytest.raises(PeerError):
        parse_invitation(MARKER + b"\n" + details(sshd=sshd))


def test_a_line_end_of_windows_makes_no_difference() -> None:
    output = (MARKER + b"\n" + details(port=1)).replace(b"\n", b"\r\n")

    assert parse_invitation(output).port == 1


@given(st.binary(max_size=300))
def test_the_marker_is_found_wherever_it_stands(before: bytes) -> None:
    assert parse_invitation(before + b"IDPASSKEY:" + MARKER + b"\n") == BARE


def test_a_megabyte_of_noise_is_tolerated_and_no_more() -> None:
    assert parse_invitation(b"x" * MAX_NOISE + MARKER) == BARE
    with pytest.raises(StepFailed, match="box printed more than 1048576 bytes"):
        parse_invitation(b"x" * (MAX_NOISE + 1) + MARKER, "box")


def test_only_the_first_valid_marker_counts() -> None:
    second = MARKER.replace(b"abc", b"xyz")

    assert parse_invitation(MARKER[:-1] + b"!" + MARKER + b"\n" + second) == BARE


def test_details_are_read_from_the_very_next_line_only() -> None:
    assert parse_invitation(MARKER + b"\nbye\n" + details(port=1)) == BARE
    assert parse_invitation(details(port=1) + MARKER + b"\n") == BARE


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[1]",
        b"null",
        b'{"port":0}',
        b'{"port":65536}',
        b'{"port":"22"}',
        b'{"port":true}',
        b'{"port":1.5}',
        b'{"port":1,"ports":2}',
        b'{"port":1,"ports":[0]}',
        b'{"port":1,"ports":[[]]}',
        b'{"port":1,"ports":{"1":2}}',
        b"\xff",
        b"[" * 4000,
        b"9" * 4000,
        b'{"x":"' + b"x" * MAX_LINE + b'"}',
    ],
)
def test_details_that_make_no_sense_are_an_error_of_the_peer(line: bytes) -> None:
    with pytest.raises(PeerError):
        parse_invitation(MARKER + b"\nTRIOET:" + line + b"\n")


def test_details_of_another_kind_than_expected_count_as_not_given() -> None:
    assert parse_invitation(MARKER + b"\n" + details(router=1, version=7)) == BARE


def test_a_missing_program_is_told_only_on_a_line_of_its_own() -> None:
    with pytest.raises(StepFailed, match="neither trioet nor etterminal was found on box"):
        parse_invitation(b"motd\nTRIOET-MISSING\n", "box")
    with pytest.raises(StepFailed, match="no invitation came from box"):
        parse_invitation(b"+ echo TRIOET-MISSING\n", "box")


def test_a_failure_without_its_line_end_is_heard_too() -> None:
    with pytest.raises(StepFailed, match="neither trioet"):
        parse_invitation(b"TRIOET-MISSING")


@pytest.mark.parametrize("noise", [b"hello\n", b"no newline: "])
def test_an_error_of_the_far_side_reaches_the_user_without_control_characters(
    noise: bytes,
) -> None:
    error = {"step": "keep\x07er", "what": "no \x1b[31mport\x1b[0m\r\n", "hint": "\u202etry\x9b2J"}
    output = noise + b"TRIOET-ERROR:" + json.dumps(error).encode() + b"\n"

    with pytest.raises(StepFailed) as failure:
        parse_invitation(output, "box")

    said = failure.value
    assert (said.step, said.what, said.hint) == ("keeper", "box: no port", "try2J")


def test_an_error_of_the_far_side_may_lack_everything() -> None:
    with pytest.raises(StepFailed) as failure:
        parse_invitation(b"TRIOET-ERROR:{}\n", "box")

    assert (failure.value.step, failure.value.what) == ("terminal", "box: failed")


def test_an_error_after_the_invitation_comes_too_late() -> None:
    assert parse_invitation(MARKER + b"\nTRIOET-MISSING\n") == BARE


def test_output_without_an_invitation_is_quoted_at_its_end() -> None:
    output = b"x" * 3000 + b"\n\x1b]0;title\x07permission \x1b[1mdenied\x1b[m\n"

    with pytest.raises(StepFailed) as failure:
        parse_invitation(output, "box")

    assert failure.value.what.endswith("permission denied")
    assert len(failure.value.what) < 600
    assert failure.value.what.isprintable()


def test_silence_is_told_as_silence() -> None:
    with pytest.raises(StepFailed, match="nothing was printed"):
        parse_invitation(b"")


@given(noise)
@example(b"\nTRIOET-ERROR:" + b"[" * 4000 + b"\n")
def test_any_output_is_an_invitation_or_refused_in_printable_words(output: bytes) -> None:
    try:
        invitation = parse_invitation(output)
    except PeerError as refusal:
        assert str(refusal).isprintable()  # noqa: PT017
    except StepFailed as failure:
        assert (failure.step + failure.what + failure.hint).isprintable()  # noqa: PT017
    else:
        assert len(invitation.client_id) == 16
        assert len(invitation.passkey) == 32


@given(noise, st.lists(st.integers(1, 6000), min_size=1))
def test_how_the_output_is_cut_makes_no_difference(output: bytes, cuts: list[int]) -> None:
    assert outcome(output, cuts) == outcome(output, [len(output) + 1])


def outcome(output: bytes, cuts: list[int]) -> object:
    reader = InvitationReader("box")
    try:
        while output:
            for size in cuts:
                if invitation := reader.feed(output[:size]):
                    return invitation
                output = output[size:]
        return reader.end()
    except (PeerError, StepFailed) as error:
        return type(error), error.args


def test_bytes_may_come_one_by_one_and_the_end_is_seen_at_once() -> None:
    output = b"motd\n" + MARKER + b"\n" + details(port=7)
    reader = InvitationReader("box")

    answers = [reader.feed(bytes([byte])) for byte in output]

    assert answers[:-1] == [None] * (len(output) - 1)
    assert answers[-1] == Invitation(ID, PASSKEY, 7)
    assert reader.marker_seen


def test_noise_after_a_marker_is_not_read_without_end() -> None:
    reader = InvitationReader("box")
    reader.feed(MARKER)

    assert reader.feed(b"x" * MAX_LINE) is None
    assert reader.feed(b"x") == BARE
