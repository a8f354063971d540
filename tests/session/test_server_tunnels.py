"""What listens at the server: what its client asks for, and what it is told of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from descriptors import descriptors
from ends import Foreigner, foreigner, place, receive_exactly
from trioet.link.resumable import Role
from trioet.session import server_tunnels as server_tunnels_module
from trioet.session.listeners import CannotListen
from trioet.session.server_tunnels import PATIENCE_S, ServerTunnels
from trioet.wire.channels import ChannelData, ChannelOpen, ChannelOpened, ChannelRefused, Unlisten
from trioet.wire.forward import Address, Forward, Side, UnixPath, Variable
from trioet.wire.forward_messages import Listen, Listening
from trioet.wire.messages import InitialPayload
from trioet.wire.reach import Failure
from waiting import until

HERE = Address("127.0.0.1", 0)
WHERE = Address("intranet", 80)


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() <= before


@asynccontextmanager
async def tunnels(
    directory: Path,
    *listens: Listen,
    reverse: tuple[Forward, ...] = (),
    et: bool = False,
    required: bool = False,
) -> AsyncIterator[tuple[Foreigner, ServerTunnels]]:
    """A server's tunnels, and the client that the test plays."""
    features = () if et else ("channels",)
    payload = InitialPayload(
        listens=listens, listens_required=required, reverse_tunnels=reverse, features=features
    )
    with ExitStack() as in_the_end:
        async with foreigner(Role.SERVER, et=et) as peer:
            made = ServerTunnels(
                peer.end.link, payload, peer.end.nursery, str(directory), lambda amount: None
            )
            in_the_end.callback(made.close)
            peer.end.forwards = made.forwards
            yield peer, made


def port_of(peer: Foreigner, number: int) -> int:
    (answer,) = [each for each in peer.heard if isinstance(each, Listening)][-1:]
    assert (answer.number, answer.error) == (number, "")
    return answer.port


async def test_it_listens_before_the_program_starts_and_tells_the_port(runtime_dir: Path) -> None:
    async with tunnels(runtime_dir, Listen(3, HERE)) as (peer, made):
        assert await made.begin() == ({}, [])
        await until(lambda: peer.heard)
        async with await trio.open_tcp_stream("127.0.0.1", port_of(peer, 3)) as near:
            await until(lambda: len(peer.heard) == 2)
            opened = peer.heard[1]
            assert isinstance(opened, ChannelOpen)
            assert (opened.channel, opened.listen, opened.destination) == (2, 3, None)
            peer.say(ChannelOpened(2, 100))
            peer.say(ChannelData(2, b"hello"))
            assert await receive_exactly(near, 5) == b"hello"


async def test_a_variable_is_a_private_socket_that_goes_with_the_session(runtime_dir: Path) -> None:
    async with tunnels(runtime_dir, Listen(1, Variable("SSH_AUTH_SOCK"))) as (peer, made):
        environment, _ = await made.begin()
        path = os.fsdecode(environment[b"SSH_AUTH_SOCK"])
        assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
        async with await trio.open_unix_socket(path):
            await until(lambda: len(peer.heard) == 2)
    assert os.listdir(runtime_dir) == []


async def test_without_what_is_required_there_is_no_program(runtime_dir: Path) -> None:
    one, nobodys = Listen(1, HERE), Listen(2, UnixPath("/nowhere/socket"))
    async with tunnels(runtime_dir, one, required=True) as (_, made):
        assert await made.begin() == ({}, [])
    async with tunnels(runtime_dir, one, nobodys, required=True) as (peer, made):
        with pytest.raises(CannotListen):
            await made.begin()
        await until(lambda: len(peer.heard) == 2)
        assert {bool(each.error) for each in peer.heard if isinstance(each, Listening)} == {
            False,
            True,
        }


async def test_socks_at_the_server_s_side_asks_the_client(runtime_dir: Path) -> None:
    async with tunnels(runtime_dir, Listen(1, HERE, dynamic=True)) as (peer, made):
        await made.begin()
        await until(lambda: peer.heard)
        async with await trio.open_tcp_stream("127.0.0.1", port_of(peer, 1)) as near:
            await near.send_all(b"\x05\x01\x00\x05\x01\x00\x03\x08intranet\x00\x50")
            await until(lambda: len(peer.heard) == 2)
            opened = peer.heard[1]
            assert isinstance(opened, ChannelOpen)
            assert (opened.listen, opened.destination) == (1, WHERE)
            peer.say(ChannelRefused(2, Failure.NO_SUCH_HOST, "no such host"))
            assert (await receive_exactly(near, 4))[:2] == b"\x05\x00"


async def test_more_is_listened_on_in_a_session_and_ends_in_it(runtime_dir: Path) -> None:
    async with tunnels(runtime_dir) as (peer, made):
        await made.begin()
        before = descriptors()
        peer.say(Listen(1, HERE))
        await until(lambda: peer.heard)
        port = port_of(peer, 1)
        peer.say(Unlisten(1))
        await until(lambda: descriptors() == before)
        with pytest.raises(OSError, match="attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", port)
        peer.say(Listen(1, HERE))
        await until(lambda: len(peer.heard) == 2)
        assert port_of(peer, 1)


@pytest.mark.parametrize("pause", [False, True])
async def test_a_listen_and_its_end_in_one_breath_listen_nowhere(
    runtime_dir: Path, pause: bool
) -> None:
    async with tunnels(runtime_dir) as (peer, made):
        await made.begin()
        before = descriptors()
        for _ in range(10):
            peer.say(Listen(1, HERE))
            if pause:
                await trio.lowlevel.checkpoint()
            peer.say(Unlisten(1))
        await wait_all_tasks_blocked(0.01)
        assert descriptors() == before
        assert peer.complaints == []


async def test_a_number_that_is_there_is_refused(runtime_dir: Path) -> None:
    async with tunnels(runtime_dir, Listen(1, HERE)) as (peer, made):
        await made.begin()
        peer.say(Listen(1, HERE))
        await until(lambda: len(peer.heard) == 2)
        assert Listening(1, error="listen 1 is there already") in peer.heard


async def test_no_more_than_allowed(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_tunnels_module, "MAX_LISTENERS", 2)
    async with tunnels(runtime_dir) as (peer, made):
        await made.begin()
        for number in (1, 2, 3):
            peer.say(Listen(number, HERE))
            await wait_all_tasks_blocked()
        refused = Listening(3, error="a session may listen on 2 places at most")
        await until(lambda: refused in peer.heard)
        peer.say(Unlisten(1))
        peer.say(Listen(3, HERE))
        await until(lambda: len(peer.heard) == 4)
        assert port_of(peer, 3)


async def test_what_cannot_be_had_is_told(runtime_dir: Path) -> None:
    async with place() as taken, tunnels(runtime_dir, Listen(1, taken.where)) as (peer, made):
        await made.begin()
        await until(lambda: peer.heard)
        (answer,) = peer.heard
        assert isinstance(answer, Listening)
        assert "in use" in answer.error


class Silent(trio.abc.HostnameResolver):
    """Answer never."""

    async def getaddrinfo(self, *_: object, **__: object) -> list[tuple[object, ...]]:  # type: ignore[override]
        await trio.sleep_forever()
        raise AssertionError

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_no_program_waits_long_for_a_name(
    runtime_dir: Path, autojump_clock: MockClock
) -> None:
    trio.socket.set_custom_hostname_resolver(Silent())
    listens = Listen(1, Address("intranet", 0)), Listen(2, Variable("SSH_AUTH_SOCK"))
    async with tunnels(runtime_dir, *listens) as (_, made):
        environment, _ = await made.begin()
        assert trio.current_time() == pytest.approx(PATIENCE_S)
        assert b"SSH_AUTH_SOCK" in environment


async def test_a_client_connects_to_what_it_names_and_not_by_a_listen(runtime_dir: Path) -> None:
    async with place() as there, tunnels(runtime_dir) as (peer, made):
        await made.begin()
        peer.say(ChannelOpen(1, 7, there.where, 100))
        peer.say(ChannelOpen(3, 0, None, 100))
        peer.say(ChannelOpen(5, 0, there.where, 100))
        await until(lambda: len(peer.heard) == 3)
        assert [type(peer.of(number)[0]) for number in (1, 3, 5)] == [
            ChannelRefused,
            ChannelRefused,
            ChannelOpened,
        ]


# A real et


async def test_a_real_et_gets_its_tunnels_and_words_of_what_failed(runtime_dir: Path) -> None:
    path = UnixPath(str(runtime_dir / "s"))
    async with place() as taken:
        wishes = (
            Forward(Side.REMOTE, path, WHERE),
            Forward(Side.REMOTE, taken.where, WHERE),
            Forward(Side.REMOTE, Variable("A"), UnixPath("/run/a")),
        )
        async with tunnels(runtime_dir, reverse=wishes, et=True) as (peer, made):
            environment, failures = await made.begin()
            assert list(environment) == [b"A"]
            (failure,) = failures
            assert failure.startswith(f"tunnel -R {taken.where}:intranet:80: ")
            async with await trio.open_unix_socket(path.path):
                await until(lambda: peer.heard)
                opened = peer.heard[0]
                assert isinstance(opened, ChannelOpen)
                assert opened.destination == WHERE
