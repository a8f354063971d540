"""Many channels at once, under any schedule: nothing waits for itself, nothing is lost.

Windows, credits, packets and cables are as small as they can be, so that everything that can
be full is full all the time. The clock jumps when nobody can go on: a deadlock is seen at once.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from descriptors import descriptors
from ends import End, Ends, Sizes, no_fault, pattern
from lines import Cable
from trioet.wire.forward import UnixPath

CHANNELS = 8
FOR_EVER = 1000.0


@st.composite
def small_sizes(draw: st.DrawFn) -> Sizes:
    """A packet, and what comes between two acknowledgements, are half of the least window
    each, at most; what is read at once has nothing to do with it."""
    window = draw(st.integers(800, 40_000))
    halves = st.integers(100, window // 2)
    return Sizes(
        cable=draw(st.integers(100, 40_000)),
        window=window,
        acknowledge=draw(halves),
        chunk=draw(halves),
        credit=draw(st.integers(100, 10_000)),
    )


@dataclass(frozen=True)
class Plan:
    """What the two applications of a channel do. Sizes in bytes, pauses in seconds."""

    kind: str
    at_client: bool
    up: int
    down: int
    near_pause: float
    far_pause: float
    begins_at: float


pauses = st.sampled_from([0.0, 0.0, 0.1, 3.0])


def plans(kinds: list[str], most: int) -> st.SearchStrategy[list[Plan]]:
    one = st.builds(
        Plan,
        st.sampled_from(kinds),
        st.booleans(),
        st.integers(0, most),
        st.integers(0, most),
        pauses,
        pauses,
        pauses,
    )
    return st.lists(one, min_size=CHANNELS, max_size=CHANNELS)


class Stage:
    """One run: two ends, and pairs of applications at Unix sockets."""

    def __init__(self, nursery: trio.Nursery, directory: str, sizes: Sizes) -> None:
        self.sizes = sizes
        self.nursery = nursery
        self.ends = Ends(nursery)
        self._directory = directory

    def connect(self) -> Cable:
        return self.ends.connect(Cable(self.sizes.cable))

    async def play(self, number: int, plan: Plan) -> None:
        """Both applications of a channel, from beginning to end."""
        here, there = (
            UnixPath(os.path.join(self._directory, f"{number}-{side}")) for side in ("near", "far")
        )
        end = self.ends.client if plan.at_client else self.ends.server
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(there.path if plan.kind != "refused" else f"{there.path}-not")
            listening.listen()
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening.dup()))
            async with listener:
                await end.tunnel(there, here)
                await trio.sleep(plan.begins_at)
                async with await trio.open_unix_socket(here.path) as near:
                    await self._act(number, plan, near, listener)

    async def _act(
        self, number: int, plan: Plan, near: trio.SocketStream, listener: trio.SocketListener
    ) -> None:
        up, down = pattern(plan.up, number), pattern(plan.down, 100 + number)
        match plan.kind:
            case "refused":
                assert await _heard(near, 0) == b""
            case "abandoned":
                await near.aclose()
                async with await listener.accept() as far:
                    assert await _heard(far, 0) == b""
            case "up":
                await near.send_all(up)
                await near.aclose()
                async with await listener.accept() as far:
                    assert await _heard(far, plan.far_pause) == up
            case "down":
                async with await listener.accept() as far:
                    await far.send_all(down)
                assert await _heard(near, plan.near_pause) == down
            case "both":
                async with await listener.accept() as far, trio.open_nursery() as both:
                    both.start_soon(_say, near, up)
                    both.start_soon(_say, far, down)
                    both.start_soon(_check, far, plan.far_pause, up)
                    both.start_soon(_check, near, plan.near_pause, down)

    async def chat(self, end: End, lines: int) -> None:
        """The terminal's own traffic, beside it all."""
        for line in range(lines):
            await end.link.wait_room()
            end.type(b"%d" % line)
            await trio.sleep(0.01)

    @property
    def idle(self) -> bool:
        return all("channels=0 reaching=0" in repr(end.forwards) for end in self.both)

    @property
    def both(self) -> tuple[End, End]:
        return self.ends.client, self.ends.server


async def _say(stream: trio.SocketStream, data: bytes) -> None:
    await stream.send_all(data)
    await stream.send_eof()


async def _check(stream: trio.SocketStream, pause: float, data: bytes) -> None:
    assert await _heard(stream, pause) == data


async def _heard(stream: trio.SocketStream, pause: float) -> bytes:
    """All that comes, by one that takes its time for the first pieces."""
    found = bytearray()
    pieces = 5
    try:
        while part := await stream.receive_some(3000):
            found += part
            if pieces:
                pieces -= 1
                await trio.sleep(pause)
    except trio.BrokenResourceError:
        pass
    return bytes(found)


def run(sizes: Sizes, seed: int, perform: Callable[[Stage], Awaitable[None]]) -> None:
    """A run of its own, on a small stage; what is open in the end was open before."""
    before = descriptors()
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with (
        no_fault(),
        sizes.in_force(),
        tempfile.TemporaryDirectory(prefix="te-", dir=place) as directory,
    ):

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                stage = Stage(nursery, directory, sizes)
                with trio.fail_after(FOR_EVER):
                    await perform(stage)
                nursery.cancel_scope.cancel()

        _order(seed)
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert descriptors() == before


def _order(seed: int) -> None:
    """Have Trio take turns as it would with this seed, each time."""
    scheduler = trio._core._run
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    scheduler._r.seed(seed)


async def _until_idle(stage: Stage) -> None:
    while not stage.idle:  # noqa: ASYNC110 - time jumps
        await trio.sleep(1)


async def _flood(stage: Stage, channels: list[Plan]) -> None:
    stage.connect()
    async with trio.open_nursery() as nursery:
        for end in stage.both:
            nursery.start_soon(stage.chat, end, 50)
        for number, plan in enumerate(channels):
            nursery.start_soon(stage.play, number, plan)
    await _until_idle(stage)
    for end in stage.both:
        assert stage.ends.other(end).typed == [b"%d" % line for line in range(50)]


@settings(max_examples=10)
@given(small_sizes(), st.integers(0, 1000), plans(["both"], 20_000))
def test_floods_both_ways_on_eight_channels_never_wait_for_one_another(
    sizes: Sizes, seed: int, channels: list[Plan]
) -> None:
    run(sizes, seed, partial(_flood, channels=channels))


cuts = st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 30_000)), max_size=12)


async def _chaos(stage: Stage, channels: list[Plan], cuts: list[tuple[int, int]]) -> None:
    async with trio.open_nursery() as lines:
        lines.start_soon(_connect_again_and_again, stage, cuts)
        await _flood_on_other_lines(stage, channels)
        lines.cancel_scope.cancel()


async def _connect_again_and_again(stage: Stage, cuts: list[tuple[int, int]]) -> None:
    for up, down in cuts:
        stage.connect().cut_after(up, down)
        await trio.sleep(0.001)
        while any(end.link.attached for end in stage.both):  # noqa: ASYNC110 - time jumps
            await trio.sleep(0.5)
    stage.connect()


async def _flood_on_other_lines(stage: Stage, channels: list[Plan]) -> None:
    async with trio.open_nursery() as nursery:
        for end in stage.both:
            nursery.start_soon(stage.chat, end, 30)
        for number, plan in enumerate(channels):
            nursery.start_soon(stage.play, number, plan)
    await _until_idle(stage)
    for end in stage.both:
        while len(stage.ends.other(end).typed) < 30:  # noqa: ASYNC110 - time jumps
            await trio.sleep(1)
        assert stage.ends.other(end).typed == [b"%d" % line for line in range(30)]


@settings(max_examples=20)
@given(
    small_sizes(),
    st.integers(0, 1000),
    plans(["both", "up", "down", "refused", "abandoned"], 20_000),
    cuts,
)
def test_cuts_at_any_byte_lose_and_double_nothing(
    sizes: Sizes, seed: int, channels: list[Plan], cuts: list[tuple[int, int]]
) -> None:
    run(sizes, seed, partial(_chaos, channels=channels, cuts=cuts))
