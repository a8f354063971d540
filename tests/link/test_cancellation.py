"""Cancel at every await in the life of a link, and look what is left.

One end of a line is run again and again; at its n-th step it is cancelled, for every n until
its life ends by itself. Each time its line must be closed, no descriptor and no task left,
and on the next line everything arrives, once and in order. At the end, what was cancelled
must have been every await in `trioet.link`.
"""

from __future__ import annotations

import pkgutil
import random
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from importlib import import_module

import pytest
import trio

import trioet.link
from cancelling import Sweep, Victim, jump, settle
from cluster import Cluster
from lines import Cable
from name_server import name_server
from pairs import DATA, ID, Pair
from trioet.link import chain, srv, srv_ways
from trioet.link.dial import HostDial, dial
from trioet.link.greeted import GreetedLine
from trioet.link.line import Line, LineBroken, SocketLine
from trioet.link.liveness import Liveness
from trioet.link.reconnect import CannotConnect, Reconnector
from trioet.link.rhythm import Rhythm
from trioet.link.slow_dial import UNCLAIMED_S, SlowDial
from trioet.link.steering import MOST_PAUSE_S, Steering
from trioet.link.trial import LARGE
from trioet.link.ways import LOYALTY_S, Way, Ways
from trioet.wire.handshake import (
    connect_request_frame,
    connect_response_frame,
    sequence_header_frame,
)
from trioet.wire.messages import ConnectRequest, ConnectResponse, ConnectStatus

PACKETS = 30
NOT_CANCELLED = {
    "line.py:checkpoint": "returns at once, and only in a flood",
}

pytestmark = pytest.mark.proof

NOT_OF_A_LINE = {"accepting", "door", "quick_stream", "refusals"}
"""Before there is one: tests/link/test_door.py, and test_server.py among the hostile; or beside
it: test_quick_stream.py."""

MODULES = [
    import_module(f"trioet.link.{name}")
    for _, name, _ in pkgutil.iter_modules(trioet.link.__path__)
    if name not in NOT_OF_A_LINE
]
sweep = Sweep(*MODULES)


def sockets() -> tuple[socket.socket, socket.socket]:
    """A line that real sockets make, and a narrow one."""
    pair = socket.socketpair()
    for sock in pair:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return pair


async def check_all_arrives(pair: Pair) -> None:
    assert not pair.client.attached
    assert not pair.server.attached
    pair.at_client.busy = pair.at_server.busy = None
    pair.connect()
    pair.client.send_keepalive()
    await settle()
    numbers = [b"%04d" % number + bytes(996) for number in range(PACKETS)]
    assert pair.at_server.payloads == numbers
    assert pair.at_client.payloads == numbers


def fill(pair: Pair) -> None:
    for number in range(PACKETS):
        for link in (pair.client, pair.server):
            link.send(DATA, b"%04d" % number + bytes(996))


@pytest.mark.parametrize("end", ["client", "server"])
def test_wherever_a_line_is_cancelled_nothing_is_lost(end: str) -> None:
    """A return with a catch-up both ways, over a line that is full, with receivers that pause."""

    async def life(victim: Victim) -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery)
            await pair.meet_and_part()
            fill(pair)
            ours, theirs = map(SocketLine, sockets())
            run: dict[str, Callable[[Line], Awaitable[None]]] = {
                "client": lambda line: pair.client.run_client_line(line, ID),
                "server": lambda line: pair.server.run_server_line(line, b""),
            }
            others = {"client": pair.run_server, "server": pair.run_client}
            inbox = pair.at_client if end == "client" else pair.at_server
            busy = inbox.busy = trio.Event()
            nursery.start_soon(others[end], theirs)
            nursery.start_soon(victim.run, lambda: run[end](ours))
            await settle()
            busy.set()
            inbox.busy = None
            await settle()
            link, other = pair.client, pair.server
            if end == "server":
                link, other = other, link
            busy = inbox.busy = trio.Event()
            other.send_keepalive()
            await settle()
            busy.set()
            inbox.busy = None
            link.send_keepalive()
            await settle()
            theirs.close()
            await settle()
            assert ours not in link.lines
            assert ours._sock.fileno() < 0
            assert victim.done
            await check_all_arrives(pair)
            nursery.cancel_scope.cancel()

    assert sweep.every_step(life) > 10


def test_who_waits_for_a_large_catchup_can_be_cancelled() -> None:
    async def life(victim: Victim) -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery)
            await pair.meet_and_part()
            for _ in range(2 * LARGE // 16384):
                pair.server.send(DATA, bytes(16384))
            assert pair.server._lines.trial.may_have(2 * LARGE)
            cable = Cable()
            hello = connect_request_frame(ConnectRequest(ID)) + sequence_header_frame(0)
            cable.client.try_send(hello)
            nursery.start_soon(victim.run, lambda: pair.server.run_server_line(cable.server, b""))
            await settle()
            cable.cut()
            await settle()
            assert victim.done
            assert not pair.server._lines.trial._waiting
            assert not pair.server._lines.trial._lines
            nursery.cancel_scope.cancel()

    assert sweep.every_step(life) > 3


@pytest.mark.parametrize("wait", ["wait_room", "wait_bulk_room", "wait_delivered"])
def test_waiting_can_be_cancelled(wait: str) -> None:
    async def life(victim: Victim) -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery, max_kept=10_000)
            await pair.meet_and_part()
            fill(pair)
            nursery.start_soon(victim.run, getattr(pair.server, wait))
            await settle()
            for link in (pair.client, pair.server):
                link.agree_acks()
            cable = pair.connect()
            await settle()
            assert victim.done
            cable.cut()
            await settle()
            await check_all_arrives(pair)
            nursery.cancel_scope.cancel()

    assert sweep.every_step(life) > 1


def test_liveness_can_be_cancelled() -> None:
    async def life(victim: Victim) -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery)
            liveness = Liveness(pair.client, Rhythm(5.0, 5.0), lambda: None)
            pair.client.on_change = liveness.line_changed
            nursery.start_soon(victim.run, liveness.run)
            cable = pair.connect()
            fill(pair)
            await settle()
            jump(6)
            await settle()
            victim.end()
            cable.cut()
            await settle()
            assert victim.done
            await check_all_arrives(pair)
            nursery.cancel_scope.cancel()

    assert sweep.every_step(life) > 3


def test_a_reconnector_can_be_cancelled_at_any_time() -> None:
    """Through a dial, a session, its loss, a refused dial, and its return."""

    async def life(victim: Victim) -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery)
            cables: list[Cable] = []
            dials = 0

            async def reach() -> Line:
                nonlocal dials
                dials += 1
                await trio.lowlevel.checkpoint()
                if dials == 2:
                    raise ConnectionRefusedError(111, "Connection refused")
                cable = Cable()
                cables.append(cable)
                nursery.start_soon(pair.run_server, cable.server)
                return cable.client

            reconnector = Reconnector(pair.client, ID, reach, jitter=random.Random(1))
            pair.client.on_change = reconnector.line_changed
            nursery.start_soon(victim.run, reconnector.run)
            fill(pair)
            await settle()
            for cable in cables:
                cable.cut()
            for _ in range(4):
                await settle()
                jump(1)
            await settle()
            victim.end()
            await settle()
            assert not pair.client.attached
            assert all(cable.client.closed for cable in cables)
            await settle()
            await check_all_arrives(pair)
            nursery.cancel_scope.cancel()

    assert sweep.every_step(life) > 5


def test_a_reconnector_that_gives_up_can_be_cancelled() -> None:
    """While another of its attempts still hangs."""

    async def life(victim: Victim) -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery)
            dials = 0

            async def reach() -> Line:
                nonlocal dials
                dials += 1
                if dials == 1:
                    await trio.sleep_forever()
                raise ConnectionRefusedError(111, "Connection refused")

            async def give_up() -> None:
                try:
                    await Reconnector(pair.client, ID, reach, jitter=random.Random(1)).run()
                except* CannotConnect:
                    pass

            nursery.start_soon(victim.run, give_up)
            await settle()
            for _ in range(5):
                jump(1)
                await settle()
            assert victim.done
            assert victim.cancelled or dials > 2
            nursery.cancel_scope.cancel()

    assert sweep.every_step(life) > 3


def test_dialling_can_be_cancelled() -> None:
    async def life(victim: Victim) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

            async def connect() -> None:
                (await dial("127.0.0.1", port)).close()

            await victim.run(connect)

    assert sweep.every_step(life) > 1


def test_dialling_another_address_can_be_cancelled() -> None:
    async def life(victim: Victim) -> None:
        trio.socket.set_custom_hostname_resolver(Cluster("127.0.0.1", "127.0.0.2"))
        with socket.create_server(("", 0)) as listener:
            at = HostDial("cluster.example", listener.getsockname()[1])

            async def connect() -> None:
                for _ in range(2):
                    line = await at.dial()
                    line.close()
                    assert at.avoid(line)

            await victim.run(connect)

    assert sweep.every_step(life) > 1


def test_a_greeted_line_can_be_cancelled() -> None:
    async def life(victim: Victim) -> None:
        ours, theirs = sockets()
        line = GreetedLine(ours, b"hello", b"good day")

        async def receive() -> None:
            assert await line.receive() == b"good day"
            await line.receive()

        with theirs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(victim.run, receive)
                await settle()
                theirs.sendall(b"x")
                await settle()
                assert victim.done
        line.close()

    assert sweep.every_step(life) > 1


def test_a_race_of_ways_can_be_cancelled() -> None:
    """One fails, one is doubted and waits for the others, and one connects late."""

    async def life(victim: Victim) -> None:
        cables: list[Cable] = []

        async def refuse() -> Line:
            await trio.lowlevel.checkpoint()
            raise ConnectionRefusedError(111, "Connection refused")

        async def fail_late() -> Line:
            await trio.sleep(2)
            raise ConnectionRefusedError(111, "Connection refused")

        async def reach() -> Line:
            await trio.sleep(0.5 if cables else 0)
            cables.append(Cable())
            return cables[-1].client

        there = Ways([Way("doubted", reach), Way("none", refuse), Way("late", fail_late)])
        (await there.dial()).close()

        async def race() -> None:
            (await there.dial()).close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(victim.run, race)
            for _ in range(10):
                jump(0.5)
                await settle()
            assert victim.done
            assert all(cable.client.closed for cable in cables)

    assert sweep.every_step(life) > 4


def test_a_lookup_and_the_dial_that_waits_for_it_can_be_cancelled() -> None:
    """The first, and the next when the answer has expired; of a real name server."""

    async def life(victim: Victim) -> None:
        cables: list[Cable] = []

        async def reach(host: str, port: int) -> Line:
            await trio.lowlevel.checkpoint()
            cables.append(Cable())
            return cables[-1].client

        async with name_server() as names, trio.open_nursery() as nursery:
            names.records, names.ttl_s = ("0 0 2022 a.example.",), 0
            look_up = partial(srv.look_up, resolver=names.resolver())
            found = srv_ways.SrvWays("db1.example", reach, look_up=look_up)
            there = Ways([], found.ways)

            async def both() -> None:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(found.run, lambda _: None)
                    (await there.dial()).close()
                    await trio.sleep(srv_ways.LEAST_TTL_S)
                    (await there.dial()).close()
                    nursery.cancel_scope.cancel()

            nursery.start_soon(victim.run, both)
            await settle()
            jump(srv_ways.LEAST_TTL_S)
            await settle()
            assert victim.done
            assert victim.cancelled or len(names.asked) == 2
            assert all(cable.client.closed for cable in cables)

    assert sweep.every_step(life) > 10


def test_a_slow_dial_and_who_waits_for_it_can_be_cancelled() -> None:
    async def life(victim: Victim) -> None:
        cables: list[Cable] = []

        async def reach() -> Line:
            await trio.sleep(1)
            cables.append(Cable())
            return cables[-1].client

        slow = SlowDial(reach)

        async def ask(patience_s: float) -> None:
            with trio.move_on_after(patience_s), suppress(LineBroken):
                (await slow.dial()).close()

        async def both() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(slow.run)
                nursery.start_soon(ask, 5)
                await trio.sleep(3)
                nursery.start_soon(ask, 0.5)
                await trio.sleep(2 * UNCLAIMED_S)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(victim.run, both)
            for seconds in (1, 1, 1, 1, UNCLAIMED_S, UNCLAIMED_S, UNCLAIMED_S):
                await settle()
                jump(seconds)
            await settle()
            assert victim.done
            assert all(cable.client.closed for cable in cables)

    assert sweep.every_step(life) > 4


def test_steering_can_be_cancelled() -> None:
    """While it waits for a detour, between two tries, in one, and while that proves itself."""

    async def life(victim: Victim) -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(nursery)
            cables: list[Cable] = []
            is_open = False

            async def reach() -> Line:
                cables.append(Cable())
                nursery.start_soon(pair.run_server, cables[-1].server)
                return cables[-1].client

            async def reach_if_open() -> Line:
                await trio.lowlevel.checkpoint()
                if not is_open:
                    raise ConnectionRefusedError(111, "Connection refused")
                return await reach()

            there = Ways([Way("port", reach_if_open), Way("ssh", reach, fallback=True)])
            reconnector = Reconnector(pair.client, ID, there.dial, jitter=random.Random(1))
            pair.client.on_change = reconnector.line_changed
            steering = Steering(pair.client, reconnector, there, tell_detour=lambda: None)
            nursery.start_soon(victim.run, steering.run)
            fill(pair)
            await settle()
            nursery.start_soon(reconnector.run)
            for step in range(8):
                await settle()
                jump(MOST_PAUSE_S if step > 2 else LOYALTY_S)
                is_open = step > 4
            await settle()
            victim.end()
            await settle()
            assert victim.done
            assert pair.client.attached
            nursery.cancel_scope.cancel()

    assert sweep.every_step(life) > 3


def test_a_way_through_jumphosts_can_be_cancelled() -> None:
    """While it is asked for, by a line that takes little; and while it is used."""
    answer = connect_response_frame(ConnectResponse(ConnectStatus.NEW_CLIENT))

    async def life(victim: Victim) -> None:
        cable = Cable(capacity=7)

        async def reach() -> Line:
            await trio.lowlevel.checkpoint()
            return cable.client

        async def travel() -> None:
            line = await chain.Chain([chain.Hop("a", ID)]).dial(reach)
            try:
                assert await line.receive() == answer
                assert await line.receive() == b"more"
                line.try_send(bytes(100))
                await line.wait_writable()
            finally:
                line.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(victim.run, travel)
            sent = 0
            while not victim.done:
                await settle()
                with suppress(LineBroken):  # it has been cancelled
                    if cable.client.out.held:
                        await cable.server.receive()
                    elif sent < len(answer):
                        sent += cable.server.try_send(answer[sent:])
                    else:
                        cable.server.try_send(b"more")
        assert cable.client.closed or not cable.client.out.carried

    assert sweep.every_step(life) > 5


def test_every_await_was_cancelled() -> None:
    """The last test of this file: what the others did not reach is named."""
    assert sweep.never_cancelled(NOT_CANCELLED) == []
