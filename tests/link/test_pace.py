"""How much bulk is in flight: the window fills the network and leaves no queue in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioet.link.pace import (
    LEAST_CHUNK,
    LEAST_WINDOW,
    MEMORY_S,
    MOST_CHUNK,
    MOST_WINDOW,
    Pace,
)

CHUNK = 64 * 1024


class Network:
    """A path with a rate and a round trip; what comes faster waits in its queue."""

    def __init__(self, rate: float, round_trip: float) -> None:
        self.pace = Pace()
        self.rate, self.round_trip = rate, round_trip
        self.now = 0.0
        self.delay = 0.0
        self._free_at = 0.0
        self._sent = 0
        self._arrivals: list[tuple[float, int]] = []

    def fill(self) -> None:
        """Send what the window takes."""
        while self.pace.has_room():
            self._sent += 1
            self.pace.sent(self._sent, self.pace.chunk, self.now)
            self._free_at = max(self._free_at, self.now) + self.pace.chunk / self.rate
            self._arrivals.append((self._free_at + self.round_trip, self._sent))

    def go_on(self) -> None:
        """Let the next acknowledgement come."""
        sent_before = self.now
        self.now, ordinal = self._arrivals.pop(0)
        self.delay = self._free_at - sent_before
        self.pace.acknowledged(ordinal, self.now)

    def run(self, seconds: float) -> float:
        """Send as much as may be; return how long the queue was in the end, in seconds."""
        until = self.now + seconds
        while self.now < until:
            self.fill()
            self.go_on()
        return max(0.0, self._free_at - self.now)


def test_a_window_that_is_full_has_no_room() -> None:
    pace = Pace()
    pace.sent(1, LEAST_WINDOW - 1, 0.0)
    assert pace.has_room()
    pace.sent(2, 1, 0.0)
    assert not pace.has_room()
    pace.acknowledged(1, 0.1)
    assert pace.has_room()
    assert pace.in_flight == 1
    assert repr(pace).endswith("in_flight=1>")


def test_it_grows_to_fill_a_long_path() -> None:
    network = Network(rate=50e6, round_trip=0.1)
    network.run(5)
    assert network.pace.window >= 50e6 * 0.1


def test_it_leaves_no_queue_in_a_slow_one() -> None:
    """What is beyond the path's own capacity is less than the least window, and a little."""
    network = Network(rate=10e6, round_trip=0.04)
    queue = network.run(10)
    assert queue <= LEAST_WINDOW / 10e6 + 0.04
    assert network.pace.window < 4 * LEAST_WINDOW


def test_a_path_that_became_longer_is_learnt_anew() -> None:
    network = Network(rate=50e6, round_trip=0.01)
    network.run(2)
    network.round_trip = 0.1
    network.run(3)
    held_back = network.pace.window
    network.run(3 * MEMORY_S)
    assert network.pace.window > 2 * held_back


def test_an_interruption_teaches_nothing() -> None:
    pace = Pace()
    for ordinal in range(1, 10):
        pace.sent(ordinal, CHUNK, 0.0)
    pace.has_room()
    pace.acknowledged(1, 0.01)
    window = pace.window
    pace.interrupted()
    pace.acknowledged(9, 500.0)
    assert pace.window == window
    assert pace.in_flight == 0


def test_without_use_it_does_not_grow() -> None:
    pace = Pace()
    for ordinal in range(1, 100):
        assert pace.has_room()
        pace.sent(ordinal, 100, float(ordinal))
        pace.acknowledged(ordinal, ordinal + 0.01)
    assert pace.window == LEAST_WINDOW


acknowledgements = st.lists(
    st.tuples(st.integers(0, 200_000), st.floats(0, 100), st.booleans(), st.booleans()),
    max_size=200,
)


@given(acknowledgements)
def test_whatever_comes_it_stays_within_bounds(events: list[tuple[int, float, bool, bool]]) -> None:
    pace = Pace()
    now, in_flight = 0.0, []
    for sent, (size, step, acknowledge, interrupt) in enumerate(events, 1):
        now += step
        pace.has_room()
        pace.sent(sent, size, now)
        in_flight.append(size)
        if interrupt:
            pace.interrupted()
        if acknowledge:
            pace.acknowledged(sent, now + step)
            in_flight.clear()
        assert pace.in_flight == sum(in_flight)
        assert LEAST_WINDOW <= pace.window <= MOST_WINDOW
        assert LEAST_CHUNK <= pace.chunk <= MOST_CHUNK
        assert pace.has_room() == (pace.in_flight < pace.window)
