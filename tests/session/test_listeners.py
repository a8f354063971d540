"""Listening on real sockets: on what there is, on nothing that is somebody else's."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from cancelling import Sweep, Victim, settle
from descriptors import descriptors
from trioet.session import listeners
from trioet.session.listeners import (
    Bound,
    CannotListen,
    Listener,
    PrivateSockets,
    open_datagrams,
    open_listener,
)
from trioet.wire.forward import ANYWHERE, LOOPBACK, Address, UnixPath


class Resolver(trio.abc.HostnameResolver):
    """Resolve every name to these addresses of IPv4; to none: as if it did not exist."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def getaddrinfo(  # type: ignore[override]
        self, host: bytes | None, port: int, _family: int, kind: int, *_: object
    ) -> list[tuple[object, ...]]:
        await trio.lowlevel.checkpoint()
        if not self._addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, kind, 0, "", (address, port)) for address in self._addresses]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() <= before


def hosts(bound: Bound) -> list[str]:
    return [where.host for where in bound.addresses if isinstance(where, Address)]


def run(script: str, *arguments: str, prefix: list[str] | None = None) -> list[str]:
    """What a Python program prints that has the machine, or its rights, changed for itself."""
    result = subprocess.run(
        [*(prefix or []), sys.executable, "-W", "error", "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.stderr == ""
    return result.stdout.splitlines()


# Addresses


async def test_localhost_is_both_loopbacks_at_one_port() -> None:
    with await open_listener(Address(LOOPBACK, 0)) as listener:
        assert listener.addresses == (
            Address("::1", listener.port),
            Address("127.0.0.1", listener.port),
        )
        for host in hosts(listener):
            with (
                socket.create_connection((host, listener.port)) as client,
                await listener.accept() as accepted,
            ):
                assert accepted.getpeername() == client.getsockname()


async def test_anywhere_is_every_family() -> None:
    with await open_listener(Address(ANYWHERE, 0)) as listener:
        assert hosts(listener) == ["::", "0.0.0.0"]
        for host in ("::1", "127.0.0.2"):
            with (
                socket.create_connection((host, listener.port)) as client,
                await listener.accept() as accepted,
            ):
                assert accepted.family == client.family


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
async def test_a_number_is_that_address_alone(host: str) -> None:
    with await open_listener(Address(host, 0)) as listener:
        assert hosts(listener) == [host]


async def test_a_name_is_all_its_addresses_that_this_machine_has() -> None:
    trio.socket.set_custom_hostname_resolver(
        Resolver("192.0.2.1", "127.0.0.2", "127.0.0.2", "127.0.0.3")
    )
    with await open_listener(Address("some.example", 0)) as listener:
        assert hosts(listener) == ["127.0.0.2", "127.0.0.3"]


async def test_the_port_that_is_asked_for_is_had_again_at_once() -> None:
    with await open_listener(Address(LOOPBACK, 0)) as first:
        port = first.port
        with socket.create_connection(("127.0.0.1", port)) as client:
            (await first.accept()).close()  # ours closes first: it stays in TIME_WAIT
            assert client.recv(1) == b""
    with await open_listener(Address(LOOPBACK, port)) as second:
        assert second.port == port


async def test_an_accepted_connection_is_a_plain_socket_that_sends_at_once() -> None:
    async with trio.open_nursery() as nursery:
        with await open_listener(Address("127.0.0.1", 0)) as listener:

            @nursery.start_soon
            async def accept() -> None:
                with await listener.accept() as accepted:
                    assert type(accepted) is socket.socket
                    assert not accepted.getblocking()
                    assert not accepted.get_inheritable()
                    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

            await settle()
            with socket.create_connection(("127.0.0.1", listener.port)):
                await settle()


async def test_connections_that_wait_are_taken_from_each_family_in_turn() -> None:
    with await open_listener(Address(LOOPBACK, 0)) as listener:
        waiting = [
            socket.create_connection((host, listener.port))
            for host in ("::1", "127.0.0.1")
            for _ in range(3)
        ]
        families = []
        for _ in waiting:
            with await listener.accept() as accepted:
                families.append(accepted.family)
        for client in waiting:
            client.close()
    assert len(set(families[:2])) == len(set(families[2:4])) == len(set(families[4:])) == 2


async def test_a_connection_that_was_reset_while_it_waited_hurts_nobody() -> None:
    with await open_listener(Address("127.0.0.1", 0)) as listener:
        with socket.create_connection(("127.0.0.1", listener.port)) as impatient:
            impatient.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with socket.create_connection(("127.0.0.1", listener.port)):
            # Linux gives us both, the one that was reset as well.
            (await listener.accept()).close()
            (await listener.accept()).close()


# Addresses that cannot be had


@pytest.mark.parametrize("taken", ["127.0.0.1", "::1"])
async def test_a_port_that_somebody_has_in_one_family_is_not_had_in_the_other(taken: str) -> None:
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.create_server((taken, 0), family=family) as somebody:
        port = somebody.getsockname()[1]
        with pytest.raises(
            CannotListen, match=rf"^cannot listen on localhost:{port}: address already in use$"
        ):
            await open_listener(Address(LOOPBACK, port))


async def test_a_port_that_is_bound_and_not_yet_listening_is_in_use() -> None:
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        with pytest.raises(CannotListen, match=r"already in use$"):
            await open_listener(Address("127.0.0.1", somebody.getsockname()[1]))


async def test_a_name_that_nobody_knows_is_told() -> None:
    trio.socket.set_custom_hostname_resolver(Resolver())
    for attempt in (open_listener, open_datagrams):
        with pytest.raises(CannotListen, match=r"^cannot listen on no\.example:80: no such host$"):
            await attempt(Address("no.example", 80))


async def test_what_cannot_be_a_name_is_told() -> None:
    with pytest.raises(CannotListen, match=r"^cannot listen on two\.\.dots:80: no such host$"):
        await open_listener(Address("two..dots", 80))


async def test_an_address_of_another_machine_is_told() -> None:
    for attempt in (open_listener, open_datagrams):
        with pytest.raises(
            CannotListen,
            match=r"^cannot listen on 192\.0\.2\.1:0: this machine has no such address$",
        ):
            await attempt(Address("192.0.2.1", 0))


WITHOUT_RIGHTS = """
import encodings.idna, os, sys, trio
from trioet.session.listeners import CannotListen, open_datagrams, open_listener
from trioet.wire.forward import Address, UnixPath

if os.geteuid() == 0:
    os.setuid(65534)
for attempt, where in [
    (open_listener, Address("localhost", 1)),
    (open_datagrams, Address("127.0.0.1", 1)),
    (open_listener, UnixPath(sys.argv[1])),
]:
    try:
        trio.run(attempt, where)
    except CannotListen as error:
        print(error)
"""


@pytest.mark.skipif(
    int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 1,
    reason="everybody may listen on every port here",
)
def test_a_missing_permission_is_told(runtime_dir: Path) -> None:
    runtime_dir.chmod(0o500)
    path = runtime_dir / "s"
    needed = "permission denied (ports below 1024 need a privilege)"
    assert run(WITHOUT_RIGHTS, str(path)) == [
        f"cannot listen on localhost:1: {needed}",
        f"cannot listen on 127.0.0.1:1: {needed}",
        f"cannot listen on {path}: permission denied",
    ]


# A machine without IPv6


WITHOUT_IPV6 = """
import fcntl, socket, struct, trio
from trioet.session.listeners import CannotListen, open_datagrams, open_listener
from trioet.wire.forward import ANYWHERE, LOOPBACK, Address

for which in ("all", "default", "lo"):
    with open(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6", "w") as switch:
        switch.write("1")
with socket.socket() as sock:
    up = struct.pack("16sh22x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING, netdevice(7)
    fcntl.ioctl(sock, 0x8914, up)  # SIOCSIFFLAGS

async def main():
    for attempt in (open_listener, open_datagrams):
        with await attempt(Address(LOOPBACK, 0)) as bound:
            print(*(where.host for where in bound.addresses))
        try:
            await attempt(Address("::1", 8080))
        except CannotListen as error:
            print(error)
    with await open_listener(Address(ANYWHERE, 0)) as listener:
        with socket.create_connection(("127.0.0.1", listener.port)):
            with await listener.accept() as accepted:
                print(accepted.getsockname()[0])
    with socket.create_server(("127.0.0.1", 8080)):
        try:
            await open_listener(Address(LOOPBACK, 8080))
        except CannotListen as error:
            print(error)

trio.run(main)
"""


def network_of_its_own() -> list[str]:
    """A command prefix for a network namespace, which users may have as well as root."""
    for options in (["--user", "--map-root-user", "--net"], ["--net"]):
        command = ["unshare", *options, "test", "-w", "/proc/sys/net/ipv6/conf/all/disable_ipv6"]
        if (
            shutil.which("unshare")
            and not subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode
        ):
            return ["unshare", *options]
    pytest.skip("no network namespaces here, or no IPv6 to be switched off")


def test_a_machine_without_ipv6_listens_on_what_there_is() -> None:
    no_such = "cannot listen on [::1]:8080: this machine has no such address"
    assert run(WITHOUT_IPV6, prefix=network_of_its_own()) == [
        *("127.0.0.1", no_such) * 2,
        "127.0.0.1",
        "cannot listen on localhost:8080: address already in use",
    ]


# A port that is chosen


FEW_PORTS = """
import fcntl, socket, struct, sys, trio
from trioet.session.listeners import CannotListen, open_datagrams, open_listener
from trioet.wire.forward import LOOPBACK, Address

kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
attempt = {"tcp": open_listener, "udp": open_datagrams}[sys.argv[1]]
with socket.socket() as sock:
    fcntl.ioctl(sock, 0x8914, struct.pack("16sh22x", b"lo", 0x1 | 0x40))  # lo goes up
with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as ports:
    ports.write("50000 50001")

async def main():
    for _ in range(20):  # which of two ports is tried first, is the kernel's choice
        with await attempt(Address(LOOPBACK, 0)) as bound:
            print(bound.port, len(bound.sockets))
    with await attempt(Address("127.0.0.1", 0)):
        try:
            (await attempt(Address(LOOPBACK, 0))).close()
        except CannotListen as error:
            print(error)

with socket.socket(socket.AF_INET, kind) as taken:
    taken.bind(("127.0.0.1", 50000))
    trio.run(main)
"""


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_chosen_port_is_free_in_every_family(kind: str) -> None:
    assert run(FEW_PORTS, kind, prefix=network_of_its_own()) == [
        *["50001 2"] * 20,
        "cannot listen on localhost:0: address already in use",
    ]


# Shortage


SHORTAGE = """
import resource, socket, trio
from trioet.session.listeners import open_listener
from trioet.wire.forward import LOOPBACK, Address

async def main():
    with await open_listener(Address(LOOPBACK, 0)) as listener:
        clients = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(2)]
        with open("/dev/null") as next_one:
            free = next_one.fileno()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        with trio.move_on_after(0.35) as scope:
            await listener.accept()
        print("waited", scope.cancelled_caught)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for client in clients:
            with await listener.accept() as accepted:
                print("had", accepted.getpeername() == client.getsockname())
            client.close()

import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
trio.run(main)
"""


def test_want_of_descriptors_is_told_once_and_outlasted() -> None:
    log, *rest = run(SHORTAGE)
    assert log.endswith("cannot accept: too many open files; it goes on when it can")
    assert rest == ["waited True", "had True", "had True"]


NONE_TO_OPEN = """
import os, resource, sys, trio
from trioet.session.listeners import CannotListen, open_datagrams, open_listener
from trioet.wire.forward import LOOPBACK, Address, UnixPath

async def main():
    with open("/dev/null") as next_one:
        free = next_one.fileno()
    for few in range(3):
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + few, 1000))
        for attempt, where in [
            (open_listener, Address(LOOPBACK, 0)),
            (open_listener, UnixPath(sys.argv[1])),
            (open_datagrams, Address(LOOPBACK, 0)),
        ]:
            try:
                (await attempt(where)).close()
                print(few, "can")
            except CannotListen as error:
                print(few, str(error).split(": ")[-1])
    print(os.path.exists(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
    with open("/dev/null") as next_one:
        print(next_one.fileno() == free)

trio.run(main)
"""


def test_listening_with_too_few_descriptors_leaves_nothing_behind(runtime_dir: Path) -> None:
    none = "too many open files"
    assert run(NONE_TO_OPEN, str(runtime_dir / "s")) == [
        *(f"0 {none}", f"0 {none}", f"0 {none}"),
        *(f"1 {none}", f"1 {none}", f"1 {none}"),
        *(f"2 {none}", "2 can", "2 can"),  # to accept takes a descriptor more than sockets
        *("False", "True"),
    ]


# Closing and cancelling


async def test_a_cancelled_accept_has_taken_no_connection() -> None:
    with await open_listener(Address(LOOPBACK, 0)) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.accept)
            await settle()
            client = socket.create_connection(("127.0.0.1", listener.port))
            nursery.cancel_scope.cancel()  # both at once: it is there, and nobody wants it
        with client, listener.sockets[1].accept()[0] as accepted:
            assert accepted.getpeername() == client.getsockname()


def test_cancelled_at_any_step_nothing_stays_open(runtime_dir: Path) -> None:
    sweep = Sweep(listeners)

    async def life(victim: Victim) -> None:
        clients: list[socket.socket] = []
        served: list[str] = []

        async def listen() -> None:
            trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.1"))
            with await open_listener(Address("some.example", 0)) as listener:
                address = ("127.0.0.1", listener.port)
                clients.extend(socket.create_connection(address) for _ in range(2))
                try:
                    for _ in clients:
                        with await listener.accept():
                            served.append("")
                finally:
                    # Those whom the cancelled accept would have had are still there.
                    for _ in clients[len(served) :]:
                        listener.sockets[0].accept()[0].close()
            (await open_datagrams(Address("some.example", 0))).close()
            (await open_listener(UnixPath(str(runtime_dir / "s")))).close()

        await victim.run(listen)
        for client in clients:
            client.close()
        assert os.listdir(runtime_dir) == []

    assert sweep.every_step(life) > 4
    excused = {
        "listeners.py:_get_over": "needs a shortage; the test of one cancels there",
        "listeners.py:sleep": "likewise",
    }
    assert sweep.never_cancelled(excused) == []


async def test_a_closed_listener_ends_whoever_waits_and_may_be_closed_twice() -> None:
    listener = await open_listener(Address(LOOPBACK, 0))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def accept() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await listener.accept()

            await settle()
            listener.close()
    listener.close()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_closed_datagram_sockets_end_whoever_waits() -> None:
    bound = await open_datagrams(Address("127.0.0.1", 0))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await trio.lowlevel.wait_readable(bound.sockets[0])

            await settle()
            bound.close()
    bound.close()


async def test_closed_it_is_refused() -> None:
    with await open_listener(Address("127.0.0.1", 0)) as listener:
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listener.port)).close()


async def test_it_says_where_it_listens() -> None:
    with await open_listener(Address(LOOPBACK, 0)) as listener:
        assert repr(listener) == f"<Listener [::1]:{listener.port} 127.0.0.1:{listener.port}>"


# Unix sockets


async def test_a_path_is_ours_alone_from_the_start(runtime_dir: Path) -> None:
    path = runtime_dir / "s"
    before = os.umask(0)
    try:
        listener = await open_listener(UnixPath(str(path)))
    finally:
        os.umask(before)
    with listener:
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert listener.addresses == (UnixPath(str(path)),)
        assert listener.port == 0


OTHERS_WATCH = """
import os, socket, stat, sys, trio
from trioet.session.listeners import open_listener
from trioet.wire.forward import UnixPath

# Look at the path at the moment of every call that may have made it.
modes = set()
def look(event, arguments):
    try:
        modes.add(oct(stat.S_IMODE(os.lstat(sys.argv[1]).st_mode)))
    except FileNotFoundError:
        pass
os.umask(0)
async def main():
    sys.setprofile(lambda frame, event, argument: look(event, argument))
    listener = await open_listener(UnixPath(sys.argv[1]))
    sys.setprofile(None)
    listener.close()
trio.run(main)
print(*modes)
"""


def test_there_is_no_moment_in_which_a_path_is_open_to_others(runtime_dir: Path) -> None:
    assert run(OTHERS_WATCH, str(runtime_dir / "s")) == ["0o600"]


async def test_a_path_is_listened_on_and_removed_at_the_end(runtime_dir: Path) -> None:
    path = runtime_dir / "s"
    with (
        await open_listener(UnixPath(str(path))) as listener,
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.connect(str(path))
        with await listener.accept() as accepted:
            assert not accepted.getblocking()
            accepted.send(b"x")
        assert client.recv(1) == b"x"
    assert not path.exists()


async def test_what_has_taken_the_place_of_our_socket_is_left_alone(runtime_dir: Path) -> None:
    path = runtime_dir / "s"
    with await open_listener(UnixPath(str(path))):
        path.unlink()
        with await open_listener(UnixPath(str(path))) as second:
            await trio.lowlevel.checkpoint()
            first_inode = path.stat().st_ino
            assert isinstance(second, Listener)
            path.rename(runtime_dir / "moved")
            path.write_text("mine")
    assert path.read_text() == "mine"
    assert (runtime_dir / "moved").stat().st_ino == first_inode


async def test_a_path_that_is_gone_at_the_end_is_no_matter(runtime_dir: Path) -> None:
    path = runtime_dir / "s"
    with await open_listener(UnixPath(str(path))):
        path.unlink()


@pytest.mark.parametrize(
    ("made_by", "told"),
    [
        (Path.touch, "a file is there; choose another path, or remove it"),
        (Path.mkdir, "a directory is there; choose another path"),
        (
            lambda path: path.symlink_to("/nowhere"),
            "a link is there, to /nowhere; choose another path, or remove it",
        ),
        (
            lambda path: socket.create_server(str(path), family=socket.AF_UNIX).close(),
            "a socket is there that nobody uses any more; remove it: rm '{}'",
        ),
    ],
)
async def test_what_is_there_stays_and_is_told(
    runtime_dir: Path, made_by: object, told: str
) -> None:
    path = runtime_dir / "a name"
    assert callable(made_by)
    made_by(path)
    before = path.lstat()
    with pytest.raises(CannotListen) as caught:
        await open_listener(UnixPath(str(path)))
    assert str(caught.value) == f"cannot listen on {path}: {told.format(path)}"
    assert path.lstat().st_ino == before.st_ino


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
async def test_a_socket_in_use_stays_in_use(runtime_dir: Path, kind: socket.SocketKind) -> None:
    path = str(runtime_dir / "s")
    with socket.socket(socket.AF_UNIX, kind) as somebody:
        somebody.bind(path)
        if kind != socket.SOCK_DGRAM:
            somebody.listen()
        with pytest.raises(CannotListen, match="a socket is there, and in use; choose another"):
            await open_listener(UnixPath(path))
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.connect(path)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("relative", "'relative': not an absolute path"),
        ("", "'': not an absolute path"),
        ("\0abstract", r"'\x00abstract': not an absolute path"),
        ("/n\0l", r"'/n\x00l': not an absolute path"),
        ("/nowhere/s", "/nowhere/s: no such directory: /nowhere"),
        ("/dev/null/s", "/dev/null/s: not a directory"),
        (
            f"/{'é' * 54}",
            f"/{'é' * 54}: a socket's path has 107 bytes at most; choose a shorter one",
        ),
    ],
)
async def test_a_path_that_cannot_be_is_told(path: str, told: str) -> None:
    with pytest.raises(CannotListen) as caught:
        await open_listener(UnixPath(path))
    assert str(caught.value) == f"cannot listen on {told}"


async def test_the_longest_path_is_listened_on(runtime_dir: Path) -> None:
    path = f"{runtime_dir}/".ljust(107, "x")
    with await open_listener(UnixPath(path)), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


# A place for sockets of our own


async def test_private_sockets_are_in_a_place_of_their_own(runtime_dir: Path) -> None:
    with PrivateSockets(str(runtime_dir)) as private:
        (name,) = os.listdir(runtime_dir)
        assert name.startswith("s-")
        place = runtime_dir / name
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        where = private.path("SSH_AUTH_SOCK")
        assert where == UnixPath(str(place / "SSH_AUTH_SOCK"))
        with await open_listener(where):
            assert os.listdir(place) == ["SSH_AUTH_SOCK"]
    assert os.listdir(runtime_dir) == []


def test_each_has_a_name_of_its_own(runtime_dir: Path) -> None:
    with PrivateSockets(str(runtime_dir)) as one, PrivateSockets(str(runtime_dir)) as other:
        assert one.directory != other.directory


def test_what_others_put_there_stays(runtime_dir: Path) -> None:
    with PrivateSockets(str(runtime_dir)) as private:
        (Path(private.directory) / "notes").write_text("mine")
    assert (Path(private.directory) / "notes").read_text() == "mine"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "n\0l", "-rf", "new\nline", "x\n"])
def test_a_name_leads_nowhere_else(runtime_dir: Path, name: str) -> None:
    with (
        PrivateSockets(str(runtime_dir)) as private,
        pytest.raises(CannotListen, match="is no name for a socket"),
    ):
        private.path(name)


def test_no_place_for_sockets_is_told() -> None:
    with pytest.raises(
        CannotListen,
        match=r"^cannot make a place for sockets in /nowhere: no such file or directory$",
    ):
        PrivateSockets("/nowhere")


# UDP


async def test_datagrams_arrive_on_every_family() -> None:
    with await open_datagrams(Address(LOOPBACK, 0)) as bound:
        assert hosts(bound) == ["::1", "127.0.0.1"]
        for sock, host in zip(bound.sockets, hosts(bound), strict=True):
            assert not sock.getblocking()
            with socket.socket(sock.family, socket.SOCK_DGRAM) as client:
                client.sendto(b"question", (host, bound.port))
                await trio.lowlevel.wait_readable(sock)
                assert sock.recv(100) == b"question"


async def test_a_udp_port_is_shared_with_nobody() -> None:
    with await open_datagrams(Address(LOOPBACK, 0)) as bound:
        for _ in range(2):
            with pytest.raises(CannotListen, match=r"address already in use$"):
                await open_datagrams(Address("127.0.0.1", bound.port))


async def test_udp_has_no_paths(runtime_dir: Path) -> None:
    with pytest.raises(CannotListen, match=r"UDP needs a port$"):
        await open_datagrams(UnixPath(str(runtime_dir / "s")))
