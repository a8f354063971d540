"""proof/chaos in small: the real programs, fifty cuts of every kind, every byte compared."""

from __future__ import annotations

import pytest
import trio
from proof.chaos import Chaos
from proof.stage import open_stage

pytestmark = [pytest.mark.e2e, pytest.mark.proof]

SEED = 50
CUTS = 50
SIZE = 96 * 1024 * 1024


def test_fifty_cuts_lose_double_and_move_nothing() -> None:
    with open_stage() as stage:
        chaos = Chaos(stage, seed=SEED, sessions=2, size=SIZE, cuts=CUTS)
        report = trio.run(chaos.run)
    assert not report.failures
    assert report.cuts >= CUTS
    assert report.bytes == SIZE
