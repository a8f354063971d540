"""The tape: what of a session's output somebody gets who begins late, or falls behind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioet.session.tape import CLEARED, LONGEST_LINE, MAX_TAPE, Tape


def test_what_was_written_is_read_by_place() -> None:
    tape = Tape()
    tape.feed(b"one\n")
    tape.feed(b"two\n")
    assert tape.fresh(MAX_TAPE) == (CLEARED, 0)
    assert tape.read(0, 6) + tape.read(6, 100) == b"one\ntwo\n"
    assert tape.read(8, 100) == b""


@given(st.lists(st.binary(max_size=300), max_size=60), st.integers(1, 600))
def test_no_more_is_kept_than_there_may_be_and_what_is_kept_is_true(
    parts: list[bytes], most: int
) -> None:
    tape = Tape(500)
    written = b""
    for part in parts:
        tape.feed(part)
        written += part
        assert tape.end == len(written)
        assert tape.end - tape.begin <= 500
        first, place = tape.fresh(most)
        assert first.startswith(CLEARED)
        assert tape.begin <= place <= tape.end
        assert tape.read(place, 10_000) == written[place:]
        assert tape.read(tape.begin, 10_000) == written[tape.begin :]


def test_it_begins_behind_the_end_of_a_line_where_one_is_near() -> None:
    tape = Tape(10_000)
    for number in range(5000):
        tape.feed(b"line %d\n" % number)
    assert tape.read(tape.begin, 5) == b"line "
    _, place = tape.fresh(1000)
    assert tape.read(place, 5) == b"line "
    assert tape.end - 1000 <= place <= tape.end - 980


def test_without_lines_it_begins_with_a_sequence_or_where_it_may() -> None:
    tape = Tape()
    tape.feed(b"x" * 3000 + b"\x1b[Hdrawn" + b"y" * 1000)
    _, place = tape.fresh(2000)
    assert tape.read(place, 8) == b"\x1b[Hdrawn"
    tape.feed(b"z" * (2 * LONGEST_LINE))
    _, place = tape.fresh(2 * LONGEST_LINE)
    assert place == tape.end - 2 * LONGEST_LINE


def test_modes_that_were_switched_before_are_told() -> None:
    tape = Tape(1000)
    tape.feed(b"\x1b[?1049h\x1b[?1;2004h\x1b[?25l\x1b[?777h\n")
    for _ in range(20):
        tape.feed(b"text " * 20 + b"\n")
    first, _ = tape.fresh(1000)
    assert first == CLEARED + b"\x1b[?1049h\x1b[?1h\x1b[?2004h\x1b[?25l"
    tape.feed(b"\x1b[?25h\n" + b"x\n" * 100)
    first, _ = tape.fresh(100)
    assert first == CLEARED + b"\x1b[?1049h\x1b[?1h\x1b[?2004h\x1b[?25h"
    tape.feed(b"\x1bc\n" + b"x\n" * 100)
    assert tape.fresh(100)[0] == CLEARED
