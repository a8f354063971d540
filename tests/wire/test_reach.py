from __future__ import annotations

from trioet.wire.reach import Failure


def test_the_numbers_are_those_that_peers_know() -> None:
    assert {failure.name: failure.value for failure in Failure} == {
        "REFUSED": 1,
        "NOT_ALLOWED": 2,
        "HOST_UNREACHABLE": 3,
        "NETWORK_UNREACHABLE": 4,
        "TIMED_OUT": 5,
        "NO_SUCH_HOST": 6,
        "GENERAL": 7,
    }
