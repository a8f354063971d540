"""What a session through ET's jump must stand, whosever client, jumphost and destination are."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from jumps import OURS, Host, Journey
from ports import free_ports
from ptys import Person, at_terminal
from real_et import see_prompt
from shown import numbers_of
from trioet.demo.cutter import Cutter
from tunnelled import echo_server, echoes
from waiting import until

END = {OURS: b"[trioet: session ended]"}
ET_END = b"Session terminated"

RETURN_S = 60.0
"""A real jumphost sleeps for 3 s, perhaps twice, and what it has caught up with waits for a real
client's next KEEP_ALIVE; which may be lost as well, and is missed after twice 5 s."""


@asynccontextmanager
async def at_prompt(journey: Journey, *options: str) -> AsyncIterator[Person]:
    """Somebody at the prompt of the destination."""
    async with at_terminal(journey.command(*options), journey.environment, 33, 111) as person:
        await see_prompt(person)
        yield person


@asynccontextmanager
async def through_cutters(journey: Journey) -> AsyncIterator[tuple[Person, Cutter, Cutter]]:
    """The same, with a network that can be cut before the jumphost, and one behind it."""
    async with trio.open_nursery() as nursery:
        near, far = Cutter(journey.jumphost.port), Cutter(journey.destination.port)
        jport, dport = await nursery.start(near.serve), await nursery.start(far.serve)
        command = journey.command(jport=jport, dport=dport)
        async with at_terminal(command, journey.environment, 33, 111) as person:
            await see_prompt(person)
            yield person, near, far
        nursery.cancel_scope.cancel()


async def types_resizes_and_leaves(journey: Journey) -> None:
    async with at_prompt(journey) as person:
        assert await person.run(b"stty size; echo 6*7=$((6*7))") == b"33 111\r\n6*7=42\r\n"
        person.resize(50, 132)
        await person.run(b"sleep 0.3")
        assert await person.run(b"stty size") == b"50 132\r\n"
        await person.type(b"exit\n")
        await person.until(END.get(journey.client, ET_END))
        assert await person.end() == 0
    await leaves_nothing_behind(journey)


async def leaves_nothing_behind(journey: Journey) -> None:
    """Our hosts have forgotten the session."""
    for host in (journey.jumphost, journey.destination):
        if host.whose == OURS:
            await until(partial(has_no_session, host))


def has_no_session(host: Host) -> bool:
    log = host.log()
    return len(re.findall("session .* opened", log)) == len(re.findall("session .* over", log))


async def loses_nothing_through_cuts(journey: Journey) -> None:
    """Bulk, cut on one leg and on the other and on both, between keys and amid output."""
    cuts = 12 if journey.jumphost.whose == OURS else 6
    async with through_cutters(journey) as (person, near, far):
        legs = [[near], [far], [near, far]]
        await person.run(b"stty -echo")
        for number in range(cuts):
            cuts_now = legs[number % len(legs)]
            await person.type(b"seq 20000; ec")
            if number % 2:
                _cut(cuts_now)
            await person.type(b"ho DO''NE\n")
            shown, is_cut = b"", bool(number % 2)
            with trio.fail_after(RETURN_S):
                while b"DONE" not in shown:
                    shown += await person.read_some()
                    if not is_cut and len(shown) > 30_000:
                        _cut(cuts_now)
                        is_cut = True
            assert numbers_of(shown) == list(range(1, 20001)), f"{shown[:200]!r} … {shown[-200:]!r}"
            person.seen = b""


async def keeps_what_is_typed_while_the_destination_is_away(journey: Journey) -> None:
    async with through_cutters(journey) as (person, near, far):
        await person.run(b"true")
        for number, away in enumerate(([far], [near, far])):
            for cutter in away:
                cutter.refuse = True
            _cut(away)
            await person.type(b"echo back from %d''%d\n" % (number, number))
            await until(partial(has_come_twice, far, far.attempts))
            for cutter in away:
                cutter.refuse = False
            await person.until(b"back from %d%d\r\n" % (number, number))


async def has_tunnels(journey: Journey) -> None:
    """Both kinds, ET's way of asking; their applications are all on this machine."""
    to_there, to_here = free_ports(2)
    async with echo_server() as port:
        wishes = ["-t", f"{to_there}:{port}", "-r", f"{to_here}:{port}"]
        async with at_prompt(journey, *wishes) as person:
            for tunnel in (to_there, to_here):
                await echoes(tunnel)
            assert await person.run(b"echo typed") == b"typed\r\n"


async def ends_other_sessions(journey: Journey) -> None:
    """``-x``: on both hosts, by ET's own means. What those would end here is not ours to end."""
    killed = journey.fake_pkill()
    async with at_prompt(journey, "-x") as person:
        assert await person.run(b"echo fine") == b"fine\r\n"
    assert len(killed.read_text().splitlines()) == 2


def has_come_twice(cutter: Cutter, before: int) -> bool:
    return cutter.attempts > before + 1


def _cut(cutters: list[Cutter]) -> None:
    for cutter in cutters:
        cutter.cut()
