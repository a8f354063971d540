"""What the fuzzers keep, without the fuzzer: every input, on every Python."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "fuzz"
FUZZERS = sorted(path.stem for path in FUZZ.glob("fuzz_*.py"))


@pytest.fixture(autouse=True)
def logging_again() -> Iterator[None]:
    """Fuzzers have no use for logs, and switch them off."""
    yield
    logging.disable(logging.NOTSET)


def test_there_are_fuzzers() -> None:
    assert len(FUZZERS) >= 11


@pytest.mark.parametrize("name", FUZZERS)
def test_nothing_kept_is_a_find(name: str) -> None:
    target = importlib.import_module(name).TARGET
    kept = sorted((FUZZ / "corpus" / name).iterdir())
    assert kept
    for data in (*target.seeds, *(path.read_bytes() for path in kept)):
        target.check(data)
