"""Sessions through relays: real keepers and routers, each a machine of its own."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from callers import refusal
from chains import Machine, Traveller, offer
from descriptors import descriptors
from ends import Place, place, receive_all, receive_exactly, reset
from pairs import ID
from ports import free_ports
from trioet.link.chain import Hop
from trioet.link.resumable import HANDSHAKE_DEADLINE_S
from trioet.server import relays
from trioet.server.keeper import LINGER_S
from trioet.server.relay_policy import ANYWHERE, NOWHERE, RelayPolicy, parse_pattern
from trioet.server.router import GRACE_S
from trioet.wire.forward import Address
from trioet.wire.framing import HANDSHAKE_LENGTH
from trioet.wire.handshake import connect_request_frame
from trioet.wire.messages import ConnectRequest, RelayFailure, decode_relay_failure
from waiting import until


@pytest.fixture
def clock() -> MockClock:
    """Real time, and whatever a test lets pass."""
    return MockClock(rate=1)


class World:
    """Machines, made as they are needed."""

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        self.directory = directory
        self.nursery = nursery

    async def machines(self, count: int) -> list[Machine]:
        return [
            await Machine(self.directory / f"m{number}", self.nursery).begin()
            for number in range(count)
        ]


@pytest.fixture
async def world(runtime_dir: Path) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        yield World(runtime_dir, nursery)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("hops", [1, 2, 3])
async def test_a_session_through_relays(world: World, hops: int) -> None:
    machines = await world.machines(hops + 1)
    traveller = await Traveller(world.nursery, machines).travel()
    await traveller.echoes(b"hello")
    assert [machine.router.door.accepted for machine in machines] == [1] * (hops + 1)


@pytest.mark.parametrize("leg", [0, 1, 2])
async def test_a_cut_on_any_leg_loses_nothing(world: World, leg: int) -> None:
    """And a resume is end to end: the session's own keeper sends what is missing."""
    machines = await world.machines(3)
    traveller = await Traveller(world.nursery, machines).travel(b"read go; exec seq 300000")
    traveller.type(b"go\n")
    for _ in range(3):
        await until(partial(traveller.shows_more_than, len(traveller.shown)))
        machines[leg].leg.cut()
    numbers = b"".join(b"%d\n" % number for number in range(1, 300001))
    await until(lambda: traveller.over, 30)
    assert traveller.shown == numbers


async def test_what_a_dead_leg_carried_is_closed_everywhere(world: World) -> None:
    machines = await world.machines(3)
    traveller = await Traveller(world.nursery, machines).travel()
    await traveller.echoes(b"hello")
    before = descriptors()
    for machine in machines:
        machine.leg.cut()
        await traveller.echoes(b"and on")
    await until(lambda: descriptors() == before)


async def test_the_relay_has_no_session_no_key_and_no_more_than_sealed_bytes(
    world: World,
) -> None:
    hop, destination = await world.machines(2)
    traveller = await Traveller(world.nursery, [hop, destination]).travel()
    await traveller.echoes(b"a secret that nobody on the way may read")
    assert "sessions=0" in repr(hop.keeper)
    assert "sessions=1" in repr(destination.keeper)
    assert traveller.credentials.client_id.encode() in hop.leg.heard, "it is all there"
    assert traveller.credentials.passkey.encode() not in hop.leg.heard
    assert b"secret" not in hop.leg.heard


async def test_who_asks_for_the_same_place_again_gets_the_same_relay(world: World) -> None:
    (machine,) = await world.machines(1)
    first = await machine.relay(2022, "db1")
    assert await machine.relay(2022, "db1") == first
    assert await machine.relay(2022, "db2") != first
    assert await machine.relay(2023, "db1") != first


async def test_without_a_router_a_keeper_relays_at_its_own_door(
    world: World,
) -> None:
    machine, destination = await world.machines(2)
    port = free_ports(1)[0]
    machine.stop_router()
    fields = offer(await machine.ask_relay_at_own_door(destination.port, port))
    assert (fields["port"], fields["router"]) == (port, False)
    traveller = Traveller(world.nursery, [machine, destination])
    machine.port = fields["port"]
    await traveller.travel(way=[Hop("hop", fields["id"].encode())])
    await traveller.echoes(b"hello")


# What does not work, and what is said


def port_of(somewhere: Place) -> int:
    assert isinstance(somewhere.where, Address)
    return somewhere.where.port


async def answer_to(machine: Machine, *frames: bytes, source: str = "127.0.0.1") -> bytes:
    """Connect, send all at once, and return what comes until the end."""
    stream = await trio.open_tcp_stream("127.0.0.1", machine.port, local_address=source)
    async with stream:
        await stream.send_all(b"".join(frames))
        return await receive_all(stream)


def wants_relay(relay_id: bytes) -> bytes:
    return connect_request_frame(ConnectRequest(relay_id, relay=True))


def wants_session(client_id: bytes) -> bytes:
    return connect_request_frame(ConnectRequest(client_id))


def failure_in(answer: bytes) -> RelayFailure:
    found = decode_relay_failure(answer[HANDSHAKE_LENGTH.size :])
    assert found is not None
    return found


async def test_a_destination_that_refuses_is_told_by_name(world: World) -> None:
    (machine,) = await world.machines(1)
    port = free_ports(1)[0]
    relay_id = await machine.relay(port, "127.0.0.1")
    failure = failure_in(await answer_to(machine, wants_relay(relay_id), wants_session(relay_id)))
    text = f"cannot reach 127.0.0.1 port {port}: connection refused"
    assert failure == RelayFailure(relay_id, text.encode(), refused=True)


async def test_a_name_that_does_not_exist_is_told(world: World) -> None:
    (machine,) = await world.machines(1)
    relay_id = await machine.relay(2022, "nowhere.invalid")
    failure = failure_in(await answer_to(machine, wants_relay(relay_id)))
    assert failure.reason.startswith(b"cannot reach nowhere.invalid port 2022: ")
    assert not failure.unknown


async def test_a_destination_that_does_not_answer_is_told_before_the_client_gives_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert relays.CONNECT_DEADLINE_S < HANDSHAKE_DEADLINE_S
    monkeypatch.setattr(relays, "CONNECT_DEADLINE_S", 0.3)
    (machine,) = await world.machines(1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        held = []
        for _ in range(4):  # its queue is full: who connects now hears nothing
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
            held.append(sock)
        relay_id = await machine.relay(full.getsockname()[1])
        failure = failure_in(await answer_to(machine, wants_relay(relay_id)))
        for sock in held:
            sock.close()
    assert failure.reason.endswith(b"connection timed out")


async def test_a_destination_that_hangs_up_is_a_lost_connection(world: World) -> None:
    """Whether in order or by a reset."""
    (machine,) = await world.machines(1)
    async with place() as somewhere:
        relay_id = await machine.relay(port_of(somewhere))
        for hang_up in (trio.SocketStream.aclose, reset):
            stream = await trio.open_tcp_stream("127.0.0.1", machine.port)
            await stream.send_all(wants_relay(relay_id))
            far = await somewhere.accept()
            await stream.send_all(b"hello")
            assert await receive_exactly(far, 5) == b"hello"
            gone = hang_up(far)
            if gone is not None:
                await gone
            with trio.fail_after(10), suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""
            await stream.aclose()


async def test_a_relay_that_nobody_has_is_no_word_about_the_session(
    world: World, clock: MockClock
) -> None:
    (machine,) = await world.machines(1)
    clock.jump(GRACE_S)
    failure = failure_in(await answer_to(machine, wants_relay(ID)))
    assert failure.relay == ID
    assert failure.unknown


async def test_a_session_is_no_relay(world: World) -> None:
    (machine,) = await world.machines(1)
    traveller = await Traveller(world.nursery, [machine]).travel()
    await traveller.echoes(b"before")
    client_id = traveller.credentials.client_id.encode()
    failure = failure_in(await answer_to(machine, wants_relay(client_id), wants_session(ID)))
    assert failure == RelayFailure(client_id, unknown=True)
    await traveller.echoes(b"after")


async def test_a_relay_is_no_session(world: World) -> None:
    machine, destination = await world.machines(2)
    relay_id = await machine.relay(destination.port)
    accepted = destination.router.door.accepted
    assert await answer_to(machine, wants_session(relay_id), bytes(1000)) == b""
    assert destination.router.door.accepted == accepted, "nothing was passed on"


@pytest.mark.parametrize("junk", [b"\xff" * 100, b"GET / HTTP/1.0\r\n\r\n", os.urandom(5000)])
async def test_junk_behind_a_relays_request_goes_to_the_next_door_and_no_further(
    world: World, junk: bytes
) -> None:
    hop, destination = await world.machines(2)
    traveller = await Traveller(world.nursery, [hop, destination]).travel()
    await traveller.echoes(b"before")
    relay_id = await hop.relay(destination.port)
    before = descriptors()
    with suppress(trio.BrokenResourceError):
        assert await answer_to(hop, wants_relay(relay_id), junk) == b""
    await until(lambda: descriptors() == before)
    await traveller.echoes(b"after")


async def test_a_client_is_told_who_could_not_reach_whom(world: World) -> None:
    """As an ordinary failed attempt: when the way is there again, so is the session."""
    first, second, destination = await world.machines(3)
    traveller = await Traveller(world.nursery, [first, second, destination]).travel()
    await traveller.echoes(b"before")
    second.leg.close()
    said = f"hop1 cannot reach 127.0.0.1 port {second.port}: connection refused"
    await until(lambda: traveller.reason == said)
    await world.nursery.start(second.leg.serve)
    await traveller.echoes(b"after")
    assert traveller.lost is None


async def test_a_keeper_that_is_gone_takes_its_relays_and_no_session(
    world: World, clock: MockClock
) -> None:
    hop, destination = await world.machines(2)
    traveller = await Traveller(world.nursery, [hop, destination]).travel()
    await traveller.echoes(b"before")
    gone: list[bool] = []
    traveller.chain.on_gone = lambda: gone.append(True)
    hop.kill_keeper()
    await until(lambda: hop.ended and "keepers=0" in repr(hop.router))
    clock.jump(GRACE_S)
    await until(lambda: "hop1 no longer knows" in traveller.reason, 20)
    assert gone
    hop.start_keeper()
    await traveller.find_way()
    await traveller.echoes(b"after")
    assert traveller.lost is None


async def test_a_router_that_is_restarted_is_found_again_by_relays(world: World) -> None:
    hop, destination = await world.machines(2)
    traveller = await Traveller(world.nursery, [hop, destination]).travel()
    await traveller.echoes(b"before")
    await hop.restart_router()
    hop.leg.cut()
    await traveller.echoes(b"after")


# Limits


async def test_a_keeper_has_so_many_relays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioet.server.keeper.MAX_RELAYS", 3)
    (machine,) = await world.machines(1)
    for port in (1, 2, 3):
        await machine.relay(port)
    assert "which is the limit" in refusal(await machine.ask_relay(4))["what"]
    await machine.relay(3)


@pytest.mark.parametrize("honest_is_answered", [True, False])
@pytest.mark.parametrize("limit", ["MAX_RELAYED", "MAX_RELAYED_EACH", "for_tunnels"])
async def test_who_merely_knows_a_relays_id_keeps_nobody_out(
    world: World, monkeypatch: pytest.MonkeyPatch, limit: str, honest_is_answered: bool
) -> None:
    """Of too many connections the oldest of whoever has most gives way; first of those that
    were never answered, from wherever they come."""
    monkeypatch.setattr(relays, limit, (lambda: 17) if limit == "for_tunnels" else 8)
    (machine,) = await world.machines(1)
    async with place() as somewhere, AsyncExitStack() as stack:
        relay_id = await machine.relay(port_of(somewhere))

        async def come(source: str) -> tuple[trio.SocketStream, trio.SocketStream]:
            stream = await machine.come_directly(source)
            stack.push_async_callback(stream.aclose)
            await stream.send_all(wants_relay(relay_id) + b"hello")
            far = await somewhere.accept()
            stack.push_async_callback(far.aclose)
            assert await receive_exactly(far, 5) == b"hello"
            return stream, far

        honest, its_far = await come("127.0.0.2")
        if honest_is_answered:
            await its_far.send_all(b"welcome")
            assert await receive_exactly(honest, 7) == b"welcome"
        strangers = [
            await come(f"127.0.1.{number}" if honest_is_answered else "127.0.0.3")
            for number in range(1, 21)
        ]
        for stream, _ in strangers[:13]:
            with trio.fail_after(10), suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""
        assert "relayed=8" in repr(machine.keeper)
        await its_far.send_all(b"still here")
        assert await receive_exactly(honest, 10) == b"still here"


async def test_want_of_descriptors_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine,) = await world.machines(1)
    machine.stop_router()
    port = free_ports(1)[0]
    fields = offer(await machine.ask_relay_at_own_door(2022, port))
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        # Whose answer tells that it is in the door.
        await answer_to_own_door(port)
        with no_more_descriptors():
            await stream.send_all(wants_relay(fields["id"].encode()))
            failure = failure_in(await receive_all(stream))
    assert failure.reason.endswith(b"too many open files")
    assert not failure.refused


async def answer_to_own_door(port: int) -> None:
    """Come after another, and be answered: so that has come in."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(wants_session(ID))
        assert await receive_all(stream)


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Nothing more can be opened by this process."""
    held = []
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, usual[1]))
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        for descriptor in held:
            os.close(descriptor)


async def test_a_relay_lives_while_it_is_used_and_for_so_long_after(
    runtime_dir: Path, clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        machine = await Machine(runtime_dir / "m", nursery).begin()
        async with place() as somewhere:
            relay_id = await machine.relay(port_of(somewhere))
            stream = await machine.come_directly("127.0.0.1")
            await stream.send_all(wants_relay(relay_id))
            far = await somewhere.accept()
            await stream.send_all(b"hello")
            assert await receive_exactly(far, 5) == b"hello"
            for _ in range(3):
                clock.jump(relays.RELAY_LIFE_S)
                await wait_all_tasks_blocked()
            await stream.send_all(b"still here")
            assert await receive_exactly(far, 10) == b"still here"
            await stream.aclose()
            await far.aclose()
            await until(lambda: "relayed=0" in repr(machine.keeper))
            clock.jump(relays.RELAY_LIFE_S - 60)
            await wait_all_tasks_blocked()
            assert await machine.relay(port_of(somewhere)) == relay_id
            clock.jump(relays.RELAY_LIFE_S - 60)
            await wait_all_tasks_blocked()
            assert not machine.ended
            clock.jump(61)
            await until(lambda: "relays=0" in repr(machine.keeper))
            clock.jump(LINGER_S + 1)
            await until(lambda: machine.ended)
        nursery.cancel_scope.cancel()


# What administrators say


async def test_no_relay_at_all(runtime_dir: Path, world: World) -> None:
    machine = await Machine(runtime_dir / "m", world.nursery).begin(NOWHERE)
    refused = refusal(await machine.ask_relay(2022))
    assert "switched off on this machine" in refused["what"]
    assert "relays=0" in repr(machine.keeper)


async def test_relays_to_some_places_only(runtime_dir: Path, world: World) -> None:
    policy = RelayPolicy((parse_pattern("*.internal:2022"),))
    machine = await Machine(runtime_dir / "m", world.nursery).begin(policy)
    assert await machine.relay(2022, "db1.internal")
    refused = refusal(await machine.ask_relay(22, "db1.internal"))
    assert "no relay may lead to db1.internal port 22" in refused["what"]


@pytest.mark.parametrize("restarted", [True, False])
async def test_what_is_forbidden_later_ends(
    world: World, clock: MockClock, restarted: bool
) -> None:
    hop, destination = await world.machines(2)
    traveller = await Traveller(world.nursery, [hop, destination]).travel()
    await traveller.echoes(b"before")
    if restarted:
        await hop.restart_router(NOWHERE)
        await until(lambda: "relays=0" in repr(hop.keeper))
        clock.jump(GRACE_S)
    else:
        hop.router.set_relay_policy(NOWHERE)
    await until(lambda: "hop1 no longer knows" in traveller.reason, 30)
    assert "relays=0" in repr(hop.keeper)
    if not restarted:
        hop.router.set_relay_policy(ANYWHERE)
        await traveller.find_way()
        await traveller.echoes(b"after")
