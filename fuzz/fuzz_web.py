"""What browsers, other web terminals' clients, and configuration files of GoTTY's may say.

wire/web_http.py, wire/web_origin.py, wire/web_forwarded.py, wire/web_tty.py and
web/gotty_config.py; and what whoever serves the web asks of a keeper: server/guest_request.py.
"""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

from harness import Target, instrumented

with instrumented():
    from trioet.errors import PeerError, UsageError
    from trioet.server.guest_request import BEGINS, parse_guest_request
    from trioet.web.gotty_config import parse_config
    from trioet.wire.web_forwarded import proxies, scheme
    from trioet.wire.web_http import MAX_BODY, answer_head, parse_head
    from trioet.wire.web_origin import is_our_host, is_our_origin
    from trioet.wire.web_tty import Tty, Webtty


PROXIES = proxies(["10.0.0.0/8"])


def take(data: bytes) -> None:
    kind, rest = data[:1], data[1:]
    text = rest.decode(errors="replace")
    match kind:
        case b"h":
            request = parse_head(rest)
            assert 0 <= request.length <= MAX_BODY
            assert answer_head(HTTPStatus.OK, request.fields.items()).count(b"\r\n\r\n") == 1
            host = request.fields["host"]
            is_our_host(host, ())
            assert PROXIES.visitor("10.0.0.1", request.fields)
            assert scheme(request.fields) in ("", "http", "https")
            if is_our_origin(request.fields.get("origin", ""), host, None):
                assert "origin" in request.fields
        case b"g":
            webtty = Webtty()
            for line in text.split("\n"):
                with suppress(PeerError):
                    webtty.hello(line)
                webtty.read(line)
        case b"t":
            tty = Tty()
            for part in rest.split(b"\n"):
                with suppress(PeerError):
                    tty.hello(part)
                tty.read(part)
        case b"c":
            with suppress(UsageError):
                parse_config(text)
        case _:
            asked = parse_guest_request(BEGINS + rest)
            again = parse_guest_request(asked.encode())
            assert again.grant == asked.grant


TARGET = Target(
    take,
    seeds=[
        b"hGET /a?b=c HTTP/1.1\r\nHost: localhost:8080\r\nOrigin: http://localhost:8080",
        b"hGET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4, [::1]:8, 10.0.0.2\r\n"
        b"X-Forwarded-Proto: https",
        b"hPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nCookie: a=b",
        b'g{"Arguments": "?arg=a","AuthToken": "a:b"}\n4base64\n1YQ==\n2\n3{"columns": 8, "rows":2}'
        b"\n4null\n1text",
        b't{"AuthToken": "", "columns": 80, "rows": 24}\n0a\n1{"columns": 1, "rows": 1}\n2\n3',
        b'c// GoTTY\nport = "9000"\npreferences { font_size = 5 }\nlist = [1, "a", true]',
        b"aid=1234567890123456\0passkey=12345678901234567890123456789012\0arg=/bin/sh\0rows=0\0"
        b"columns=0\0start=1\0linger=1\0close_signal=1\0close_timeout=1\0env=A=b\0",
    ],
)

if __name__ == "__main__":
    TARGET.run()
