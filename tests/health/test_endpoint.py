"""The endpoint over real sockets: what it answers, to whom, and what it costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from trioet.health.endpoint import (
    DEADLINE_S,
    MAX_BODY,
    MAX_CONNECTIONS,
    MAX_HEAD,
    Answer,
    Endpoint,
    Health,
)
from trioet.health.metrics import Metric, counter
from trioet.health.place import Place, listen

TOKEN = "a token of good length"


class Service:
    """An endpoint and what it was told."""

    def __init__(self, token: str | None = None) -> None:
        self.health = Health()
        self.reloads = 0
        self.endpoint = Endpoint(
            health=lambda: self.health,
            metrics=self.metrics,
            pages={"/config": lambda: Answer("port = 1\n"), "/broken": self.broken},
            acts={"/reload": self.reload},
            token=token,
            names=["Proxy.Example"],
        )
        self.port = 0

    def metrics(self) -> list[Metric]:
        return [counter("reloads_total", "How many.", self.reloads)]

    def broken(self) -> Answer:
        raise RuntimeError("a secret in a traceback")

    async def reload(self) -> Answer:
        self.reloads += 1
        return Answer("succeed\n")

    async def ask(self, method: str, path: str, *headers: str, body: str = "") -> str:
        """The whole answer. Host is the endpoint's address unless given."""
        given = [
            *headers,
            *([] if any(h.lower().startswith("host:") for h in headers) else ["Host: 127.0.0.1"]),
        ]
        head = "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", *given))
        return await self.say(f"{head}\r\n{body}".encode())

    async def say(self, data: bytes) -> str:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            await stream.send_all(data)
            return await everything(stream)


async def everything(stream: trio.SocketStream) -> str:
    with trio.fail_after(10):
        return b"".join([bytes(data) async for data in stream]).decode()


async def served(service: Service) -> AsyncIterator[Service]:
    listener = listen(Place("127.0.0.1", 0), None)
    service.port = listener.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.endpoint.serve, listener)
        yield service
        nursery.cancel_scope.cancel()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async for made in served(Service()):
        yield made


@pytest.fixture
async def guarded() -> AsyncIterator[Service]:
    async for made in served(Service(TOKEN)):
        yield made


async def test_healthz_says_ok_or_what_is_wrong(service: Service) -> None:
    well = await service.ask("GET", "/healthz")
    service.health = Health(False, "draining")
    ill = await service.ask("GET", "/healthz?verbose")

    assert well.startswith("HTTP/1.1 200 OK\r\n")
    assert well.endswith("\r\n\r\nok\n")
    assert ill.startswith("HTTP/1.1 503 ")
    assert ill.endswith("\r\n\r\ndraining\n")


async def test_metrics_are_prometheus_text(service: Service) -> None:
    page = await service.ask("GET", "/metrics")

    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in page
    assert page.endswith("\nreloads_total 0\n")


async def test_get_changes_nothing_and_post_does(service: Service) -> None:
    refused = await service.ask("GET", "/reload")
    assert refused.startswith("HTTP/1.1 405 ")
    assert "Allow: POST\r\n" in refused
    assert service.reloads == 0

    assert (await service.ask("POST", "/reload", "Content-Length: 2", body="{}")).endswith(
        "succeed\n"
    )
    assert service.reloads == 1
    assert (await service.ask("POST", "/metrics")).startswith("HTTP/1.1 405 ")
    assert (await service.ask("POST", "/healthz")).startswith("HTTP/1.1 405 ")


async def test_head_is_get_without_a_body(service: Service) -> None:
    answer = await service.ask("HEAD", "/config")

    assert "Content-Length: 9\r\n" in answer
    assert answer.endswith("\r\n\r\n")


async def test_an_unknown_path_names_those_that_are_known(service: Service) -> None:
    answer = await service.ask("GET", "/")

    assert answer.startswith("HTTP/1.1 404 ")
    assert "/healthz, /metrics, /config, /broken, POST /reload" in answer


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:6620",
        "[::1]:80",
        "localhost",
        "LOCALHOST:1",
        "proxy.example:80",
        "proxy.example.",
    ],
)
async def test_a_host_that_no_foreign_name_server_makes_up_is_served(
    service: Service, host: str
) -> None:
    assert " 200 OK" in await service.ask("GET", "/metrics", f"Host: {host}")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:6620", "localhost.evil.example", "127.0.0.1.nip.io", ""]
)
async def test_dns_rebinding_gets_nothing(service: Service, host: str) -> None:
    for method, path in (("GET", "/metrics"), ("GET", "/healthz"), ("POST", "/reload")):
        assert (await service.ask(method, path, f"Host: {host}")).startswith("HTTP/1.1 421 ")
    assert service.reloads == 0


@pytest.mark.parametrize(
    "header", ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"]
)
async def test_a_web_page_may_not_post(service: Service, header: str) -> None:
    assert (await service.ask("POST", "/reload", header)).startswith("HTTP/1.1 403 ")
    assert service.reloads == 0


async def test_a_token_is_asked_for_except_by_healthz(guarded: Service) -> None:
    assert " 200 OK" in await guarded.ask("GET", "/healthz")
    for header in ("X: y", "Authorization: Bearer wrong", f"Authorization: Basic {TOKEN}"):
        for method, path in (("GET", "/metrics"), ("GET", "/nothing"), ("POST", "/reload")):
            answer = await guarded.ask(method, path, header)
            assert answer.startswith("HTTP/1.1 401 ")
            assert "WWW-Authenticate: Bearer\r\n" in answer
    assert guarded.reloads == 0

    assert " 200 OK" in await guarded.ask("POST", "/reload", f"authorization: bearer {TOKEN}")
    assert guarded.reloads == 1


async def test_a_failure_inside_is_logged_and_not_shown(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await service.ask("GET", "/broken")

    assert answer.startswith("HTTP/1.1 500 ")
    assert "secret" not in answer
    assert "GET /broken failed" in caplog.text
    assert " 200 OK" in await service.ask("GET", "/healthz")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"\x16\x03\x01 not HTTP\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # RFC 9112, 3.2: without a Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * (MAX_HEAD + 1), 431),
        (
            b"POST /reload HTTP/1.1\r\nHost: [::1]\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1)
            + b"x" * (MAX_BODY + 1),
            413,
        ),
    ],
)
async def test_nonsense_and_too_much_are_refused(
    service: Service, said: bytes, status: int
) -> None:
    assert (await service.say(said)).startswith(f"HTTP/1.1 {status} ")
    assert service.reloads == 0


async def test_who_closes_without_a_word_harms_nobody(service: Service) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        await stream.send_eof()
        assert await everything(stream) == ""
    assert " 200 OK" in await service.ask("GET", "/healthz")


async def test_who_expects_100_continue_is_told_to_go_on(service: Service) -> None:
    head = (
        "POST /reload HTTP/1.1\r\nHost: [::1]\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    )
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        await stream.send_all(head.encode())
        with trio.fail_after(10):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(b"x")
        assert (await everything(stream)).startswith("HTTP/1.1 200 ")


async def test_who_says_nothing_is_dropped_at_the_deadline(
    autojump_clock: MockClock,
) -> None:
    service = Service()
    async for _ in served(service):
        async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
            await stream.send_all(b"GET /heal")
            before = trio.current_time()
            assert await everything_in(stream, 2 * DEADLINE_S) == b""
            assert trio.current_time() - before >= DEADLINE_S - 1


async def everything_in(stream: trio.SocketStream, seconds: float) -> bytes:
    with trio.fail_after(seconds):
        return b"".join([bytes(data) async for data in stream])


async def test_so_many_at_once_and_the_next_when_one_has_left(service: Service) -> None:
    silent = [await trio.open_tcp_stream("127.0.0.1", service.port) for _ in range(MAX_CONNECTIONS)]
    async with trio.open_nursery() as nursery:
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await service.ask("GET", "/healthz"))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not answers
        await silent[0].aclose()
    assert " 200 OK" in answers[0]
    for stream in silent:
        await stream.aclose()


async def test_a_unix_socket_asks_for_no_host(runtime_dir: Path) -> None:
    service = Service()
    listener = listen(Place(path=str(runtime_dir / "m.sock")), None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.endpoint.serve, listener)
        async with await trio.open_unix_socket(runtime_dir / "m.sock") as stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: whatever\r\n\r\n")
            assert " 200 OK" in await everything(stream)
        nursery.cancel_scope.cancel()
    assert listener.fileno() == -1
