"""The link alone, on lines in memory that are cut at any byte."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from lines import Cable
from trioet.errors import PeerError, SessionLost
from trioet.link.line import Line, LineBroken
from trioet.scon.link import ACK_EVERY, PeerOver, SconLink
from trioet.wire.backed import ReplayBudget
from trioet.wire.scon_kept import BLOCK
from trioet.wire.scon_sealed import SealedKeys
from trioet.wire.scon_streams import Arc4Inward, Arc4Outward
from trioet.wire.sealing import Direction

UP, DOWN = Direction.CLIENT_TO_SERVER, Direction.SERVER_TO_CLIENT


class Sink:
    """A receiver that takes everything, unless it is told to wait."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.at_end = False
        self.open = trio.Event()
        self.open.set()

    def arrived(self, data: bytes) -> None:
        self.got += data

    def ended(self) -> None:
        self.at_end = True

    def heard(self) -> None:
        pass

    async def ready(self) -> None:
        await self.open.wait()


class Pair:
    """Two ends that share keys. What a handshake would tell them, they are told here."""

    def __init__(self, *, sealed: bool, max_kept: int = 2**20, limit: int = 2**30) -> None:
        self.budget = ReplayBudget(limit)
        self.sinks = Sink(), Sink()
        keys = SealedKeys(bytes(32))
        self.links = tuple(
            SconLink(sink, budget=self.budget, floor=0, max_kept=max_kept) for sink in self.sinks
        )
        if sealed:
            self.links[0].agree(keys.outward(UP), keys.inward(DOWN))
            self.links[1].agree(keys.outward(DOWN), keys.inward(UP))
        else:
            for link in self.links:
                link.agree(Arc4Outward(5), Arc4Inward(5))

    async def connect(self, nursery: trio.Nursery, cable: Cable) -> None:
        """Join both ends by a new cable, as a resume does: when the old brings nothing more."""
        ours, theirs = self.links
        for link in self.links:
            for line in link.lines:
                line.close()
        await trio.testing.wait_all_tasks_blocked()
        positions = (
            ours.position(theirs.received_count),
            theirs.position(ours.received_count),
        )
        for link, line, position in zip(
            self.links, (cable.client, cable.server), positions, strict=True
        ):
            nursery.start_soon(run, link, line, position)
        await trio.testing.wait_all_tasks_blocked()


async def run(link: SconLink, line: Line, position: int) -> None:
    with suppress(LineBroken, PeerError):
        await link.run(line, position, lambda: b"")


PARTS = st.lists(st.binary(max_size=5000), max_size=12)
CUTS = st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 20_000)), max_size=6)


@settings(max_examples=60)
@given(st.booleans(), PARTS, PARTS, CUTS, st.integers(1, 9000))
def test_every_byte_arrives_once_and_in_order_wherever_lines_are_cut(
    sealed: bool, up: list[bytes], down: list[bytes], cuts: list[tuple[int, int]], capacity: int
) -> None:
    async def main() -> None:
        pair = Pair(sealed=sealed)
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for cut in cuts:
                    cable = Cable(capacity)
                    cable.cut_after(*cut)
                    await pair.connect(nursery, cable)
                    for link, parts in zip(pair.links, (up, down), strict=True):
                        for _ in range(min(2, len(parts))):
                            link.send(parts.pop(0))
                    await trio.testing.wait_all_tasks_blocked()
                await pair.connect(nursery, Cable(capacity))
                for link, parts in zip(pair.links, (up, down), strict=True):
                    for part in parts:
                        link.send(part)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert (bytes(pair.sinks[1].got), bytes(pair.sinks[0].got)) == (all_up, all_down)
        for link in pair.links:
            link.close()
        assert (pair.budget.used, pair.budget.writers) == (0, 0)

    all_up, all_down = b"".join(up), b"".join(down)
    trio.run(main)


async def test_what_is_sent_to_a_line_that_broke_unnoticed_is_not_lost() -> None:
    pair = Pair(sealed=False, max_kept=3 * BLOCK)
    sender, _ = pair.links
    async with trio.open_nursery() as nursery:
        cable = Cable()
        await pair.connect(nursery, cable)
        cable.cut()
        assert sender.has_room()
        sender.send(b"x" * BLOCK)
        assert not sender.has_room()
        for _ in range(9):
            sender.send(b"y" * BLOCK)
        await trio.testing.wait_all_tasks_blocked()
        await pair.connect(nursery, Cable())
        await trio.testing.wait_all_tasks_blocked()
        assert pair.sinks[1].got == b"x" * BLOCK + b"y" * 9 * BLOCK
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("sealed", [True, False])
async def test_a_session_goes_on_after_four_gigabytes(sealed: bool) -> None:
    """goscon answers 406 to every resume from then on (6.2)."""
    pair = Pair(sealed=sealed)
    already = 2**32 - 2 * BLOCK
    for link in pair.links:  # as after so many bytes, all of them received
        assert link._inward is not None
        link._kept.sent = link._kept.oldest = already
        link._inward.received = already  # type: ignore[misc]
    sender, _ = pair.links
    async with trio.open_nursery() as nursery:
        for number in range(6):
            cable = Cable(5000)
            cable.cut_after(BLOCK + 100 * number, BLOCK)
            await pair.connect(nursery, cable)
            sender.send(bytes([number]) * BLOCK)
            await trio.testing.wait_all_tasks_blocked()
        await pair.connect(nursery, Cable())
        assert pair.sinks[1].got == b"".join(bytes([number]) * BLOCK for number in range(6))
        assert sender.sent > 2**32 > sender.received_count
        nursery.cancel_scope.cancel()


async def test_what_was_acknowledged_is_forgotten() -> None:
    pair = Pair(sealed=True)
    sender, _ = pair.links
    async with trio.open_nursery() as nursery:
        await pair.connect(nursery, Cable())
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(50):
            sender.send(bytes(BLOCK))
            await trio.testing.wait_all_tasks_blocked()
            assert sender.kept_bytes <= ACK_EVERY + 3 * BLOCK
        nursery.cancel_scope.cancel()


async def test_a_peer_that_acknowledges_nothing_has_no_more_in_flight_than_may_be_kept() -> None:
    pair = Pair(sealed=True, max_kept=4 * BLOCK)
    sender, _ = pair.links
    pair.sinks[1].open = trio.Event()
    async with trio.open_nursery() as nursery:
        await pair.connect(nursery, Cable())
        await trio.testing.wait_all_tasks_blocked()
        sent = 0
        while sender.has_room():
            sender.send(bytes(1000))
            sent += 1000
            await trio.testing.wait_all_tasks_blocked()
            assert sent < 6 * BLOCK
        pair.sinks[1].open.set()
        with trio.fail_after(10):
            sender.send(bytes(ACK_EVERY))
            await sender.wait_room()
        nursery.cancel_scope.cancel()


async def test_while_memory_is_short_an_equal_share_is_kept() -> None:
    pair = Pair(sealed=False, limit=8 * BLOCK)
    sender, other = pair.links
    async with trio.open_nursery() as nursery:
        await pair.connect(nursery, Cable())
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(20):
            sender.send(bytes(BLOCK))
            other.send(b"x")
            await trio.testing.wait_all_tasks_blocked()
        assert 4 * BLOCK <= sender.kept_bytes <= 9 * BLOCK
        assert other.kept_bytes == 20
        nursery.cancel_scope.cancel()


async def test_a_quiet_session_keeps_the_least(autojump_clock: trio.testing.MockClock) -> None:
    pair = Pair(sealed=False)
    sender, _ = pair.links
    async with trio.open_nursery() as nursery:
        await pair.connect(nursery, Cable())
        await trio.testing.wait_all_tasks_blocked()
        sender.send(bytes(9 * BLOCK))
        await trio.testing.wait_all_tasks_blocked()
        sender.trim_if_quiet(30)
        assert sender.kept_bytes == 9 * BLOCK
        await trio.sleep(31)
        sender.trim_if_quiet(30)
        assert sender.kept_bytes == 0
        nursery.cancel_scope.cancel()


async def test_nothing_is_forgotten_while_nobody_is_there() -> None:
    pair = Pair(sealed=False, max_kept=BLOCK)
    sender, _ = pair.links
    for _ in range(5):
        sender.send(bytes(BLOCK))
    sender.trim(0)
    assert sender.kept_bytes == 5 * BLOCK


async def test_after_the_end_and_after_the_session_nothing_comes() -> None:
    pair = Pair(sealed=True)
    client, server = pair.links
    failures: list[Exception] = []

    async def watch(link: SconLink, line: Line, position: int) -> None:
        try:
            await link.run(line, position, lambda: b"")
        except LineBroken as error:
            failures.append(error)

    cable = Cable()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, client, cable.client, 0)
        nursery.start_soon(watch, server, cable.server, 0)
        await trio.testing.wait_all_tasks_blocked()
        client.send(b"last")
        client.send_end()
        await trio.testing.wait_all_tasks_blocked()
        assert (bytes(pair.sinks[1].got), pair.sinks[1].at_end) == (b"last", True)
        assert client.unacknowledged == 0
        client.send_over()
        await trio.testing.wait_all_tasks_blocked()
        assert any(isinstance(error, PeerOver) for error in failures)
        nursery.cancel_scope.cancel()


async def test_who_waits_for_a_session_that_is_lost_is_told() -> None:
    link, _ = Pair(sealed=False).links
    told = 0

    async def wait() -> None:
        nonlocal told
        with pytest.raises(SessionLost, match="gone"):
            await link.wait_room()
        told += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        link.lose(SessionLost("gone"))
    with pytest.raises(SessionLost, match="gone"):
        await link.wait_handed_over()
    assert told == 1


async def test_a_link_that_was_closed_takes_no_line() -> None:
    link, _ = Pair(sealed=False).links
    link.close()
    with pytest.raises(LineBroken, match="over"):
        await link.run(Cable().client, 0, lambda: b"")
