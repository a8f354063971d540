"""Every message that a peer may send: wire/messages.py."""

from __future__ import annotations

from collections.abc import Callable

from harness import Target, instrumented

with instrumented():
    from trioet.wire import messages as m


READERS: list[tuple[Callable[[bytes], object], Callable[..., bytes] | None]] = [
    (m.decode_connect_request, m.encode_connect_request),
    (m.decode_connect_response, m.encode_connect_response),
    (m.decode_sequence_header, m.encode_sequence_header),
    (m.decode_terminal_buffer, m.encode_terminal_buffer),
    (m.decode_terminal_info, m.encode_terminal_info),
    (m.decode_initial_payload, m.encode_initial_payload),
    (m.decode_initial_response, m.encode_initial_response),
    (m.decode_session_over, m.encode_session_over),
    (m.decode_count, m.encode_count),
    (m.decode_relay_failure, m.encode_relay_failure),
    (m.decode_size, m.encode_size),
    (m.decode_notice, m.encode_notice),
]


def take(data: bytes) -> None:
    """The first byte says which message the rest is taken for."""
    if not data:
        return
    decode, encode = READERS[data[0] % len(READERS)]
    message = decode(data[1:])
    if encode is not None and message is not None:
        assert decode(encode(message)) == message


SAMPLES = [
    m.encode_connect_request(m.ConnectRequest(b"1234567890123456")),
    m.encode_connect_response(m.ConnectResponse(m.ConnectStatus.INVALID_KEY, b"not registered")),
    m.encode_sequence_header(300),
    m.encode_terminal_buffer(b"ls\n"),
    m.encode_terminal_info(m.WindowSize(24, 80, 640, 480)),
    m.encode_initial_payload(
        m.InitialPayload(
            {b"LANG": b"C"}, features=("over", "exec"), exec=m.Exec(b"make", pty=False)
        )
    ),
    m.encode_initial_response(m.InitialResponse(b"", ("over",), "0.1.0")),
    m.encode_session_over(m.SessionOver(status=3, reason="it ended")),
    m.encode_count(2**40),
    m.encode_relay_failure(m.RelayFailure(b"1234567890123456", b"cannot reach db1", True)),
    m.encode_size(m.WindowSize(24, 80)),
    m.encode_notice("share 1: somebody watches"),
]

TARGET = Target(take, seeds=[bytes([number]) + sample for number, sample in enumerate(SAMPLES)])

if __name__ == "__main__":
    TARGET.run()
