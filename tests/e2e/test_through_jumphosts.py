"""ET's jump with our programs in every place; for the real ones see tests/interop."""

from __future__ import annotations

import subprocess

import pytest
import trio

import jumping
from jumps import OURS, Travel
from ptys import at_terminal

pytestmark = pytest.mark.e2e


async def test_typing_resizing_and_leaving(travel: Travel) -> None:
    await jumping.types_resizes_and_leaves(travel(OURS, OURS, OURS))


async def test_cuts_on_either_leg_lose_nothing(travel: Travel) -> None:
    await jumping.loses_nothing_through_cuts(travel(OURS, OURS, OURS))


async def test_what_is_typed_while_the_destination_is_away_arrives(travel: Travel) -> None:
    await jumping.keeps_what_is_typed_while_the_destination_is_away(travel(OURS, OURS, OURS))


async def test_tunnels(travel: Travel) -> None:
    await jumping.has_tunnels(travel(OURS, OURS, OURS))


async def test_ending_other_sessions(travel: Travel) -> None:
    await jumping.ends_other_sessions(travel(OURS, OURS, OURS))


async def test_a_command_s_exit_status_crosses_the_jumphost(travel: Travel) -> None:
    """What two trioets agree on, they agree on through a third."""
    journey = travel(OURS, OURS, OURS)
    command = journey.command("--", "echo out; echo err >&2; cat; exit 7")
    done = await trio.to_thread.run_sync(run, command, journey.environment)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\ntyped", b"err\n")


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command, input=b"typed", capture_output=True, env=environment, timeout=60, check=False
    )


async def test_what_cannot_be_reached_is_told(travel: Travel, free_port: int) -> None:
    journey = travel(OURS, OURS, OURS)
    async with at_terminal(journey.command(dport=free_port), journey.environment) as person:
        said = f"the jumphost cannot reach 127.0.0.1 port {free_port}: connection refused"
        await person.until(said.encode())
        assert await person.end() == 255


async def test_what_passes_for_a_real_jumphost_gets_no_offer(travel: Travel) -> None:
    """Its answer would not reach us; so we do all as ET does it, though the ends could more."""
    journey = travel(OURS, OURS, OURS)
    journey.hide_our_jumphost()
    await jumping.types_resizes_and_leaves(journey)
    await jumping.has_tunnels(journey)
