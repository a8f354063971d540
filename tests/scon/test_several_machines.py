"""Three proxies that share nothing but a real Redis, behind a balancer that knows nothing."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from scon_serving import PATIENCE_S, Client, Redis, Serve, balancer, echo, serving, session
from trioet.scon.seats import seat_of
from waiting import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed"),
]

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def redis(runtime_dir: Path) -> Iterator[Redis]:
    made = Redis(runtime_dir)
    yield made
    made.kill()


class Proxies:
    """Three of them, each with seats of its own, as on three machines."""

    def __init__(self, redis: Redis, place: Path, all_of_them: list[Serve]) -> None:
        self.redis = redis
        self.key = place / "key"
        self.key.write_text(KEY)
        self.key.chmod(0o600)
        self.all = all_of_them
        self.ports = [serve.port for serve in all_of_them]

    def configure(
        self, serve: Serve, backend: int, text: str = "", key: Path | None = None
    ) -> None:
        address = f"127.0.0.1:{serve.relay}"
        cluster = f'redis = "{self.redis.url}"\nlisten = "{address}"\nadvertise = "{address}"\n'
        serve.configure(backend, f'{text}\n[cluster]\n{cluster}key_file = "{key or self.key}"\n')

    async def start(self, backend: int, text: str = "") -> None:
        await self.redis.start()
        for serve in self.all:
            self.configure(serve, backend, text)
        async with trio.open_nursery() as nursery:
            for serve in self.all:
                nursery.start_soon(serve.start)

    async def figure(self, name: str) -> float:
        return sum([await serve.figure(name) for serve in self.all])


@pytest.fixture
async def proxies(redis: Redis, runtime_dir: Path) -> AsyncIterator[Proxies]:
    async with AsyncExitStack() as stack:
        names = ("one", "two", "three")
        all_of_them = [
            await stack.enter_async_context(serving(runtime_dir, name)) for name in names
        ]
        yield Proxies(redis, runtime_dir, all_of_them)


async def test_a_session_is_resumed_whichever_proxy_its_client_meets(proxies: Proxies) -> None:
    async with echo() as backend:
        await proxies.start(backend)
        async with balancer(proxies.ports) as port:
            for _ in range(3):
                async with session(port) as client:
                    for number in range(6):
                        await client.say(b"%d" % number)
                        client.cut()
                    await client.say(b"x" * 100_000)

        assert await proxies.figure("trioet_scon_passed_on_total") >= 3 * 3
        assert await proxies.figure("goscon_connection_reuses") == 3 * 6


async def test_an_expired_session_is_denied_wherever_its_client_asks(proxies: Proxies) -> None:
    async with echo() as backend:
        await proxies.start(backend, "scp.reuse_time = 0.2")
        for port in proxies.ports:
            hindered = trio.Event()
            async with session(proxies.ports[0], port) as client:
                await client.say(b"x")
                client.hindered = hindered
                client.cut()
                await until_figure(proxies, "trioet_scon_sessions", 0)
                hindered.set()
                await until_lost(client)

        holder, *others = proxies.all
        assert await holder.figure("goscon_connection_reuse_fails") >= 3
        assert await others[0].figure("trioet_scon_passed_on_total") >= 1
        assert sum([await other.figure("goscon_connection_reuse_fails") for other in others]) == 0


async def until_figure(proxies: Proxies, name: str, value: float) -> None:
    with trio.fail_after(PATIENCE_S):
        while await proxies.figure(name) != value:  # noqa: ASYNC110 - there is no event
            await trio.sleep(0.05)


async def until_lost(client: Client) -> None:
    with trio.fail_after(PATIENCE_S), pytest.raises(trio.BrokenResourceError, match="not know"):
        await client.stream.receive_some(1)


async def test_a_proxy_that_is_killed_takes_its_own_sessions_only(proxies: Proxies) -> None:
    """Its clients are sent to try again while its seat may still be its own."""
    async with echo() as backend:
        await proxies.start(backend)
        async with balancer(proxies.ports) as port, AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(session(port)) for _ in range(3)]
            for client in clients:
                await client.say(b"before")
            ids = [client.stream.link.session_id for client in clients]
            assert len({seat_of(session_id) for session_id in ids}) == 3

            proxies.all[0].signal(signal.SIGKILL)
            await proxies.all[0].ended()

            outcomes = [await comes_back(client) for client in clients]
            assert sorted(outcomes) == ["", "", "the server does not know the session"]
            async with session(port) as another:
                await another.say(b"new ones begin")


async def comes_back(client: Client) -> str:
    """Why it does not; "" if it does."""
    client.cut()
    try:
        await client.say(b"after")
    except trio.BrokenResourceError as error:
        return str(error)
    return ""


async def test_without_redis_sessions_go_on_and_begin(proxies: Proxies) -> None:
    async with echo() as backend:
        await proxies.start(backend)
        async with session(*proxies.ports) as client:
            for number in range(3):
                await client.say(b"%d" % number)
                client.cut()
            await client.say(b"all have asked for it")

            proxies.redis.kill()
            for number in range(3):
                client.cut()
                await client.say(b"remembered %d" % number)
            async with session(proxies.ports[1]) as other:
                await other.say(b"new")
            await until_figure(proxies, "trioet_scon_redis_connected", 0)

            await proxies.redis.start()
            await until_figure(proxies, "trioet_scon_redis_connected", 3)
            async with session(*proxies.ports[::-1]) as other:
                for number in range(3):
                    await other.say(b"%d" % number)
                    other.cut()
                await other.say(b"found again")


async def test_a_proxy_with_another_key_gets_nothing(proxies: Proxies, tmp_path: Path) -> None:
    async with echo() as backend:
        await proxies.start(backend)
        stranger = proxies.all[2]
        stranger.signal(signal.SIGTERM)
        await stranger.ended()
        (tmp_path / "key").write_text(KEY[::-1])
        (tmp_path / "key").chmod(0o600)
        proxies.configure(stranger, backend, key=tmp_path / "key")
        await stranger.start()

        async with session(proxies.ports[0], stranger.port, proxies.ports[1]) as client:
            await client.say(b"x")
            client.cut()
            await client.say(b"on the third")

        await until(lambda: "is key_file the same?" in stranger.log)


async def test_a_restart_of_one_of_them_ends_no_session(proxies: Proxies) -> None:
    async with echo() as backend:
        await proxies.start(backend)
        async with session(*proxies.ports) as client:
            await client.say(b"before")
            proxies.all[0].signal(signal.SIGUSR2)
            await until(lambda: "serves now" in proxies.all[0].log, PATIENCE_S)
            for number in range(6):
                client.cut()
                await client.say(b"%d" % number)
        await proxies.all[0].ended()
        heir = int(proxies.all[0].log.partition("INFO process ")[2].split()[0])
        os.kill(heir, signal.SIGTERM)


async def test_workers_of_several_machines_find_each_other(proxies: Proxies) -> None:
    async with echo() as backend:
        await proxies.start(backend, "workers = 2")
        async with session(*proxies.ports) as client:
            for number in range(12):
                await client.say(b"%d" % number)
                client.cut()
            await client.say(b"end")


async def test_without_redis_a_proxy_does_not_start_and_says_why(proxies: Proxies) -> None:
    serve = proxies.all[0]
    proxies.configure(serve, 1)

    with pytest.raises(AssertionError, match=r"cannot reach the Redis of cluster\.redis"):
        await serve.start()

    assert "Traceback" not in serve.log
    assert await serve.ended() == 255
