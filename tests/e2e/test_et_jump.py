"""ET's jump with our programs in every place; for the real ones see tests/interop."""

from __future__ import annotations

import jumping
from jumps import OURS, Travel


async def test_typing_resizing_and_leaving(travel: Travel) -> None:
    await jumping.types_resizes_and_leaves(travel(OURS, OURS, OURS))


async def test_cuts_on_either_leg_lose_nothing(travel: Travel) -> None:
    await jumping.loses_nothing_through_cuts(travel(OURS, OURS, OURS))
