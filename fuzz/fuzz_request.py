"""What a local program may ask of a keeper: server/request.py, server/share_request.py."""

from __future__ import annotations

from harness import Target, instrumented

with instrumented():
    from trioet.bootstrap.credentials import Credentials
    from trioet.bootstrap.relay_line import parse_relay_line, relay_line
    from trioet.server.request import OpenRequest, RelayRequest, parse_request
    from trioet.server.share_request import (
        RevokeRequest,
        ShareRequest,
        ShownRequest,
        TakeRequest,
        is_share_request,
        parse_share_request,
    )

CREDENTIALS = Credentials("abcdefgh12345678", "12345678901234567890123456789012")


def take(data: bytes) -> None:
    if is_share_request(data):
        asked = parse_share_request(data)
        assert parse_share_request(asked.encode()) == asked
        return
    request = parse_request(data)
    if isinstance(request, RelayRequest):
        assert parse_relay_line(relay_line(request.host, request.port))[1] == request.port
    else:
        assert len(request.credentials.client_id) == 16
        assert request.destination is None or 0 < request.destination[1] < 65536
    assert request.ports is None or 0 < request.ports[0] <= request.ports[1] < 65536
    again = parse_request(request.encode())
    assert again.encode() == request.encode()


TARGET = Target(
    take,
    seeds=[
        OpenRequest(CREDENTIALS, "xterm", {b"PATH": b"/bin", b"A": b"\xff=\n"}).encode(),
        OpenRequest(
            CREDENTIALS, "x", {}, router_socket="/run/r", ports=(1, 65535), kill_others=True
        ).encode()
        + b"more=of a newer one\0",
        RelayRequest("db1.internal", 2022, router_socket="/run/r", ports=(1, 2)).encode(),
        OpenRequest(CREDENTIALS, "x", {}, destination=("far.example", 2022)).encode(),
        b"do=close\0",
        ShareRequest("12.3", write=True, hide=True).encode(),
        ShownRequest("12.3", 1).encode(),
        TakeRequest(CREDENTIALS.client_id, "192.0.2.7").encode(),
        RevokeRequest("12.3").encode(),
    ],
)

if __name__ == "__main__":
    TARGET.run()
