"""Where sessions go: names, weights, the resolver, failover, and turns, over real sockets."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from descriptors import descriptors
from ports import free_ports
from trioet.scon import targets as targets_module
from trioet.scon.announcing import announcing
from trioet.scon.config import Host, Resolver, UpstreamOption
from trioet.scon.server import Backend, Call
from trioet.scon.targets import RESTS_S, NoTarget, Targets
from waiting import until

A, B, C = (Host(name, (f"{name}.invalid", 1), 100) for name in "abc")


def call(target: bytes = b"", flags: int = 0) -> Call:
    return Call(target, flags, ("192.0.2.7", 37224), ("10.0.0.1", 1248))


def targets(hosts: Sequence[Host], **option: object) -> Targets:
    return Targets(hosts, replace(UpstreamOption(), **option), announcing())  # type: ignore[arg-type]


@contextmanager
def listening(count: int = 1, host: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_server((host, 0))) for _ in range(count)]


def host_at(listener: socket.socket, name: str = "a", weight: int = 100) -> Host:
    return Host(name, ("127.0.0.1", listener.getsockname()[1]), weight)


def arrived(backend: Backend) -> str:
    name = backend.line.peer_name
    backend.line.close()
    return name


async def test_a_name_leads_to_its_hosts_and_none_to_all() -> None:
    made = targets([A, B, replace(C, name="a")])

    assert {host.addr for host in made.choose(b"a")} == {A.addr, C.addr}
    assert {host.addr for host in made.choose(b"")} == {A.addr, B.addr, C.addr}


@pytest.mark.parametrize("target", [b"nobody", b"A", b"a ", b"\xff", b"a\0", b"x" * 60_000])
async def test_an_unknown_name_leads_nowhere(target: bytes) -> None:
    with pytest.raises(NoTarget, match="no host is called"):
        targets([A, B]).choose(target)


async def test_an_unknown_name_leads_anywhere_as_in_goscon_only_if_told_so() -> None:
    assert len(targets([A, B], unknown_target="any").choose(b"nobody")) == 2


async def test_weights_are_shares_to_the_last_one() -> None:
    """goscon's own test gives the first host a share too many: of 1 and 1 it would be 2 of 3."""
    made = targets([replace(A, weight=1), replace(B, weight=1), replace(C, weight=2)])

    counted = Counter(made.choose(b"")[0].name for _ in range(8000))

    # Nine standard deviations: one run in 10**18 fails.
    assert abs(counted["a"] - 2000) < 9 * 39
    assert abs(counted["b"] - 2000) < 9 * 39
    assert abs(counted["c"] - 4000) < 9 * 45


async def test_a_weight_of_nothing_is_a_hundred_as_in_goscon() -> None:
    made = targets([replace(A, weight=0), replace(B, weight=-5), replace(C, weight=100)])

    counted = Counter(made.choose(b"")[0].name for _ in range(3000))

    assert all(abs(count - 1000) < 9 * 26 for count in counted.values())


RESOLVER = Resolver("game-", ".internal", 8000, "^[a-z]+[0-9]$")


async def test_the_resolver_makes_a_name_of_what_its_pattern_lets_through() -> None:
    made = targets([A], resolv=RESOLVER)

    assert [host.addr for host in made.choose(b"zone1")] == [("game-zone1.internal", 8000)]
    assert made.choose(b"a") == [A]
    assert made.choose(b"") == [A]
    for refused in (b"zone", b"1", b"x.evil.example/1", b"a" * 300 + b"1", b"zone1\n"):
        with pytest.raises(NoTarget):
            made.choose(refused)


@pytest.mark.parametrize("name", [b"a..b1", b".a1", b"a1.", b"a/b1", b"a b1", b"[::1]", b"a:1"])
async def test_without_a_pattern_only_labels_reach_the_resolver(name: bytes) -> None:
    with pytest.raises(NoTarget):
        targets([], resolv=Resolver(suffix=".internal", port=1)).choose(name)


async def test_a_name_is_resolved_at_every_connect() -> None:
    with listening() as (listener,):
        made = targets([], resolv=Resolver(port=listener.getsockname()[1]))

        assert arrived(await made.dial(call(b"localhost"))).startswith("localhost:")


async def test_a_host_that_does_not_answer_is_passed_over_and_rests() -> None:
    (dead,) = free_ports(1)
    with listening() as (listener,):
        alive = host_at(listener)
        made = targets([Host("a", ("127.0.0.1", dead), 1_000_000), alive])

        for _ in range(5):
            assert arrived(await made.dial(call(b"a"))) == f"127.0.0.1:{alive.addr[1]}"
        assert all(made.choose(b"a")[0] == alive for _ in range(50))


async def test_a_host_that_rested_is_tried_again(autojump_clock: MockClock) -> None:
    (dead,) = free_ports(1)
    with listening() as (listener,):
        heavy = Host("a", ("127.0.0.1", dead), 1_000_000)
        made = targets([heavy, host_at(listener, weight=1)])
        while made.choose(b"a")[0] == heavy:
            arrived(await made.dial(call(b"a")))

        await trio.sleep(RESTS_S + 1)

        assert any(made.choose(b"a")[0] == heavy for _ in range(50))


async def test_all_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only 127.0.0.1 of them has a listener."""
    with listening() as (listener,):
        port = listener.getsockname()[1]

        async def several(*_: object, **__: object) -> list[object]:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", port))
                for last in range(1, 5)
            ]

        monkeypatch.setattr(trio.socket, "getaddrinfo", several)
        for _ in range(10):
            arrived(await targets([Host("a", ("several.invalid", port))]).dial(call(b"a")))


async def test_when_nobody_answers_every_reason_is_told() -> None:
    dead = free_ports(2)
    before = descriptors()
    made = targets([Host("a", ("127.0.0.1", port)) for port in dead])

    with pytest.raises(OSError, match="refused") as caught:
        await made.dial(call(b"a"))

    assert all(f"127.0.0.1:{port}" in str(caught.value) for port in dead)
    assert descriptors() == before


async def test_a_host_that_swallows_is_given_up_in_time(autojump_clock: MockClock) -> None:
    with listening() as (listener,):
        full = filled(listener)
        before = descriptors()

        with pytest.raises(OSError, match="no answer within 3 s"):
            await targets([host_at(listener)], connect_timeout=3.0).dial(call(b"a"))

        assert descriptors() == before
        for sock in full:
            sock.close()


def filled(listener: socket.socket) -> list[socket.socket]:
    """Fill the queue of a listener, so that whoever connects besides waits."""
    listener.listen(0)
    full = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
        full.append(sock)
    return full


async def test_so_many_connects_at_once_and_the_others_wait() -> None:
    with listening() as (listener,):
        full = filled(listener)
        made = targets([host_at(listener)], max_connects=2, connect_timeout=60.0)
        (turns,) = made._turns.values()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(made.dial, call(b"a"))
            await until(lambda: turns.statistics().tasks_waiting == 3)
            await wait_all_tasks_blocked()
            assert turns.borrowed_tokens == 2
            nursery.cancel_scope.cancel()
        assert turns.borrowed_tokens == 0
        for sock in full:
            sock.close()


async def test_who_gets_no_turn_is_told_in_time(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets_module, "DIAL_DEADLINE_S", 5.0)
    with listening() as (listener,):
        made = targets([host_at(listener)], max_connects=1)
        (turns,) = made._turns.values()
        turns.acquire_on_behalf_of_nowait(object())

        with pytest.raises(OSError, match="no turn within 5 s"):
            await made.dial(call(b"a"))


async def test_the_announcement_is_the_hosts_own_or_everyones() -> None:
    with listening() as (listener,):
        everyones = host_at(listener)
        for host, said in (
            (everyones, b"PROXY TCP4 192.0.2.7 10.0.0.1 37224 1248\r\n"),
            (replace(everyones, proxy_protocol=0), b""),
            (replace(everyones, proxy_protocol=2), b"\r\n\r\n\x00\r\nQUIT\n"),
        ):
            backend = await targets([host], proxy_protocol=1).dial(call(b"a"))
            backend.line.close()
            assert backend.announcement[: max(len(said), 1)] == said
