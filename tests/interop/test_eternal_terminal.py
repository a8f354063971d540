"""Sessions with the real Eternal Terminal 7.0 programs, both ways.

They are found on PATH: `et` and `etserver`; the real `etterminal` beside them. Recorded
sessions of theirs are replayed in tests/wire without them.
"""

from __future__ import annotations

import shlex
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from proof.faults import FaultyNetwork

from farside import FarSide
from ptys import Person, at_terminal
from real_et import NEEDS_ET, EtServer, et_to_trioet, see_prompt, trioet_to_et
from shown import numbers_of
from trioet.demo.cutter import Cutter
from trioet.wire.framing import packet_frame
from trioet.wire.handshake import catchup_head, sequence_header_frame
from waiting import until

pytestmark = [pytest.mark.interop, pytest.mark.e2e, NEEDS_ET]

CUTS = 20
FAR_BYTES = 30_000_000


async def count_through_cuts(person: Person, cutter: Cutter) -> None:
    """Print numbers 20 times, cut each time in the middle, miss none."""
    await person.run(b"stty -echo")
    for cuts in range(CUTS):
        await person.type(b"seq 20000; echo DO''NE\n")
        shown = b""
        with trio.fail_after(20):
            while b"DONE" not in shown:
                shown += await person.read_some()
                if cutter.cuts == cuts and len(shown) > 30_000:
                    cutter.cut()
        assert numbers_of(shown) == list(range(1, 20001))
        person.seen = b""
    assert cutter.cuts == CUTS


# trioet connect -> etserver


async def test_our_client_types_resizes_and_leaves(far_side: FarSide, etserver: EtServer) -> None:
    command = trioet_to_et(far_side, etserver, "-p", str(etserver.port), "-o", "SetEnv=FOO=bar")
    async with at_terminal(command, far_side.environment, 33, 111) as person:
        assert await person.run(b"stty size; echo $FOO") == b"33 111\r\nbar\r\n"
        person.resize(50, 132)
        await person.run(b"sleep 0.3")
        assert await person.run(b"stty size") == b"50 132\r\n"
        await person.type(b"exit\n")
        await person.until(b"[trioet: session ended]")
        assert await person.end() == 0


async def test_our_client_runs_a_command_ets_way(far_side: FarSide, etserver: EtServer) -> None:
    command = trioet_to_et(far_side, etserver, "-p", str(etserver.port), "-c", "echo 6*7=$((6*7))")
    async with at_terminal(command, far_side.environment) as person:
        await person.until(b"6*7=42\r\n")
        assert await person.end() == 0


async def test_ctrl_c_interrupts_what_it_runs_there_though_its_output_goes_through_a_pipe(
    far_side: FarSide, etserver: EtServer
) -> None:
    """It runs on a terminal over there, and nobody would end it if we just left."""
    port = str(etserver.port)
    command = trioet_to_et(far_side, etserver, "-p", port, "-c", "echo 6*7=$((6*7)); sleep 1000")
    piped = ["sh", "-c", f"{shlex.join(command)} | cat"]
    async with at_terminal(piped, far_side.environment) as person:
        await person.until(b"6*7=42\r\n")
        await person.type(b"\x03")
        await person.type(b"echo 7*7=$((7*7)); exit\n")
        await person.until(b"7*7=49\r\n")
        await person.end()


async def test_our_client_survives_cuts(far_side: FarSide, etserver: EtServer) -> None:
    async with trio.open_nursery() as nursery:
        cutter = Cutter(etserver.port)
        near = await nursery.start(cutter.serve)
        command = trioet_to_et(far_side, etserver, "-p", str(near))
        async with at_terminal(command, far_side.environment) as person:
            await count_through_cuts(person, cutter)
        nursery.cancel_scope.cancel()


async def test_our_client_keeps_an_idle_session_with_keepalives(
    far_side: FarSide, etserver: EtServer
) -> None:
    command = trioet_to_et(far_side, etserver, "-p", str(etserver.port), "-k", "1")
    async with at_terminal(command, far_side.environment) as person:
        await person.run(b"true")
        await person.run(b"sleep 5")
        assert b"no reply" not in person.seen


async def test_our_client_catches_up_with_30_megabytes(
    far_side: FarSide, etserver: EtServer
) -> None:
    async with trio.open_nursery() as nursery:
        cutter = Cutter(etserver.port)
        near = await nursery.start(cutter.serve)
        command = trioet_to_et(far_side, etserver, "-p", str(near))
        async with at_terminal(command, far_side.environment) as person:
            await catch_up(person, cutter, far_side.runtime_dir)
        nursery.cancel_scope.cancel()


async def catch_up(person: Person, cutter: Cutter, directory: Path) -> None:
    """Be away while 30 MB are printed; get all of them, to the last byte."""
    made, go = directory / "made", directory / "go"
    await person.run(b"stty -echo")
    script = (
        f"echo WAIT''ING; until [ -e {go} ]; do sleep 0.05; done;"
        f" head -c {FAR_BYTES} /dev/zero | tr '\\0' x; touch {made}; echo DO''NE\n"
    )
    await person.type(script.encode())
    await person.until(b"WAITING")
    cutter.refuse = True
    cutter.cut()
    go.touch()
    await until(made.exists, patience_s=90)
    cutter.refuse = False
    shown = 0
    with trio.fail_after(60):
        while b"DONE" not in person.seen:
            await person.read_some()
            shown += person.seen.count(b"x")
            person.seen = person.seen.replace(b"x", b"")[-3000:]
    assert shown == FAR_BYTES


# et -> trioet serve


async def test_their_client_types_resizes_and_leaves(far_side: FarSide) -> None:
    command = et_to_trioet(far_side, far_side.start_router())
    async with at_terminal(command, far_side.environment, 33, 111) as person:
        await see_prompt(person)
        assert await person.run(b"stty size; echo $ET_VERSION") == b"33 111\r\n7.0.0\r\n"
        person.resize(50, 132)
        await person.run(b"sleep 0.3")
        assert await person.run(b"stty size") == b"50 132\r\n"
        await person.type(b"exit\n")
        await person.until(b"Session terminated")
        assert await person.end() == 0


async def test_their_client_runs_a_command(far_side: FarSide) -> None:
    port = far_side.start_router()
    command = et_to_trioet(far_side, port, "-c", "echo 6*7=$((6*7))")
    async with at_terminal(command, far_side.environment) as person:
        await person.until(b"6*7=42\r\n")
        await person.until(b"Session terminated")
        assert await person.end() == 0


async def test_their_client_survives_cuts(far_side: FarSide) -> None:
    async with trio.open_nursery() as nursery:
        cutter = Cutter(far_side.start_router())
        near = await nursery.start(cutter.serve)
        command = et_to_trioet(far_side, near)
        async with at_terminal(command, far_side.environment) as person:
            await see_prompt(person)
            await count_through_cuts(person, cutter)
        nursery.cancel_scope.cancel()


async def test_their_client_catches_up_with_30_megabytes(far_side: FarSide) -> None:
    async with trio.open_nursery() as nursery:
        cutter = Cutter(far_side.start_router())
        near = await nursery.start(cutter.serve)
        command = et_to_trioet(far_side, near)
        async with at_terminal(command, far_side.environment) as person:
            await see_prompt(person)
            await catch_up(person, cutter, far_side.runtime_dir)
        nursery.cancel_scope.cancel()


async def test_their_client_keeps_an_idle_session_with_keepalives(far_side: FarSide) -> None:
    """Two unanswered keepalives would make it drop the connection."""
    command = et_to_trioet(far_side, far_side.start_router(), "-k", "1")
    async with at_terminal(command, far_side.environment) as person:
        await see_prompt(person)
        await person.run(b"sleep 5")
        assert "ended" not in far_side.keeper_log()


async def test_their_session_survives_a_killed_router(far_side: FarSide) -> None:
    port = far_side.start_router()
    command = et_to_trioet(far_side, port)
    async with at_terminal(command, far_side.environment) as person:
        await see_prompt(person)
        await person.run(b"true")
        far_side.stop_router(signal.SIGKILL)
        assert await person.run(b"echo still here") == b"still here\r\n"
        far_side.start_router(port)
        assert await person.run(b"echo and now") == b"and now\r\n"


async def test_their_client_ends_other_sessions(far_side: FarSide) -> None:
    """`et -x` kills processes called etterminal; ours have ended long before."""
    command = et_to_trioet(far_side, far_side.start_router(), "-x")
    async with at_terminal(command, far_side.environment) as person:
        await see_prompt(person)
        assert await person.run(b"echo fine") == b"fine\r\n"


# strangers beside a real et


async def test_strangers_who_know_the_id_of_a_real_et_displace_nothing(
    far_side: FarSide,
) -> None:
    port = far_side.start_router()
    network = FaultyNetwork("127.0.0.1", port, seed=1)
    async with trio.open_nursery() as nursery:
        near = await nursery.start(network.serve)
        command = et_to_trioet(far_side, near)
        async with at_terminal(command, far_side.environment) as person:
            await see_prompt(person)
            recorded, before = network.newest_recording(), network.accepted
            hello = recorded[:28]
            for number in range(60):
                forged = hello + sequence_header_frame(number % 5) + catchup_head([])
                said = (hello, forged, forged + packet_frame(bytes(40)), recorded)[number % 4]
                stranger = await trio.open_tcp_stream("127.0.0.1", port)
                await stranger.send_all(said)
                nursery.start_soon(_listen, stranger)
                if number % 10 == 0:
                    asked = b"echo %d''%d" % (number, number)
                    assert await person.run(asked) == b"%d%d\r\n" % (number, number)
            assert network.accepted == before, "et had to connect again"
            for cable in list(network.connections):
                cable.cut(reset=True)
            assert await person.run(b"echo back") == b"back\r\n"
            await person.type(b"exit\n")
            await person.end()
        nursery.cancel_scope.cancel()


async def _listen(stream: trio.SocketStream) -> None:
    async with stream:
        with suppress(trio.BrokenResourceError):
            async for _ in stream:
                pass
