"""`trioet scon serve` as a whole: real processes, real sessions, and what they are told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from scon_serving import Client, Serve, echo, serving, session
from trioet.errors import StepFailed
from trioet.scon.config import parse_toml
from waiting import until

pytestmark = pytest.mark.e2e


@pytest.fixture
async def serve(runtime_dir: Path) -> AsyncIterator[Serve]:
    async with serving(runtime_dir) as made:
        yield made


async def test_a_session_outlives_its_connections_and_sigterm_ends_all(serve: Serve) -> None:
    async with echo() as backend:
        serve.configure(backend)
        await serve.start()
        async with session(serve.port) as client:
            for number in range(5):
                await client.say(b"%d" % number)
                client.cut()
            await client.say(b"end")
        assert len(client.lines) == 6
        assert await serve.figure("goscon_connection_reuses") == 5
        assert await serve.figure("trioet_scon_bytes_total") == 2 * len(b"01234end")

    serve.signal(signal.SIGTERM)

    assert await serve.ended() == 0
    assert os.listdir(serve.place / f"scon-{serve.port}") == ["lock"]


async def test_goscons_metrics_and_live_sessions_are_told(serve: Serve) -> None:
    async with echo() as backend:
        serve.configure(backend)
        await serve.start()
        async with session(serve.port) as client:
            await client.say(b"x")
            assert await serve.figure("trioet_scon_sessions") == 1
        await until_figure(serve, "trioet_scon_sessions", 0)
        _, page = await serve.get("/metrics")

    for name in (
        *("accepts", "accept_fails", "close", "reuses", "reuse_fails"),
        *("resend_sum", "resend_count", 'resend{quantile="0.99"}'),
    ):
        assert f"\ngoscon_connection_{name} " in page
    assert "# TYPE goscon_handshake_errors counter" in page
    assert "\ngoscon_upstream_fails 0" in page


async def until_figure(serve: Serve, name: str, value: float) -> None:
    with trio.fail_after(60):
        while await serve.figure(name) != value:  # noqa: ASYNC110 - there is no event
            await trio.sleep(0.02)


async def test_config_is_shown_and_can_be_read_again(serve: Serve) -> None:
    serve.configure(1)
    await serve.start()

    status, page = await serve.get("/config")

    assert status == 200
    assert parse_toml(page, "page").hosts[0].addr == ("127.0.0.1", 1)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_reload_replaces_backends_and_leaves_sessions_alone(
    serve: Serve, workers: int
) -> None:
    async with echo(b"old") as old, echo(b"new") as new:
        serve.configure(old, workers=workers)
        await serve.start()
        async with session(serve.port) as client:
            await client.hear(b"old")

            serve.configure(new, workers=workers)
            assert await serve.get("/reload") == (405, "Method Not Allowed: use POST\n")
            assert await serve.get("/reload", "POST") == (200, "succeed\n")
            async with session(serve.port) as other:
                await other.hear(b"new")

            serve.configure(old, workers=workers)
            serve.signal(signal.SIGHUP)
            await until(lambda: serve.log.count("configuration reloaded") == 2 * workers)
            async with session(serve.port) as other:
                await other.hear(b"old")

            client.cut()
            await client.say(b"still there")


async def test_a_reload_of_what_is_wrong_changes_nothing(serve: Serve) -> None:
    async with echo() as backend:
        serve.configure(backend)
        await serve.start()
        good = serve.file.read_text()
        serve.file.write_text(good.replace("hosts", "hostz"))

        status, text = await serve.get("/reload", "POST")

        assert status == 500
        assert text.startswith(f"failed: {serve.file}: no key is called 'hostz'")
        async with session(serve.port) as client:
            await client.say(b"x")


async def test_who_manages_it_shows_the_token(serve: Serve) -> None:
    (serve.place / "token").write_text("0123456789abcdef")
    (serve.place / "token").chmod(0o600)
    serve.configure(1, f'manager_option.token_file = "{serve.place}/token"')
    await serve.start()

    for path, method in (("/metrics", "GET"), ("/config", "GET"), ("/reload", "POST")):
        assert (await serve.get(path, method))[0] == 401
        shown = {"Authorization": "Bearer 0123456789abcdef"}
        assert (await serve.get(path, method, shown))[0] == 200


async def test_a_unix_socket_for_management_goes_on_to_the_successor(serve: Serve) -> None:
    path = serve.place / "m.sock"
    serve.configure(1, manager=f"unix:{path}")
    starting = trio.CancelScope()
    async with trio.open_nursery() as nursery:

        async def start() -> None:
            with starting:
                await serve.start()

        nursery.start_soon(start)
        with trio.fail_after(60):
            before = await metrics_at(path)
        starting.cancel()
    assert "goscon_connection_accepts 0" in before

    serve.signal(signal.SIGUSR2)
    assert await serve.ended() == 0

    assert "goscon_connection_accepts 0" in await metrics_at(path)
    heir = int(serve.log.partition("INFO process ")[2].split()[0])
    os.kill(heir, signal.SIGTERM)
    await until(lambda: is_zombie(heir), 60)


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
async def test_a_management_port_goes_on_to_the_successor_however_it_is_written(
    serve: Serve, host: str
) -> None:
    async with echo() as backend, trio.open_nursery() as nursery:
        serve.configure(backend, manager=f"{host}:{serve.manager}")
        await begin(serve, nursery)

        serve.signal(signal.SIGUSR2)
        await until(lambda: "serves now" in serve.log or "goes on" in serve.log, 60)
        assert "serves now" in serve.log, serve.log
        heir = int(serve.log.partition("INFO process ")[2].split()[0])
        assert await serve.ended() == 0
        os.kill(heir, signal.SIGTERM)
        await until(lambda: is_zombie(heir), 60)


async def begin(serve: Serve, nursery: trio.Nursery, **environment: str) -> None:
    """Start it, wherever it is managed; return when it serves."""
    starting = trio.CancelScope()

    async def start() -> None:
        with starting:
            await serve.start(**environment)

    nursery.start_soon(start)
    log = serve.place / "log"
    await until(lambda: log.exists() and "serving on" in serve.log, 60)
    starting.cancel()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_signals_are_followed_as_soon_as_it_is_ready(
    serve: Serve, number: signal.Signals
) -> None:
    path = str(serve.place / "notify")
    serve.configure(1)
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        await manager.bind(path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(begin_quietly, serve, path)
            with trio.fail_after(60):
                assert await manager.recv(100) == b"READY=1"
            serve.signal(number)
            if number == signal.SIGHUP:
                await until(lambda: serve.process is None or serve.process.poll() is not None
                            or "configuration reloaded" in serve.log, 60)  # fmt: skip
                serve.signal(signal.SIGTERM)
            assert await serve.ended() == 0
            nursery.cancel_scope.cancel()


async def begin_quietly(serve: Serve, notify: str) -> None:
    with suppress(AssertionError):  # it may have ended before it was asked
        await serve.start(NOTIFY_SOCKET=notify)


GATE = """
import os, time
if os.path.exists("gate"):
    open("reached", "w").close()
    while os.path.exists("gate"):
        time.sleep(0.01)
def announce(call):
    return b""
"""
"""A hook whose process comes no further as long as there is a file of that name."""


async def begin_successor(serve: Serve) -> int:
    """Start one, and a successor that waits; its process id."""
    (serve.place / "gates.py").write_text(GATE)
    serve.configure(1, 'upstream_option.hook = "gates:announce"')
    await serve.start(PYTHONPATH=f"{serve.place}:{os.environ.get('PYTHONPATH', '')}")
    (serve.place / "gate").touch()
    serve.signal(signal.SIGUSR2)
    await until((serve.place / "reached").exists, 60)
    (heir,) = serve.children
    return heir


async def test_sigterm_ends_it_also_while_a_successor_starts(serve: Serve) -> None:
    heir = await begin_successor(serve)
    serve.signal(signal.SIGUSR2)
    await until(lambda: "on its way already" in serve.log, 60)

    serve.signal(signal.SIGTERM)

    assert await serve.ended() == 0
    await until(lambda: is_zombie(heir), 60)


async def test_a_successor_serves_also_when_its_predecessor_was_killed(serve: Serve) -> None:
    heir = await begin_successor(serve)
    serve.signal(signal.SIGKILL)
    assert await serve.ended() == -signal.SIGKILL

    (serve.place / "gate").unlink()
    await until(lambda: serve.log.count("serving on") == 2 or is_zombie(heir), 60)

    assert await serve.is_healthy()
    assert "Traceback" not in serve.log
    os.kill(heir, signal.SIGTERM)
    await until(lambda: is_zombie(heir), 60)


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_configuration_that_is_shown_is_the_one_in_use(
    serve: Serve, workers: int
) -> None:
    async with echo() as backend:
        serve.configure(backend, workers=workers)
        await serve.start()
        _, before = await serve.get("/config")

        serve.configure(backend, "scp.reuse_time = 77", workers=workers, tcp="127.0.0.1:1")
        for _ in range(2):
            assert await serve.get("/reload", "POST") == (200, "succeed\n")
        assert serve.log.count("tcp has changed, which takes a restart") == 2 * workers
        _, after = await serve.get("/config")
        assert after == before.replace("reuse_time = 30.0", "reuse_time = 77.0") != before

        serve.configure(backend, 'scp.psk_file = "/no/such/key"', workers=workers)
        assert (await serve.get("/reload", "POST"))[0] == 500
        assert (await serve.get("/config"))[1] == after


@pytest.mark.parametrize("key", ["tcp", "manager"])
async def test_what_can_be_no_name_is_told_in_a_line(serve: Serve, key: str) -> None:
    (serve.place / "token").write_text("0123456789abcdef")
    (serve.place / "token").chmod(0o600)
    token = f'manager_option.token_file = "{serve.place}/token"'
    serve.configure(1, token, **{key: "a..b:1"})

    with pytest.raises(AssertionError, match=r"trioet: cannot listen on a\.\.b"):
        await serve.start()

    assert await serve.ended() == 255
    assert "Traceback" not in serve.log


async def metrics_at(path: Path) -> str:
    while True:
        try:
            stream = await trio.open_unix_socket(path)
        except OSError:
            await trio.sleep(0.02)
            continue
        async with stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            return b"".join([bytes(data) async for data in stream]).decode()


async def test_a_backend_is_told_who_comes_by_proxy_sproto_and_hook(serve: Serve) -> None:
    (serve.place / "our_hooks.py").write_text(
        "def announce(call):\n    return b'<%s from %s>' % (call.target, call.client[0].encode())\n"
    )
    option = 'upstream_option = { proxy_protocol = 1, sproto = 3, hook = "our_hooks:announce" }'
    async with echo() as backend:
        serve.configure(backend, option)
        await serve.start(PYTHONPATH=f"{serve.place}:{os.environ.get('PYTHONPATH', '')}")
        async with session(serve.port) as client:
            heard = b""
            with trio.fail_after(60):
                while not heard.endswith(b">"):
                    heard += await client.stream.receive_some(1000)

    line, _, rest = heard.partition(b"\r\n")
    assert line.startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")
    assert line.endswith(b" %d" % serve.port)
    assert b"U\x03\x08\x01\x02A\x02" in rest  # the recorded header, goscon's description 5.5
    assert rest.endswith(b"<echo from 127.0.0.1>")


async def test_a_hook_that_is_not_there_is_told_at_the_start(serve: Serve) -> None:
    serve.configure(1, 'upstream_option.hook = "no_such_module:f"')

    with pytest.raises(AssertionError, match=r"upstream_option\.hook = 'no_such_module:f'"):
        await serve.start()

    assert "Traceback" not in serve.log


AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


async def test_the_ports_that_systemd_opened_are_served_and_go_on_to_the_successor(
    serve: Serve,
) -> None:
    async with echo() as backend:
        serve.configure(backend)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            command = ["-m", "trioet.cli.main", "scon", "serve", "--config", str(serve.file)]
            with (serve.place / "log").open("ab") as log:
                serve.process = subprocess.Popen(  # noqa: ASYNC220 - it takes no time
                    [sys.executable, "-c", AS_SYSTEMD, str(listener.fileno()), *command],
                    pass_fds=[listener.fileno()],
                    stderr=log,
                    env={**os.environ, "TRIOET_RUNTIME_DIR": str(serve.place)},
                )
        await serve.until_healthy()
        async with session(port) as client:
            await client.say(b"before")
            serve.signal(signal.SIGUSR2)
            await until(lambda: "serves now" in serve.log, 60)
            client.cut()
            await client.say(b"after")
        await serve.ended()
        heir = int(serve.log.partition("INFO process ")[2].split()[0])
        async with session(port) as client:
            await client.say(b"new")
        os.kill(heir, signal.SIGTERM)
        await until(lambda: is_zombie(heir), 60)


async def test_an_unknown_target_is_told_by_the_end_of_the_session(serve: Serve) -> None:
    async with echo() as backend:
        serve.configure(backend)
        await serve.start()

        async with session(serve.port, target="nobody") as client:
            with trio.fail_after(60), suppress(trio.BrokenResourceError):
                assert await client.stream.receive_some(1) == b""

    assert await serve.figure("goscon_upstream_fails") == 1


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_restart_ends_no_session(serve: Serve, workers: int) -> None:
    async with echo() as backend:
        serve.configure(backend, workers=workers)
        await serve.start()
        async with session(serve.port) as kept, session(serve.port) as cut:
            await kept.say(b"before")
            await cut.say(b"before")
            old = serve.pid

            serve.signal(signal.SIGUSR2)
            await until(lambda: "serves now" in serve.log, 60)
            heir = int(serve.log.partition("INFO process ")[2].split()[0])
            assert heir != old

            await kept.say(b"on the old connection")
            for number in range(4):
                cut.cut()
                await cut.say(b"resumed %d" % number)
            async with session(serve.port) as other:
                await other.say(b"a new one")
                await until_figure(serve, "trioet_scon_sessions", 1)
            assert serve.process is not None
            assert serve.process.poll() is None
        assert await serve.ended() == 0
        assert await serve.is_healthy()
        os.kill(heir, signal.SIGTERM)
        await until(lambda: not Path(f"/proc/{heir}").exists() or is_zombie(heir), 60)


def is_zombie(pid: int) -> bool:
    """Whoever adopts it may be slow to bury it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_a_restart_with_what_is_wrong_changes_nothing(serve: Serve) -> None:
    async with echo() as backend:
        serve.configure(backend)
        await serve.start()
        async with session(serve.port) as client:
            await client.say(b"before")
            serve.file.write_text("hosts = 3")

            serve.signal(signal.SIGUSR2)
            await until(lambda: "this process goes on" in serve.log, 60)

            client.cut()
            await client.say(b"after")
            assert await serve.is_healthy()


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigquit_lets_sessions_come_back_and_ends_with_the_last(
    serve: Serve, workers: int
) -> None:
    async with echo() as backend:
        serve.configure(backend, workers=workers)
        await serve.start()
        async with session(serve.port) as client:
            await client.say(b"before")

            serve.signal(signal.SIGQUIT)
            await until_unhealthy(serve)
            await until_refused(serve)
            serve.signal(signal.SIGUSR2)
            await until(lambda: "SIGUSR2 is ignored" in serve.log)

            for _ in range(3):
                client.cut()
                await client.say(b"after")
        assert await serve.ended() == 0


async def until_unhealthy(serve: Serve) -> None:
    with trio.fail_after(60):
        while await serve.is_healthy():  # noqa: ASYNC110 - there is no event
            await trio.sleep(0.02)


async def until_refused(serve: Serve) -> None:
    """Every worker is told; those that have no session have none to wait for."""
    with trio.fail_after(60):
        while True:
            try:
                async with session(serve.port):
                    pass
            except StepFailed:
                return


async def test_workers_share_the_port_and_hand_over_what_is_not_theirs(serve: Serve) -> None:
    async with echo() as backend:
        serve.configure(backend, workers=3)
        await serve.start()
        clients: list[Client] = []

        async def live() -> None:
            async with session(serve.port) as client:
                clients.append(client)
                for number in range(10):
                    await client.say(b"%d" % number)
                    client.cut()

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(live)

        assert await serve.figure("goscon_connection_reuses") >= 54
        assert await serve.figure("trioet_scon_workers") == 3
        accepts = await serve.figure("goscon_connection_accepts")
        assert accepts > sum(len(client.lines) for client in clients), "nothing was handed over"


async def test_a_worker_that_dies_takes_its_sessions_and_no_others(serve: Serve) -> None:
    async with echo() as backend:
        serve.configure(backend, workers=2)
        await serve.start()
        workers = serve.children
        outcomes: list[bool] = []

        async def live(begun: trio.Event, go_on: trio.Event) -> None:
            try:
                async with session(serve.port) as client:
                    await client.say(b"before")
                    begun.set()
                    await go_on.wait()
                    client.cut()
                    await client.say(b"after")
            except trio.BrokenResourceError:
                outcomes.append(False)
            else:
                outcomes.append(True)

        async with trio.open_nursery() as nursery:
            go_on = trio.Event()
            while await sessions_by_worker(serve) < 2:
                begun = trio.Event()
                nursery.start_soon(live, begun, go_on)
                await begun.wait()

            os.kill(workers[0], signal.SIGKILL)
            await until(lambda: "it is replaced" in serve.log)
            await until_figure(serve, "trioet_scon_workers", 2)
            go_on.set()

        assert True in outcomes
        assert False in outcomes
        async with session(serve.port) as client:
            await client.say(b"served again")


async def sessions_by_worker(serve: Serve) -> int:
    """How many workers have a session."""
    _, page = await serve.get("/metrics")
    lines = [line for line in page.splitlines() if line.startswith("trioet_scon_sessions{")]
    return sum(not line.endswith(" 0") for line in lines)
