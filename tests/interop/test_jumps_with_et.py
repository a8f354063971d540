"""ET's jump with the real Eternal Terminal 7.0 programs in every place."""

from __future__ import annotations

from itertools import product

import pytest

import jumping
from jumps import OURS, THEIRS, Travel
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
