"""proof/roaming in small: every change of the network, and after each the session goes on.

No times here: how long it all took is for `python -m proof.roaming` to judge.
"""

from __future__ import annotations

import pytest
import trio
from proof.roaming import CHANGES, Roaming, places, why_not_here

pytestmark = [pytest.mark.e2e, pytest.mark.proof]

SEED = 5


def test_after_every_change_keys_and_output_arrive() -> None:
    if why := why_not_here():
        pytest.skip(why)
    with places(SEED, round_trip_s=0.02) as (roamer, gateway):
        roaming = Roaming(roamer, gateway, times=1)
        trio.run(roaming.run)
    assert {row.name for row in roaming.rows} == {c.__name__.replace("_", " ") for c in CHANGES}
    assert all(row.times for row in roaming.rows)
