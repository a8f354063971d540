"""`trioet serve`, a real process: what signals do to it, and what systemd hands it."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import pytest
import trio

from activation import PLACE
from ports import free_ports
from trioet.doctor.facts import router_facts
from trioet.server import service
from waiting import until

SOURCE: Final = str(Path(service.__file__).parents[2])

PATIENCE_S: Final = 60.0

LISTENS: Final = "0A"
"""The state of such sockets in proc_net_tcp(5)."""

ELSEWHERE: Final = "203.0.113.1"
"""An address of nobody's (RFC 5737)."""


class Serve:
    """`trioet serve` with a configuration file. ``place`` is its runtime directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.file = place / "serve.toml"
        self._log = place / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was started"
        return self._process

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def start(
        self, *options: str, configuration: str = "", inherited: Sequence[socket.socket] = ()
    ) -> None:
        """Return when it serves. ``inherited`` is handed over as by systemd."""
        self.file.write_text(configuration)
        command = ["-P", "-m", "trioet.cli.main", "serve", "--config", str(self.file), *options]
        environment = {**os.environ, "PYTHONPATH": SOURCE}
        numbers = [listener.fileno() for listener in inherited]
        if numbers:
            command = ["-c", PLACE, ",".join(map(str, numbers)), *command]
            environment["LISTEN_FDS"] = str(len(numbers))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it takes no time
                [sys.executable, *command],
                env=environment,
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        await self._until_said("serving on ")

    async def reload(self, configuration: str) -> str:
        """Have it read this configuration; return what it says to that."""
        before = len(self.log)
        self.file.write_text(configuration)
        self.process.send_signal(signal.SIGHUP)
        await self._until_said("reloaded", before)
        return self.log[before:]

    async def _until_said(self, words: str, since: int = 0) -> None:
        def said() -> bool:
            assert self.process.poll() is None, self.log
            return words in self.log[since:] and self.log.endswith("\n")

        await until(said, PATIENCE_S)

    async def port(self) -> int:
        """The port that it tells keepers, and they their clients."""
        told = await trio.to_thread.run_sync(router_facts)
        assert told["state"] == "serves", told
        return int(told["port"])

    def listening(self) -> dict[tuple[str, int], str]:
        """Where it listens, and by which socket."""
        links = [os.readlink(path) for path in Path(f"/proc/{self.process.pid}/fd").iterdir()]
        found = {}
        for table in ("tcp", "tcp6"):
            _, *rows = Path(f"/proc/{self.process.pid}/net/{table}").read_text().splitlines()
            for row in rows:
                fields = row.split()
                if fields[3] == LISTENS and f"socket:[{fields[9]}]" in links:
                    found[_address(fields[1])] = fields[9]
        return found

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        with trio.fail_after(PATIENCE_S):
            return await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)


def _address(text: str) -> tuple[str, int]:
    """An address and port of proc_net_tcp(5), whose words are in the order of the machine."""
    host, _, port = text.partition(":")
    words = [int(host[at : at + 8], 16) for at in range(0, len(host), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)), int(port, 16)


@pytest.fixture
async def serve(runtime_dir: Path) -> AsyncIterator[Serve]:
    made = Serve(runtime_dir)
    yield made
    if made.process.poll() is None:
        await made.end(signal.SIGKILL)


def configured(port: int, *bind: str) -> str:
    return f"port = {port}\nbind = {list(bind)}\n" if bind else f"port = {port}\n"


EVERY: Final = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
"""What is shown of one who listens on all addresses."""


# SIGHUP


async def test_an_address_more_is_opened_and_the_other_is_not_touched(serve: Serve) -> None:
    (port,) = free_ports(1)
    await serve.start(configuration=configured(port, "127.0.0.1"))
    before = serve.listening()
    assert list(before) == [("127.0.0.1", port)]

    assert "INFO configuration reloaded" in await serve.reload(
        configured(port, "127.0.0.1", "127.0.0.2")
    )
    more = serve.listening()
    assert set(more) == {("127.0.0.1", port), ("127.0.0.2", port)}
    assert more.items() > before.items()

    await serve.reload(configured(port, "127.0.0.1"))
    assert serve.listening() == before


async def test_another_port_takes_the_place_of_the_old_one(serve: Serve) -> None:
    old, new = free_ports(2)
    await serve.start(configuration=configured(old, "127.0.0.1"))
    await serve.reload(configured(new, "127.0.0.1"))
    assert list(serve.listening()) == [("127.0.0.1", new)]
    assert await serve.port() == new


@pytest.mark.parametrize("bind", [["127.0.0.1"], ["127.0.0.2", "127.0.0.1"]])
async def test_a_port_that_is_taken_leaves_everything_as_it_was(
    serve: Serve, bind: list[str]
) -> None:
    port, taken = free_ports(2)
    await serve.start(configuration=configured(port, "127.0.0.1"))
    before = serve.listening()
    with socket.create_server(("127.0.0.1", taken)):
        said = await serve.reload(configured(taken, *bind) + "relay = false")
    assert "ERROR configuration not reloaded, it serves as before: cannot listen on" in said
    assert "Address already in use" in said
    assert serve.listening() == before
    told = await trio.to_thread.run_sync(router_facts)
    assert (told["port"], told["relaying"]) == (port, "any")

    await serve.reload(configured(taken, *bind))
    assert set(serve.listening()) == {(host, taken) for host in bind}


async def test_all_addresses_become_one_and_all_again(serve: Serve) -> None:
    (port,) = free_ports(1)
    await serve.start(configuration=configured(port))
    for bind, host in [(["127.0.0.1"], "127.0.0.1"), ([], EVERY), (["0.0.0.0"], "0.0.0.0")]:
        assert "INFO configuration reloaded" in await serve.reload(configured(port, *bind))
        assert list(serve.listening()) == [(host, port)]
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S).close()


async def test_what_had_to_make_room_is_opened_again_when_that_was_in_vain(serve: Serve) -> None:
    (port,) = free_ports(1)
    await serve.start(configuration=configured(port))
    said = await serve.reload(configured(port, "127.0.0.1", ELSEWHERE))
    assert f"cannot listen on {ELSEWHERE} port {port}" in said
    assert list(serve.listening()) == [(EVERY, port)]
    socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S).close()
    assert await serve.end() == 0


async def test_any_port_stays_the_one_it_was(serve: Serve) -> None:
    await serve.start("--port", "0", configuration="bind = '127.0.0.1'")
    port = await serve.port()
    await serve.reload("bind = ['127.0.0.1', '127.0.0.2']")
    assert set(serve.listening()) == {("127.0.0.1", port), ("127.0.0.2", port)}
    assert await serve.port() == port


async def test_verbose_is_followed_either_way(serve: Serve) -> None:
    (port,) = free_ports(1)
    await serve.start(configuration=configured(port, "127.0.0.1"))
    logged = f"DEBUG a keeper of uid {os.getuid()} registers"
    for verbose, count in [("false", 0), ("true", 1), ("false", 1)]:
        await serve.reload(configured(port, "127.0.0.1") + f"verbose = {verbose}")
        await serve.port()
        assert serve.log.count(logged) == count


async def test_another_socket_is_said_to_need_a_restart(serve: Serve) -> None:
    (port,) = free_ports(1)
    same = configured(port, "127.0.0.1")
    await serve.start(configuration=same)
    warning = "WARNING another socket takes effect with a restart"
    assert warning not in await serve.reload(same)
    elsewhere = same + f"socket = '{serve.place}/router-b.sock'"
    assert warning in await serve.reload(elsewhere)
    assert warning in await serve.reload(elsewhere)
    assert await serve.port() == port


# systemd


async def test_clients_are_told_the_port_that_systemd_listens_on(serve: Serve) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        ports = [listener.getsockname()[1] for listener in (first, second)]
        await serve.start(inherited=[first, second])
    assert await serve.port() == min(ports)


async def test_of_systemds_ports_the_configured_one_is_told(serve: Serve) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        port = max(listener.getsockname()[1] for listener in (first, second))
        await serve.start("--port", str(port), inherited=[first, second])
    assert await serve.port() == port


async def test_a_reload_leaves_systemds_sockets_and_the_port_that_is_told(serve: Serve) -> None:
    other, another = free_ports(2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        await serve.start(configuration=configured(other, "127.0.0.1"), inherited=[listener])
    before = serve.listening()
    said = await serve.reload(configured(other, "127.0.0.1") + "relay = false")
    assert "WARNING" not in said
    said = await serve.reload(configured(another, "127.0.0.2"))
    assert "WARNING systemd listens, not trioet" in said
    assert list(before) == [("127.0.0.1", port)]
    assert serve.listening() == before
    assert await serve.port() == port


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_well_also_when_its_socket_was_removed(
    serve: Serve, number: signal.Signals
) -> None:
    await serve.start("--port", "0", "--bind", "127.0.0.1")
    os.unlink(serve.place / "router.sock")
    assert await serve.end(number) == 0
    assert "Traceback" not in serve.log


async def test_it_leaves_no_socket(serve: Serve) -> None:
    await serve.start("--port", "0", "--bind", "127.0.0.1")
    assert (serve.place / "router.sock").exists()
    assert await serve.end() == 0
    assert not (serve.place / "router.sock").exists()
