"""What a guest may do, whatever it says; the rest is in tests/web."""

from __future__ import annotations

import pytest

from trioet.session.guest import Grant
from trioet.wire.forward import Address, Forward, Side
from trioet.wire.forward_messages import Listen
from trioet.wire.messages import Exec, InitialPayload, WindowSize

GRANT = Grant((b"/bin/true",))


def test_of_wishes_the_features_are_left() -> None:
    there = Address("127.0.0.1", 1)
    wishes = InitialPayload(
        {b"LD_PRELOAD": b"x"},
        features=("acks", "channels"),
        exec=Exec(b"evil", pty=False, nothing=True),
        listens=(Listen(1, there),),
        reverse_tunnels=(Forward(Side.REMOTE, there, there),),
    )
    assert GRANT.limit(wishes) == InitialPayload(features=("acks", "channels"), exec=Exec())


@pytest.mark.parametrize(
    ("rows", "columns", "size"),
    [(0, 0, (30, 100)), (20, 0, (20, 100)), (0, 90, (30, 90)), (20, 90, (20, 90))],
)
def test_sizes(rows: int, columns: int, size: tuple[int, int]) -> None:
    granted = Grant((b"/bin/true",), rows=rows, columns=columns).size(WindowSize(30, 100))
    assert (granted.rows, granted.columns) == size
