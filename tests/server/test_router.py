"""Router and registrations, over real sockets; connections are handed over for real."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trioet.errors import LocalError
from trioet.link.door import Verdict
from trioet.server.local import MAX_MESSAGE, LocalChannel, bind_local, connect_local
from trioet.server.registration import MAX_PAUSE_S, RouterRegistration
from trioet.server.relay_policy import ANYWHERE, NOWHERE, RelayPattern, RelayPolicy
from trioet.server.router import GRACE_S, MAX_KEEPERS_PER_USER, Router
from trioet.wire.forward import Address
from waiting import until

ID = b"1234567890123456"


class Site:
    """A router at a path, which can be taken away and brought back."""

    def __init__(self, path: Path, nursery: trio.Nursery) -> None:
        self.path = str(path / "router.sock")
        self.nursery = nursery
        self.arrivals: list[tuple[bytes, socket.socket, bytes]] = []
        self.shares: list[int] = []
        self.open()

    def open(self) -> None:
        self.router = Router(port=2022, replay_memory=1000)
        self.scope = trio.CancelScope()
        self.nursery.start_soon(self._serve, bind_local(self.path, 0o600), self.scope)

    async def _serve(self, listener: socket.socket, scope: trio.CancelScope) -> None:
        with scope:
            await self.router.serve_keepers(listener)

    def registration(self) -> RouterRegistration:
        def deliver(client_id: bytes, sock: socket.socket, preface: bytes) -> None:
            self.arrivals.append((client_id, sock, preface))

        return RouterRegistration(self.path, deliver, self.shares.append)

    async def register(self) -> RouterRegistration:
        made = self.registration()
        assert await made.connect()
        self.nursery.start_soon(made.run)
        assert await made.register(ID)
        return made


@pytest.fixture
async def site(runtime_dir: Path) -> AsyncIterator[Site]:
    async with trio.open_nursery() as nursery:
        made = Site(runtime_dir, nursery)
        yield made
        nursery.cancel_scope.cancel()
    for _, sock, _ in made.arrivals:
        sock.close()


async def test_a_connection_is_handed_to_who_registered_its_id(site: Site) -> None:
    registration = await site.register()
    assert registration.port == 2022
    ours, theirs = socket.socketpair()
    with ours:
        assert site.router.deliver(ID, (theirs, b"preface\n\0")) is Verdict.DELIVERED
        assert theirs.fileno() == -1
        await until(lambda: site.arrivals)
        client_id, sock, preface = site.arrivals[0]
        assert (client_id, preface) == (ID, b"preface\n\0")
        ours.send(b"through")
        assert sock.recv(10) == b"through"


async def test_a_removed_id_leads_nowhere(site: Site) -> None:
    """Even soon after the start of the router: this one will not come back."""
    registration = await site.register()
    registration.remove(ID)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        await until(lambda: site.router.deliver(ID, (theirs, b"")) is not Verdict.DELIVERED)
        assert site.router.deliver(ID, (theirs, b"")) is Verdict.UNKNOWN


async def test_soon_after_its_start_a_router_calls_nobody_unknown(
    site: Site, autojump_clock: MockClock
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert site.router.deliver(ID, (theirs, b"")) is Verdict.LATER
        await trio.sleep(GRACE_S)
        assert site.router.deliver(ID, (theirs, b"")) is Verdict.UNKNOWN
    assert MAX_PAUSE_S < GRACE_S / 2


async def test_the_ids_of_a_keeper_that_vanished_are_remembered_for_a_while(
    site: Site, autojump_clock: MockClock
) -> None:
    await trio.sleep(2 * GRACE_S)
    channel = await connect_local(site.path)
    channel.send_nowait({"v": 1, "add": [ID.decode()]})
    assert await channel.receive()
    channel.close()
    await trio.sleep(1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert site.router.deliver(ID, (theirs, b"")) is Verdict.LATER
        await trio.sleep(GRACE_S)
        assert site.router.deliver(ID, (theirs, b"")) is Verdict.UNKNOWN


async def answer(channel: LocalChannel) -> dict[str, Any]:
    """What the router says, its shares of memory apart."""
    with trio.fail_after(5):
        while message := await channel.receive():
            if "replay_memory" not in message.fields:
                return message.fields
    raise AssertionError("the router hung up")


@pytest.mark.parametrize("how", ["gone", "removed"])
async def test_an_id_that_is_let_go_is_told_to_who_wanted_it(site: Site, how: str) -> None:
    """And until he has it, its client is made to wait, whatever the other did."""
    squatter, owner = await connect_local(site.path), await connect_local(site.path)
    for channel, refused in ((squatter, []), (owner, [ID.decode()])):
        channel.send_nowait({"v": 1, "add": [ID.decode()]})
        assert (await answer(channel))["refused"] == refused
    if how == "gone":
        squatter.close()
    else:
        squatter.send_nowait({"v": 1, "remove": [ID.decode()]})
    assert await answer(owner) == {"v": 1, "free": 1}
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert site.router.deliver(ID, (theirs, b"")) is Verdict.LATER
        owner.send_nowait({"v": 1, "add": [ID.decode()]})
        assert (await answer(owner))["refused"] == []
        assert site.router.deliver(ID, (theirs, b"")) is Verdict.DELIVERED
    squatter.close()
    owner.close()


async def test_who_wants_an_id_no_more_is_told_nothing(site: Site) -> None:
    squatter, other = await connect_local(site.path), await connect_local(site.path)
    squatter.send_nowait({"v": 1, "add": [ID.decode()]})
    await answer(squatter)
    for what in ("add", "remove"):
        other.send_nowait({"v": 1, what: [ID.decode()]})
        await answer(other)
    squatter.close()
    await until(lambda: "keepers=1" in repr(site.router))
    other.send_nowait({"v": 1})
    assert "port" in await answer(other)
    other.close()


async def test_whoever_took_an_id_first_has_it_while_he_stays_and_no_longer(site: Site) -> None:
    """As after a restart of the router, with an id that was seen on the network."""
    squatter = await connect_local(site.path)
    squatter.send_nowait({"v": 1, "add": [ID.decode()]})
    await answer(squatter)
    late = site.registration()
    assert await late.register(ID)  # nobody is asked yet
    async with trio.open_nursery() as nursery:
        nursery.start_soon(late.run)
        await until(lambda: "keepers=2" in repr(site.router))
        await wait_all_tasks_blocked()
        squatter.close()
        await until(lambda: "keepers=1 ids=1" in repr(site.router))
        nursery.cancel_scope.cancel()


async def test_a_keeper_comes_back_to_a_router_that_was_restarted(site: Site) -> None:
    await site.register()
    site.scope.cancel()
    await trio.testing.wait_all_tasks_blocked(0.01)
    site.open()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        await until(lambda: site.router.deliver(ID, (theirs, b"")) is Verdict.DELIVERED)


async def test_the_first_to_register_an_id_has_it(site: Site) -> None:
    await site.register()
    other = site.registration()
    assert await other.connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.run)
        assert not await other.register(ID)
        nursery.cancel_scope.cancel()


async def test_memory_is_shared_among_keepers(site: Site) -> None:
    await site.register()
    other = site.registration()
    assert await other.connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.run)
        assert await other.register(b"other")
        await until(lambda: 500 in site.shares)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        b"[]",
        b'{"add": "x"}',
        b'{"add": ["not an id!"]}',
        b'{"add": [7]}',
        b'{"add": ["' + b"a" * 65 + b'"]}',
        b"{" * 5000,
        b" " * (MAX_MESSAGE + 10),
    ],
)
async def test_a_hostile_keeper_loses_its_connection_and_no_more(site: Site, data: bytes) -> None:
    await site.register()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.connect(site.path)
        stranger.send(data)
        channel = LocalChannel(stranger)
        with trio.fail_after(5):
            while (message := await channel.receive()) is not None:
                assert "replay_memory" in message.fields
    assert "ids=1" in repr(site.router)


async def test_one_user_cannot_take_all_registrations(site: Site) -> None:
    channels = []
    for _ in range(MAX_KEEPERS_PER_USER + 1):
        channel = await connect_local(site.path)
        channel.send_nowait({"v": 1})
        channels.append(channel)
    message = await channels[-1].receive()
    assert message is not None
    assert message.fields["error"] == "too many keepers"
    for channel in channels:
        channel.close()


def test_what_is_not_our_socket_is_not_removed(runtime_dir: Path) -> None:
    path = runtime_dir / "router.sock"
    path.write_text("precious")
    with pytest.raises(LocalError, match="exists and is not a socket"):
        bind_local(str(path), 0o600)
    assert path.read_text() == "precious"


def test_a_socket_that_somebody_serves_is_left_alone(runtime_dir: Path) -> None:
    path = str(runtime_dir / "router.sock")
    with bind_local(path, 0o600), pytest.raises(LocalError, match="another trioet server"):
        bind_local(path, 0o600)


def test_a_stale_socket_is_replaced(runtime_dir: Path) -> None:
    path = str(runtime_dir / "router.sock")
    bind_local(path, 0o600).close()
    bind_local(path, 0o600).close()


RELAY_ID = b"relayrelayrelay1"


async def relay_registered(site: Site, policy: RelayPolicy, where: Address) -> bool:
    site.router.relay_policy = policy
    registration = site.registration()
    assert await registration.connect()
    site.nursery.start_soon(registration.run)
    taken = await registration.register(RELAY_ID, where)
    assert registration.relaying == policy.word
    return taken


@pytest.mark.parametrize(
    ("policy", "taken"),
    [
        (ANYWHERE, True),
        (NOWHERE, False),
        (RelayPolicy((RelayPattern("db1", 2022),)), True),
        (RelayPolicy((RelayPattern("db1", 22),)), False),
    ],
)
async def test_a_relay_leads_where_the_administrator_lets_it(
    site: Site, policy: RelayPolicy, taken: bool
) -> None:
    assert await relay_registered(site, policy, Address("db1", 2022)) is taken
    await site.register()  # sessions are not asked where they lead
    assert f"ids={1 + taken}" in repr(site.router)


async def test_what_is_forbidden_meanwhile_leads_nowhere_at_once(site: Site) -> None:
    await relay_registered(site, ANYWHERE, Address("db1", 2022))
    site.router.set_relay_policy(RelayPolicy((RelayPattern("db1"),)))
    assert "ids=1" in repr(site.router)
    site.router.set_relay_policy(NOWHERE)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert site.router.deliver(RELAY_ID, (theirs, b"")) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "relays",
    [
        [],
        "x",
        7,
        {"a": "db1"},
        {"a": ["db1"]},
        {"a": ["db1", "22"]},
        {"a": [1, 2]},
        {"é": ["a", 1]},
    ],
)
async def test_relays_that_lead_nowhere_end_the_registration(site: Site, relays: object) -> None:
    channel = await connect_local(site.path)
    channel.send_nowait({"v": 1, "add": [RELAY_ID.decode()], "relays": relays})
    with trio.fail_after(5):
        while await channel.receive() is not None:
            pass
    channel.close()
    assert "ids=0" in repr(site.router)
