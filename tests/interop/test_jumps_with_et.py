"""ET's jump with the real Eternal Terminal 7.0 programs in every place."""

from __future__ import annotations

import socket
from itertools import product

import pytest

import jumping
from jumps import OURS, THEIRS, Travel
from ptys import at_terminal
from real_et import NEEDS_ET

pytestmark = [pytest.mark.interop, pytest.mark.e2e, NEEDS_ET]

MIXES = [mix for mix in product((OURS, THEIRS), repeat=3) if THEIRS in mix]
ALL_MIXES = pytest.mark.parametrize("mix", MIXES, ids=" ".join)


@ALL_MIXES
async def test_typing_resizing_and_leaving(travel: Travel, mix: tuple[str, str, str]) -> None:
    await jumping.types_resizes_and_leaves(travel(*mix))


@ALL_MIXES
async def test_cuts_on_either_leg_lose_nothing(travel: Travel, mix: tuple[str, str, str]) -> None:
    await jumping.loses_nothing_through_cuts(travel(*mix))


@ALL_MIXES
async def test_what_is_typed_while_the_destination_is_away_arrives(
    travel: Travel, mix: tuple[str, str, str]
) -> None:
    await jumping.keeps_what_is_typed_while_the_destination_is_away(travel(*mix))


@ALL_MIXES
async def test_tunnels(travel: Travel, mix: tuple[str, str, str]) -> None:
    await jumping.has_tunnels(travel(*mix))


@ALL_MIXES
async def test_ending_other_sessions(travel: Travel, mix: tuple[str, str, str]) -> None:
    await jumping.ends_other_sessions(travel(*mix))


# Destinations that cannot be reached


OUR_JUMPHOST = pytest.mark.parametrize("destination", [OURS, THEIRS])


@OUR_JUMPHOST
async def test_their_client_is_told_what_our_jumphost_cannot_reach(
    travel: Travel, free_port: int, destination: str
) -> None:
    journey = travel(THEIRS, OURS, destination)
    async with at_terminal(journey.command(dport=free_port), journey.environment) as person:
        said = f"the jumphost cannot reach 127.0.0.1 port {free_port}: connection refused"
        await person.until(said.encode())
        assert await person.end() == 1


async def test_their_client_is_told_in_time_of_a_destination_that_says_nothing(
    travel: Travel,
) -> None:
    """After three seconds it would no longer hear."""
    journey = travel(THEIRS, OURS, OURS)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = journey.command(dport=silent.getsockname()[1])
        async with at_terminal(command, journey.environment) as person:
            await person.until(b": no reply within 2.5 s")
            assert await person.end() == 1


async def test_what_a_real_destination_refuses_reaches_the_user(
    travel: Travel, free_port: int
) -> None:
    """ET's own jumphost keeps that to itself."""
    journey = travel(THEIRS, OURS, THEIRS)
    with socket.create_server(("127.0.0.1", free_port)):
        command = journey.command("-r", f"{free_port}:{free_port}")
        async with at_terminal(command, journey.environment) as person:
            await person.until(b"Error initializing connection: ")
            assert await person.end() == 1


async def test_a_real_jumphost_that_reaches_nothing_is_named_to_our_user(
    travel: Travel, free_port: int
) -> None:
    """It answers as if all were well, and then nothing comes."""
    journey = travel(OURS, THEIRS, OURS)
    async with at_terminal(journey.command(dport=free_port), journey.environment) as person:
        await person.until(b"trioet: the jumphost 127.0.0.1 answers, and nothing comes from")
        assert await person.end() == 255
