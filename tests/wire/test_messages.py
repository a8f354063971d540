from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trioet.errors import MessageError
from trioet.wire import messages as m

sizes = st.builds(
    m.WindowSize,
    st.integers(1, m.MAX_SIZE),
    st.integers(1, m.MAX_SIZE),
    st.integers(0, 65535),
    st.integers(0, 65535),
)
execs = st.builds(m.Exec, st.none() | st.binary(), st.booleans())
payloads = st.builds(
    m.InitialPayload,
    environment=st.dictionaries(st.binary(max_size=9), st.binary(max_size=9), max_size=4),
    jumphost=st.booleans(),
    features=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    exec=st.none() | execs,
    listens_required=st.booleans(),
)


@given(st.binary(max_size=40), st.integers(0, 99), st.booleans())
def test_connect_request(client_id: bytes, version: int, relay: bool) -> None:
    request = m.ConnectRequest(client_id, version, relay)
    assert m.decode_connect_request(m.encode_connect_request(request)) == request


def test_an_absent_version_reads_as_zero() -> None:
    assert m.decode_connect_request(b"") == m.ConnectRequest(b"", 0)


@given(st.sampled_from(m.ConnectStatus), st.binary(max_size=40))
def test_connect_response(status: m.ConnectStatus, error: bytes) -> None:
    response = m.ConnectResponse(status, error)
    assert m.decode_connect_response(m.encode_connect_response(response)) == response


@pytest.mark.parametrize("data", [b"", b"\x08\x09"], ids=["absent", "unknown"])
def test_a_response_without_a_known_status_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError, match="without a status"):
        m.decode_connect_response(data)


failures = st.builds(
    m.RelayFailure, st.binary(max_size=20), st.binary(max_size=40), st.booleans(), st.booleans()
)


@given(failures)
def test_a_relays_failure_is_no_servers_answer(failure: m.RelayFailure) -> None:
    said = m.encode_relay_failure(failure)
    assert m.decode_relay_failure(said) == failure
    with pytest.raises(MessageError, match="without a status"):
        m.decode_connect_response(said)


@given(st.sampled_from(m.ConnectStatus))
def test_a_servers_answer_is_no_relays_failure(status: m.ConnectStatus) -> None:
    assert m.decode_relay_failure(m.encode_connect_response(m.ConnectResponse(status))) is None


@given(st.integers(0, 2**31 - 1))
def test_sequence_header(count: int) -> None:
    assert m.decode_sequence_header(m.encode_sequence_header(count)) == count


def test_a_negative_sequence_number_is_refused() -> None:
    with pytest.raises(MessageError, match="-1 is negative"):
        m.decode_sequence_header(m.encode_sequence_header(-1))


def test_zeros_are_sent_as_cpp_sends_them() -> None:
    assert m.encode_sequence_header(0).hex() == "0800"
    assert m.encode_initial_payload(m.InitialPayload()).hex() == "0800"
    assert m.encode_terminal_info(m.WindowSize(24, 80)).hex() == "1018185020002800"
    assert m.encode_initial_response(m.InitialResponse()) == b""


@given(st.binary())
def test_terminal_buffer(data: bytes) -> None:
    assert m.decode_terminal_buffer(m.encode_terminal_buffer(data)) == data


@given(sizes)
def test_terminal_info(size: m.WindowSize) -> None:
    assert m.decode_terminal_info(m.encode_terminal_info(size)) == size


@pytest.mark.parametrize(
    ("rows", "columns"), [(0, 80), (24, 0), (-1, 80), (24, m.MAX_SIZE + 1), (2**31 - 1, 80)]
)
def test_a_size_that_no_terminal_has_is_ignored(rows: int, columns: int) -> None:
    assert m.decode_terminal_info(m.encode_terminal_info(m.WindowSize(rows, columns))) is None


def test_pixels_that_no_terminal_has_are_ignored() -> None:
    size = m.WindowSize(24, 80, -5, 70000)
    assert m.decode_terminal_info(m.encode_terminal_info(size)) == m.WindowSize(24, 80)


@given(payloads)
def test_initial_payload(payload: m.InitialPayload) -> None:
    assert m.decode_initial_payload(m.encode_initial_payload(payload)) == payload


@given(st.binary(max_size=20), st.lists(st.text(max_size=5)).map(tuple), st.text(max_size=5))
def test_initial_response(error: bytes, accepted: tuple[str, ...], version: str) -> None:
    response = m.InitialResponse(error, accepted, version)
    assert m.decode_initial_response(m.encode_initial_response(response)) == response


@given(st.none() | st.integers(0, 255), st.none() | st.integers(1, 64), st.text(max_size=9))
def test_session_over(status: int | None, signal: int | None, reason: str) -> None:
    assume(status is not None or signal is not None or reason)
    over = m.SessionOver(status, signal, reason)
    assert m.decode_session_over(m.encode_session_over(over)) == over


@given(st.binary(min_size=1, max_size=300))
def test_no_payload_passes_for_that_of_another_type(text: bytes) -> None:
    """The type of a packet is not sealed: somebody on the way may have changed it."""
    typed, size = m.encode_terminal_buffer(text), m.encode_terminal_info(m.WindowSize(24, 80))
    shown, told = m.encode_size(m.WindowSize(24, 80)), m.encode_notice(text.decode("latin-1"))
    decoders: dict[Callable[[bytes], object], list[bytes]] = {
        m.decode_terminal_buffer: [size, m.END_OF_INPUT, m.encode_stderr(text), shown, told, b""],
        m.decode_terminal_info: [typed, m.END_OF_INPUT, shown, told, b""],
        m.decode_stderr: [typed, size, m.END_OF_INPUT, shown, told, b""],
        m.decode_session_over: [typed, shown, told, b""],
        m.decode_size: [typed, size, m.END_OF_INPUT, m.encode_stderr(text), told, b""],
        m.decode_notice: [typed, size, m.END_OF_INPUT, m.encode_stderr(text), shown, b""],
    }
    for decode, payloads in decoders.items():
        for payload in payloads:
            with pytest.raises(MessageError):
                decode(payload)
    assert m.decode_terminal_buffer(typed) == text


@given(st.integers(0, 2**64 - 1))
def test_a_count_takes_eight_bytes_big_endian(count: int) -> None:
    payload = m.encode_count(count)
    assert (len(payload), payload[-1]) == (8, count % 256)
    assert m.decode_count(payload) == count


@pytest.mark.parametrize("payload", [b"", b"\x01", bytes(9)])
def test_a_keepalive_of_another_peer_carries_no_count(payload: bytes) -> None:
    assert m.decode_count(payload) is None


DECODERS: list[Callable[[bytes], object]] = [
    m.decode_connect_request,
    m.decode_connect_response,
    m.decode_sequence_header,
    m.decode_terminal_buffer,
    m.decode_terminal_info,
    m.decode_initial_payload,
    m.decode_initial_response,
    m.decode_session_over,
    m.decode_size,
    m.decode_notice,
]


@given(st.sampled_from(DECODERS), st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(decode: Callable[[bytes], object], data: bytes) -> None:
    with suppress(MessageError):
        decode(data)


def test_a_size_without_rows_or_columns_is_none() -> None:
    with pytest.raises(MessageError, match="without a size"):
        m.decode_terminal_info(bytes.fromhex("1018"))


@given(st.integers(1, m.MAX_SIZE), st.integers(1, m.MAX_SIZE))
def test_the_size_of_a_terminal_comes_back(rows: int, columns: int) -> None:
    size = m.WindowSize(rows, columns)
    assert m.decode_size(m.encode_size(size)) == size


@pytest.mark.parametrize(("rows", "columns"), [(0, 80), (24, 0), (m.MAX_SIZE + 1, 80)])
def test_a_terminal_of_no_size_is_none(rows: int, columns: int) -> None:
    with pytest.raises(MessageError, match="rows"):
        m.decode_size(m.encode_size(m.WindowSize(rows, columns)))


@given(st.text(max_size=50))
def test_a_notice_comes_back(text: str) -> None:
    assert m.decode_notice(m.encode_notice(text)) == text.encode(errors="replace").decode()


@given(st.binary(max_size=50))
def test_stderr_comes_back(data: bytes) -> None:
    assert m.decode_stderr(m.encode_stderr(data)) == data


@given(
    st.builds(
        m.InitialPayload,
        environment=st.dictionaries(st.binary(max_size=5), st.binary(max_size=5), max_size=3),
        jumphost=st.just(True),
        features=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    ),
    st.binary(max_size=20),
)
def test_beyond_a_jumphost_all_is_as_it_was_but_that_it_is_for_one(
    payload: m.InitialPayload, unknown: bytes
) -> None:
    said = m.encode_initial_payload(payload) + b"\xca\x3e" + bytes([len(unknown)]) + unknown
    passed_on = m.beyond_jumphost(said)
    assert passed_on == said + b"\x08\x00"
    assert m.decode_initial_payload(passed_on) == replace(payload, jumphost=False)
