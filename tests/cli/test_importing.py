from __future__ import annotations

import gc

import pytest

from trioet.cli.importing import imported


def test_nothing_is_collected_meanwhile_and_what_was_imported_is_passed_over_later() -> None:
    frozen = gc.get_freeze_count()
    made: list[list[int]] = []

    def load() -> bool:
        made.append([])
        return gc.isenabled()

    assert not imported(load)
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen


def test_what_cannot_be_imported_leaves_the_collector_at_work() -> None:
    def load() -> None:
        raise ImportError("there is none")

    with pytest.raises(ImportError, match="there is none"):
        imported(load)
    assert gc.isenabled()
