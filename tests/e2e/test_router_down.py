"""The router goes, in every way, under several sessions at once; each of them goes on."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Final

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from farside import FarSide
from keepers import keepers_in
from ptys import Person, at_terminal
from trioet.demo.cutter import Cutter
from waiting import until

pytestmark = pytest.mark.e2e

SESSIONS: Final = 3
KILLS: Final = 5
BULK: Final = 2 * 1024 * 1024
"""Bytes that each session sends, and gets back."""
LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz"


class House:
    """Several people at their terminals, who come to one router through a network that fails."""

    def __init__(self, far_side: FarSide, port: int, cutter: Cutter, people: list[Person]) -> None:
        self.far_side = far_side
        self.port = port
        self.cutter = cutter
        self.people = people

    async def offline(self) -> None:
        """Cut all connections; return when everybody is told."""
        await cut(self.cutter)
        for person in self.people:
            await person.until(b"trioet: no reply from farside for ")

    async def check_all_live(self) -> None:
        for number, person in enumerate(self.people):
            assert await person.run(b"echo $mine %d" % number) == b"%d %d\r\n" % (number, number)

    async def leave(self) -> None:
        for person in self.people:
            await person.type(b"exit\n")
            assert await person.end() == 0


async def cut(cutter: Cutter) -> None:
    """Cut all connections, between two steps of those that are just ending by themselves."""
    await wait_all_tasks_blocked()
    cutter.cut()


async def relayed(cutter: Cutter, count: int) -> None:
    """Wait until so many bytes more have gone either way."""
    enough = cutter.bytes_relayed + count
    await until(lambda: cutter.bytes_relayed > enough)


@asynccontextmanager
async def house(far_side: FarSide) -> AsyncIterator[House]:
    port = far_side.start_router()
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        cutter = Cutter(port)
        near = await nursery.start(cutter.serve)
        command = far_side.connect("--via", "direct", "-p", str(near))
        people = []
        for number in range(SESSIONS):
            terminal = at_terminal(command, far_side.environment)
            person = await stack.enter_async_context(terminal)
            await person.run(b"mine=%d" % number)
            people.append(person)
        yield House(far_side, port, cutter, people)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_keys_typed_while_the_router_is_down_arrive_in_every_session(
    far_side: FarSide, how: signal.Signals
) -> None:
    """Key by key, before and after the others are told that they are offline."""
    keys = random.Random(3)
    async with house(far_side) as live:
        for person in live.people:
            await person.run(b"stty -echo")
            await person.type(b'read -r line; echo "got $line."\n')
        far_side.stop_router(how)
        await cut(live.cutter)
        typed = [b"" for _ in live.people]
        for turn in range(100):
            for number, person in enumerate(live.people):
                key = bytes([keys.choice(LETTERS)])
                await person.type(key)
                typed[number] += key
            if turn == 50:
                for person in live.people:
                    await person.until(b"trioet: no reply from farside for ")
        for person in live.people:
            await person.type(b"\n")
        far_side.start_router(live.port)
        for person, text in zip(live.people, typed, strict=True):
            await person.until(b"got " + text + b".")
        await live.check_all_live()
        await live.leave()


async def test_a_router_that_is_killed_again_and_again_loses_no_byte(far_side: FarSide) -> None:
    """Each time all connections with it, and each router is another process."""
    port = far_side.start_router()
    routers = {far_side.router_pid}
    data = random.Random(5).randbytes(BULK)
    async with trio.open_nursery() as nursery:
        cutter = Cutter(port)
        near = str(await nursery.start(cutter.serve))
        command = far_side.connect("--via", "direct", "-p", near, "--", "cat")

        async def there_and_back() -> None:
            run = partial(trio.run_process, command, stdin=data, env=far_side.environment)
            done = await run(capture_stdout=True)
            assert done.stdout == data, "bytes were lost, doubled or out of order"

        async with trio.open_nursery() as sessions:
            for _ in range(SESSIONS):
                sessions.start_soon(there_and_back)
            for _ in range(KILLS):
                await relayed(cutter, BULK // 8)
                far_side.stop_router(signal.SIGKILL)
                await cut(cutter)
                await trio.to_thread.run_sync(far_side.start_router, port)
                routers.add(far_side.router_pid)
        nursery.cancel_scope.cancel()
    assert cutter.cuts == KILLS
    assert len(routers) == KILLS + 1
    assert len(keepers_in(far_side.runtime_dir)) == 1


async def test_sessions_that_came_before_and_after_a_restart_are_one_keepers(
    far_side: FarSide,
) -> None:
    async with house(far_side) as live:
        far_side.stop_router(signal.SIGKILL)
        far_side.start_router(live.port)
        await until(lambda: "with 3 sessions" in far_side.keeper_log())
        done = await trio.to_thread.run_sync(lambda: far_side.run("--", "echo new"))
        assert done.stdout == b"new\n"
        await cut(live.cutter)
        await live.check_all_live()
        assert len(keepers_in(far_side.runtime_dir)) == 1
        await live.leave()


async def test_a_session_that_ends_while_the_router_is_down_is_told_when_it_is_back(
    far_side: FarSide,
) -> None:
    async with house(far_side) as live:
        far_side.stop_router(signal.SIGKILL)
        await live.offline()
        first, *others = live.people
        await first.type(b"exit 7\n")
        far_side.start_router(live.port)
        await first.until(b"[trioet: session ended]")
        assert await first.end() == 7
        live.people = others
        for number, person in enumerate(others, 1):
            assert await person.run(b"echo $mine") == b"%d\r\n" % number
        await live.leave()


async def test_a_session_that_comes_when_the_router_is_gone_finds_the_keepers_own_door(
    far_side: FarSide,
) -> None:
    """The keeper, which has sessions with that router, does not send anybody there."""
    async with house(far_side) as live:
        far_side.stop_router(signal.SIGKILL)
        command = ("--via", "direct", "--", "echo new")
        done = await trio.to_thread.run_sync(lambda: far_side.run(*command))
        assert (done.stdout, done.returncode) == (b"new\n", 0), done.stderr
        far_side.start_router(live.port)
        await live.check_all_live()
        assert len(keepers_in(far_side.runtime_dir)) == 1
        await live.leave()


async def test_what_takes_the_routers_port_meanwhile_is_not_believed(far_side: FarSide) -> None:
    """Another program there, which hangs up, or talks nonsense: the client goes on trying."""
    async with house(far_side) as live:
        far_side.stop_router(signal.SIGTERM)
        answers = [b"", b"SSH-2.0-OpenSSH_9.2\r\n", bytes(100), b"\xff" * 100]

        async def another_program(stream: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(answers.pop() if answers else b"")
            await stream.aclose()

        (listener,) = await trio.open_tcp_listeners(live.port, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, another_program, [listener])
            await cut(live.cutter)
            await until(lambda: not answers)
            nursery.cancel_scope.cancel()
        far_side.start_router(live.port)
        await live.check_all_live()
        await live.leave()


async def test_a_new_router_does_not_displace_one_that_runs(far_side: FarSide) -> None:
    async with house(far_side) as live:
        command = [sys.executable, "-m", "trioet.cli.main", "serve", "--port", "0"]
        done = await trio.run_process(
            command, env=far_side.environment, capture_stderr=True, check=False
        )
        assert done.returncode == 255
        assert b"another trioet server listens at" in done.stderr
        await cut(live.cutter)
        await live.check_all_live()
        await live.leave()
