"""Connecting to real sockets of loopback, and hearing the truth about those that fail."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from cancelling import Sweep, Victim, settle
from descriptors import descriptors
from trioet.session import destinations
from trioet.session.destinations import CannotReach, connect, connect_datagrams, reset
from trioet.wire.forward import LOOPBACK, Address, UnixPath
from trioet.wire.reach import Failure


class Resolver(trio.abc.HostnameResolver):
    """Resolve every name to these addresses, in this order."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def getaddrinfo(  # type: ignore[override]
        self, host: bytes | None, port: int, _family: int, kind: int, *_: object
    ) -> list[tuple[object, ...]]:
        await trio.lowlevel.checkpoint()
        return [
            (socket.AF_INET6, kind, 0, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, kind, 0, "", (address, port))
            for address in self._addresses
        ]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise NotImplementedError


class Silent(Resolver):
    """Answer never."""

    async def getaddrinfo(self, *_: object, **__: object) -> list[tuple[object, ...]]:  # type: ignore[override]
        await trio.sleep_forever()
        raise AssertionError


class Unknown(Resolver):
    """Answer as the system does when the name server is away."""

    async def getaddrinfo(self, *_: object, **__: object) -> list[tuple[object, ...]]:  # type: ignore[override]
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def nobody(listener: socket.socket) -> int:
    """A port of 127.0.0.2 on which nobody listens, and 127.0.0.1's somebody does."""
    port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def dark() -> Iterator[int]:
    """A port of 127.0.0.3 that answers nothing: its queue is full, so SYNs are dropped."""
    with (
        socket.create_server(("127.0.0.3", 0), backlog=0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        yield listener.getsockname()[1]


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() <= before


# TCP


async def test_a_connection_is_a_plain_socket_that_sends_at_once(listener: socket.socket) -> None:
    with await connect(Address("127.0.0.1", listener.getsockname()[1])) as sock:
        accepted, peer = listener.accept()
        with accepted:
            assert type(sock) is socket.socket
            assert sock.getsockname() == peer
            assert not sock.getblocking()
            assert not sock.get_inheritable()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            accepted.sendall(b"hello")
            await trio.lowlevel.wait_readable(sock)
            assert sock.recv(5) == b"hello"


async def test_a_name_is_resolved_here_and_every_address_tried(listener: socket.socket) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.2", "127.0.0.1"))
    with await connect(Address("both.example", listener.getsockname()[1])) as sock:
        assert sock.getpeername() == listener.getsockname()


async def test_an_address_that_is_dark_does_not_hold_up_another() -> None:
    with (
        socket.create_server(("127.0.0.3", 0), backlog=0) as full,
        socket.create_connection(full.getsockname()),
        socket.create_server(("127.0.0.1", full.getsockname()[1])) as listener,
    ):
        trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.3", "127.0.0.1"))
        with await connect(Address("both.example", full.getsockname()[1])) as sock:
            assert sock.getpeername() == listener.getsockname()


async def test_nobody_there_is_refused(nobody: int) -> None:
    with pytest.raises(CannotReach, match=r"^connection refused$") as caught:
        await connect(Address("127.0.0.2", nobody))
    assert caught.value.failure is Failure.REFUSED


async def test_a_network_without_a_way_is_unreachable() -> None:
    # 255.255.255.255 as a TCP destination: the kernel knows no way there, in any network.
    with pytest.raises(CannotReach, match=r"^network is unreachable$") as caught:
        await connect(Address("255.255.255.255", 80))
    assert caught.value.failure is Failure.NETWORK_UNREACHABLE


@pytest.mark.parametrize(
    "order", [("127.0.0.2", "255.255.255.255"), ("255.255.255.255", "127.0.0.2")]
)
async def test_of_several_failures_the_most_telling_is_told(
    nobody: int, order: tuple[str, str]
) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(*order))
    with pytest.raises(CannotReach, match=r"^connection refused$"):
        await connect(Address("both.example", nobody))


async def test_silence_ends_with_the_deadline(dark: int) -> None:
    with pytest.raises(CannotReach, match=r"^connection timed out$") as caught:
        await connect(Address("127.0.0.3", dark), deadline_s=0.05)
    assert caught.value.failure is Failure.TIMED_OUT


async def test_a_name_server_that_is_silent_ends_with_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trio.socket.set_custom_hostname_resolver(Silent())
    for attempt in (connect, connect_datagrams):
        with pytest.raises(CannotReach) as caught:
            await attempt(Address("silent.example", 80))
        assert caught.value.failure is Failure.TIMED_OUT


@pytest.mark.parametrize("name", ["", "two..dots", "x" * 64, "nul\0", "\udcff"])
async def test_what_cannot_be_a_name_is_no_such_host(name: str) -> None:
    for attempt in (connect, connect_datagrams):
        with pytest.raises(CannotReach, match=r"^name or service not known$") as caught:
            await attempt(Address(name, 80))
        assert caught.value.failure is Failure.NO_SUCH_HOST


async def test_a_name_server_that_is_away_is_told_as_such() -> None:
    trio.socket.set_custom_hostname_resolver(Unknown())
    with pytest.raises(CannotReach, match=r"^temporary failure in name resolution$") as caught:
        await connect(Address("some.example", 80))
    assert caught.value.failure is Failure.NO_SUCH_HOST


async def test_cancelled_while_an_address_is_silent_nothing_stays_open(dark: int) -> None:
    # Longer than it takes until the second address is tried beside the first.
    with trio.move_on_after(0.3) as scope:
        trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.3", "127.0.0.3"))
        await connect(Address("dark.example", dark))
    assert scope.cancelled_caught


def test_cancelled_at_any_step_nothing_stays_open(runtime_dir: Path) -> None:
    sweep = Sweep(destinations)

    async def life(victim: Victim) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as tcp,
            socket.create_server(str(runtime_dir / "s"), family=socket.AF_UNIX),
            socket.create_server(("127.0.0.1", 0), backlog=0) as full,
            socket.create_connection(full.getsockname()),
        ):
            port = tcp.getsockname()[1]
            trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.2", "127.0.0.1"))

            async def connect_to_all() -> None:
                (await connect(Address(LOOPBACK, port))).close()
                (await connect(Address("some.example", port))).close()
                (await connect(UnixPath(str(runtime_dir / "s")))).close()
                with trio.move_on_after(0):
                    await connect(Address(LOOPBACK, full.getsockname()[1]))
                (await connect_datagrams(Address("some.example", port))).close()

            await victim.run(connect_to_all)
        (runtime_dir / "s").unlink()

    assert sweep.every_step(life) > 3
    assert sweep.never_cancelled({}) == []


DESTITUTE = """
import resource, sys, trio
from trioet.session.destinations import CannotReach, connect, connect_datagrams
from trioet.wire.forward import LOOPBACK, Address, UnixPath

async def main():
    with open("/dev/null") as next_one:
        free = next_one.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
    for attempt, where in [
        (connect, Address("127.0.0.1", 1)),
        (connect, UnixPath("/nowhere")),
        (connect_datagrams, Address("127.0.0.1", 1)),
    ]:
        try:
            await attempt(where)
        except CannotReach as error:
            print(error.failure.name, error)

trio.run(main)
"""


def test_want_of_descriptors_is_told() -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", DESTITUTE],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["GENERAL too many open files"] * 3


# Reset


async def test_reset_is_seen_as_a_reset(listener: socket.socket) -> None:
    sock = await connect(Address("127.0.0.1", listener.getsockname()[1]))
    accepted, _ = listener.accept()
    with accepted:
        reset(sock)
        with pytest.raises(ConnectionResetError):
            accepted.recv(1)


async def test_reset_ends_whoever_waits_and_may_come_twice(listener: socket.socket) -> None:
    sock = await connect(Address("127.0.0.1", listener.getsockname()[1]))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await trio.lowlevel.wait_readable(sock)

            await settle()
            reset(sock)
    reset(sock)


async def test_reset_of_a_unix_socket_is_an_end(runtime_dir: Path) -> None:
    with socket.create_server(str(runtime_dir / "s"), family=socket.AF_UNIX) as listener:
        reset(await connect(UnixPath(str(runtime_dir / "s"))))
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(1) == b""


# Unix sockets


async def test_a_unix_socket_is_reached(runtime_dir: Path) -> None:
    with (
        socket.create_server(str(runtime_dir / "s"), family=socket.AF_UNIX) as listener,
        await connect(UnixPath(str(runtime_dir / "s"))) as sock,
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert not sock.getblocking()
            sock.send(b"x")
            assert accepted.recv(1) == b"x"


@pytest.mark.parametrize("name", ["absent", "file/below", "s\0"])
async def test_a_path_with_nothing_there_is_refused(runtime_dir: Path, name: str) -> None:
    (runtime_dir / "file").touch()
    with (
        socket.create_server(str(runtime_dir / "s"), family=socket.AF_UNIX),
        pytest.raises(CannotReach, match=r"^no(t a| such file or) directory$") as caught,
    ):
        await connect(UnixPath(str(runtime_dir / name)))
    assert caught.value.failure is Failure.REFUSED


async def test_a_stale_socket_is_refused(runtime_dir: Path) -> None:
    socket.create_server(str(runtime_dir / "s"), family=socket.AF_UNIX).close()
    with pytest.raises(CannotReach, match=r"^connection refused$") as caught:
        await connect(UnixPath(str(runtime_dir / "s")))
    assert caught.value.failure is Failure.REFUSED


async def test_a_socket_with_a_full_queue_is_refused(runtime_dir: Path) -> None:
    where = UnixPath(str(runtime_dir / "s"))
    with (
        socket.create_server(where.path, family=socket.AF_UNIX, backlog=0),
        await connect(where),
        pytest.raises(CannotReach, match=r"^connection refused: its queue is full$") as caught,
    ):
        await connect(where)
    assert caught.value.failure is Failure.REFUSED


async def test_a_path_that_is_too_long_is_told() -> None:
    with pytest.raises(CannotReach, match=r"^AF_UNIX path too long$") as caught:
        await connect(UnixPath("/" + "x" * 200))
    assert caught.value.failure is Failure.GENERAL


FORBIDDEN = """
import encodings.idna, os, sys, trio
from trioet.session.destinations import CannotReach, connect
from trioet.wire.forward import UnixPath

if os.geteuid() == 0:
    os.setuid(65534)
try:
    trio.run(connect, UnixPath(sys.argv[1]))
except CannotReach as error:
    print(error.failure.name, error)
"""


def test_a_socket_that_may_not_be_used_is_not_allowed(runtime_dir: Path) -> None:
    with socket.create_server(str(runtime_dir / "s"), family=socket.AF_UNIX):
        os.chmod(runtime_dir / "s", 0)
        command = [sys.executable, "-W", "error", "-c", FORBIDDEN, str(runtime_dir / "s")]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.stderr == ""
    assert result.stdout == "NOT_ALLOWED permission denied\n"


# UDP


async def test_datagrams_go_there_and_back() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        with await connect_datagrams(Address("127.0.0.1", server.getsockname()[1])) as sock:
            assert type(sock) is socket.socket
            assert not sock.getblocking()
            sock.send(b"question")
            question, client = server.recvfrom(100)
            server.sendto(b"answer to " + question, client)
            await trio.lowlevel.wait_readable(sock)
            assert sock.recv(100) == b"answer to question"


async def test_datagrams_go_to_the_first_address_to_which_a_way_leads() -> None:
    # To the broadcast address no socket may connect that did not ask for it.
    trio.socket.set_custom_hostname_resolver(Resolver("255.255.255.255", "127.0.0.1"))
    with await connect_datagrams(Address("some.example", 53)) as sock:
        assert sock.getpeername() == ("127.0.0.1", 53)


async def test_datagrams_with_no_way_are_told() -> None:
    trio.socket.set_custom_hostname_resolver(Resolver("255.255.255.255"))
    with pytest.raises(CannotReach) as caught:
        await connect_datagrams(Address("some.example", 53))
    assert caught.value.failure in (Failure.NOT_ALLOWED, Failure.NETWORK_UNREACHABLE)
