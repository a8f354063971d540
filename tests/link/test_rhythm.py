"""How rarely an idle line is asked: as the way to the peer bears, and no more rarely."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.link.rhythm import AGAIN_AFTER, BUSY_S, LONGEST_S, Rhythm

SHORTEST_S = 5.0
HOUR_S = 3600.0
PACKETS_A_QUESTION = 3
"""Question, answer, and the kernel's acknowledgement of the answer."""


class Nat:
    """What forgets a connection after ``life`` seconds of silence, and the rhythm that learns."""

    def __init__(self, life: float, longest: float = LONGEST_S) -> None:
        self.rhythm = Rhythm(SHORTEST_S, longest)
        self.life = life
        self.now = 0.0
        self.asked = 0
        self.lost = 0

    def pass_time(self, seconds: float) -> None:
        """Ask whenever it is time; nothing else moves."""
        end = self.now + seconds
        while True:
            silence = self.rhythm.silence(self.now)
            if self.now + silence > end:
                self.now = end
                return
            self.now += silence
            self.asked += 1
            if silence < self.life:
                self.rhythm.outlived(silence)
            else:
                self.lost += 1
                self.rhythm.died(silence)


def test_an_idle_hour_takes_sixty_packets() -> None:
    nat = Nat(life=2 * HOUR_S)
    nat.pass_time(HOUR_S)
    nat.asked = 0
    nat.pass_time(HOUR_S)
    assert nat.asked * PACKETS_A_QUESTION <= 60


def test_a_line_in_use_is_asked_often_and_for_a_while_after() -> None:
    rhythm = Rhythm(SHORTEST_S, LONGEST_S)
    assert rhythm.used(1000.0)
    assert not rhythm.used(1001.0)
    rhythm.outlived(SHORTEST_S)
    assert rhythm.silence(1001.0 + BUSY_S - 0.1) == SHORTEST_S
    assert rhythm.silence(1001.0 + BUSY_S) > SHORTEST_S
    assert rhythm.used(2000.0)
    assert rhythm.silence(2000.0) == SHORTEST_S


def test_what_killed_a_line_is_not_tried_again_soon_even_after_use() -> None:
    nat = Nat(life=60)
    nat.pass_time(600)
    assert nat.lost == 1
    nat.rhythm.used(nat.now)
    nat.pass_time(600)
    assert nat.lost == 1
    assert nat.rhythm.limit < nat.life


def test_bad_luck_is_forgotten_in_time() -> None:
    rhythm = Rhythm(SHORTEST_S, LONGEST_S)
    rhythm.died(LONGEST_S)
    for _ in range(AGAIN_AFTER + 10):
        rhythm.outlived(rhythm.silence(BUSY_S))
    assert rhythm.limit == LONGEST_S


def test_a_fixed_interval_stays_whatever_happens() -> None:
    rhythm = Rhythm(7.0, 7.0)
    for _ in range(50):
        rhythm.outlived(7.0)
        rhythm.died(7.0)
        assert rhythm.silence(0.0) == rhythm.silence(1e6) == 7.0


@given(life=st.floats(min_value=SHORTEST_S + 0.1, max_value=4 * LONGEST_S))
def test_any_nat_that_lives_longer_than_the_shortest_silence_loses_few_lines(life: float) -> None:
    nat = Nat(life)
    nat.pass_time(12 * HOUR_S)
    assert nat.lost <= 12  # down to what it bears, and then ever more rarely one try
    assert min(life, LONGEST_S) / 4 <= nat.rhythm.limit <= LONGEST_S


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["used", "outlived", "died"]),
            st.floats(min_value=0, max_value=1000),
        )
    ),
    st.floats(min_value=1, max_value=200),
    st.floats(min_value=1, max_value=200),
)
def test_no_history_leads_out_of_bounds(
    history: list[tuple[str, float]], shortest: float, longest: float
) -> None:
    rhythm = Rhythm(shortest, longest)
    for now, (what, number) in enumerate(history):
        if what == "used":
            rhythm.used(100.0 * now)
        else:
            getattr(rhythm, what)(number)
        for moment in (100.0 * now, 100.0 * now + BUSY_S):
            assert shortest <= rhythm.silence(moment) <= max(shortest, longest)


@pytest.mark.parametrize("silence", [0.0, SHORTEST_S])
def test_a_death_in_use_teaches_nothing(silence: float) -> None:
    rhythm = Rhythm(SHORTEST_S, LONGEST_S)
    rhythm.died(silence)
    assert rhythm.limit == LONGEST_S
