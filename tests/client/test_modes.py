"""What the far side has left on, and what undoes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.client.modes import MAX_HELD, TerminalModes


def undo(*output: bytes) -> bytes:
    """What undoes what ``output`` has left on."""
    modes = TerminalModes()
    for part in output:
        modes.feed(part)
    return modes.reset_sequence()


LEFT_ON = {
    "application cursor keys": (b"\x1b[?1h", b"\x1b[?1l"),
    "reverse video": (b"\x1b[?5h", b"\x1b[?5l"),
    "no autowrap": (b"\x1b[?7l", b"\x1b[?7h"),
    "no cursor": (b"\x1b[?25l", b"\x1b[?25h"),
    "no key repeat": (b"\x1b[?8l", b"\x1b[?8h"),
    "mouse and paste": (
        b"\x1b[?1000;1002h\x1b[?1006;2004h",
        b"\x1b[?1000l\x1b[?1002l\x1b[?1006l\x1b[?2004l",
    ),
    "focus": (b"\x1b[?1004h", b"\x1b[?1004l"),
    "synchronized output": (b"\x1b[?2026h", b"\x1b[?2026l"),
    "theme and size reports": (b"\x1b[?2031h\x1b[?2048h", b"\x1b[?2031l\x1b[?2048l"),
    "alternate screen": (b"\x1b[?1049h", b"\x1b[?1049l"),
    "old alternate screen": (b"\x1b[?47h", b"\x1b[?47l"),
    "insert mode": (b"\x1b[4h", b"\x1b[4l"),
    "keypad": (b"\x1b=", b"\x1b>"),
    "colours": (b"\x1b[1;31mred", b"\x1b[m"),
    "black, whose number is 0": (b"\x1b[38;5;0m", b"\x1b[m"),
    "underline with a style": (b"\x1b[4:3m", b"\x1b[m"),
    "line drawing": (b"\x1b(0", b"\x1b(B"),
    "shifted line drawing": (b"\x1b)0\x0e", b"\x0f\x1b)B"),
    "scrolling region": (b"\x1b[2;10r", b"\x1b7\x1b[r\x1b8"),
    "cursor style": (b"\x1b[5 q", b"\x1b[0 q"),
    "kitty keyboard, pushed": (b"\x1b[>1u\x1b[>5u", b"\x1b[<2u"),
    "kitty keyboard, pushed and popped": (b"\x1b[>1u\x1b[>5u\x1b[<u", b"\x1b[<1u"),
    "kitty keyboard, set": (b"\x1b[=5u", b"\x1b[=0;1u"),
    "kitty keyboard, one flag added": (b"\x1b[=1;2u", b"\x1b[=0;1u"),
    "kitty keyboard on the alternate screen": (
        b"\x1b[>1u\x1b[?1049h\x1b[>3u",
        b"\x1b[<1u\x1b[?1049l\x1b[<1u",
    ),
    "modified keys": (b"\x1b[>4;2m", b"\x1b[>4m"),
    "an unfinished image": (b"\x1bPq" + b"#0" * MAX_HELD, b"\x1b\\"),
}

NOTHING_LEFT_ON = {
    "text": "żółć\r\n".encode(),
    "vim": b"\x1b[?1049h\x1b[?1h\x1b=\x1b[?2004h\x1b[1;24r\x1b[?25l\x1b[?25h"
    b"\x1b[?2004l\x1b[r\x1b>\x1b[?1l\x1b[?1049l",
    "one mode of a list after the other": b"\x1b[?1000;1006h\x1b[?1006l\x1b[?1000l",
    "modes that are off again": b"\x1b[?1000h\x1b[?1000l\x1b[?25l\x1b[?25h",
    "modes that were never on": b"\x1b[?1000l\x1b[?25h\x1b[?1049l\x1b[<u",
    "1049 left by 47": b"\x1b[?1049h\x1b[?47l",
    "a saved cursor": b"\x1b[?1048h",
    "modes on which terminals differ": b"\x1b[?12h\x1b[?1034h\x1b[?1007h\x1b[?80h",
    "colours taken back": b"\x1b[31m\x1b[mtext\x1b[1m\x1b[0;0m",
    "the same character set": b"\x1b(0lqk\x1b(B",
    "shift in": b"\x1b)0\x0elqk\x0f\x1b)B",
    "the whole region": b"\x1b[2;5r\x1b[;r",
    "the usual cursor": b"\x1b[3 q\x1b[ q",
    "xterm's keys": b"\x1b[>4;2m\x1b[>4;m",
    "keyboard pushed and popped": b"\x1b[>1u\x1b[=3u\x1b[<9u",
    "keyboard set to nothing": b"\x1b[=3u\x1b[=0u",
    "a query": b"\x1b[?u\x1b[?2026$p\x1b[c\x1b[>c\x1b[6n\x1b[?1$p",
    "a resource of keys that does not exist": b"\x1b[>99;2m",
    "a full reset": b"\x1b[?1049h\x1b[?1000;25l\x1b[1m\x1b=\x1b[>1u\x1bc",
    "a number that is none": b"\x1b[?" + b"9" * 5000 + b"h",
    "a title with what looks like a mode": b"\x1b]0;[?1000h\x07",
}


@pytest.mark.parametrize(("output", "expected"), LEFT_ON.values(), ids=LEFT_ON.keys())
def test_what_is_left_on_is_undone(output: bytes, expected: bytes) -> None:
    assert undo(b"text" + output + b"text" * ("image" not in str(output))) == expected


@pytest.mark.parametrize("output", NOTHING_LEFT_ON.values(), ids=NOTHING_LEFT_ON.keys())
def test_where_nothing_is_left_on_nothing_is_undone(output: bytes) -> None:
    assert undo(output) == b""


def test_colours_return_with_a_restored_cursor() -> None:
    assert undo(b"\x1b[31m\x1b7\x1b[m\x1b8") == b"\x1b[m"
    assert undo(b"\x1b7\x1b[31m\x1b8") == b""
    assert undo(b"\x1b[31m\x1b[?1049h\x1b[m") == b"\x1b[?1049l\x1b[m"
    assert undo(b"\x1b[?1049h\x1b[31m") == b"\x1b[?1049l"


def test_a_soft_reset_leaves_mouse_and_alternate_screen_on() -> None:
    output = b"\x1b[?1000;1049h\x1b[?1h\x1b[?25l\x1b=\x1b[1m\x1b[2;5r\x1b[4h\x1b[!p"

    assert undo(output) == b"\x1b[?1000l\x1b[?1049l"


def test_on_the_alternate_screen_the_region_is_reset_without_touching_the_saved_cursor() -> None:
    assert undo(b"\x1b[?1049h\x1b[2;5r") == b"\x1b[r\x1b[?1049l"


def test_the_alternate_screen_is_known_while_it_is_up() -> None:
    modes = TerminalModes()

    seen = []
    for part in (b"$ vim\r\n", b"\x1b[?10", b"49h", b"~\r\n", b"\x1b[?1049l"):
        modes.feed(part)
        seen.append(modes.alternate_screen)

    assert seen == [False, False, True, True, False]


def test_resetting_twice_undoes_once() -> None:
    modes = TerminalModes()
    modes.feed(b"\x1b[?1049h\x1b[?1000h")

    assert modes.reset_sequence()
    assert modes.reset_sequence() == b""
    assert not modes.alternate_screen


def test_output_is_passed_on_as_it_came() -> None:
    output = b"\x1b[31mred\x1b[m\r\n"

    assert TerminalModes().feed(output) is output


CUT_OFF = [b"\x1b", b"\x1b[", b"\x1b[38;5", b"\x1b[5 ", b"\x1b(", b"\x1b]0;tit", b"\x1bPq#0"]


@pytest.mark.parametrize(
    "end", [*CUT_OFF, b"\x1b]0;title\x1b", b"\xe6\xbc", b"\xf0\x9f\x98", b"\xc3"]
)
def test_what_is_cut_off_comes_whole_with_the_next_output(end: bytes) -> None:
    modes = TerminalModes()

    assert modes.feed(b"text" + end) == b"text"
    assert modes.interruptible
    assert modes.feed(b"Z") + modes.take_held() == end + b"Z"


@pytest.mark.parametrize(
    "end", [b"\x1b[m", b"\x1bc", b"\x1b(B", b"\x07", b"\x1b[3\x18", "漢".encode(), b"\xbc", b"\xff"]
)
def test_what_is_whole_is_not_held_back(end: bytes) -> None:
    assert TerminalModes().feed(b"text" + end) == b"text" + end


def test_what_is_held_back_at_the_end_can_be_had() -> None:
    modes = TerminalModes()
    modes.feed(b"text\x1b[3")

    assert modes.take_held() == b"\x1b[3"
    assert modes.take_held() == b""


def test_in_other_encodings_than_utf8_no_character_is_held_back() -> None:
    assert TerminalModes(utf8=False).feed(b"caf\xe9") == b"caf\xe9"


def test_a_long_string_is_passed_on_and_must_not_be_interrupted() -> None:
    modes, image = TerminalModes(), b"\x1bPq" + b"#0;2;0;0;0" * 100
    seen = []

    for part in (image, image[3:], b"\x1b", b"\\text"):
        modes.feed(part)
        seen.append(modes.interruptible)

    assert seen == [False, False, False, True]


def test_a_bell_ends_a_long_title() -> None:
    modes = TerminalModes()
    modes.feed(b"\x1b]52;c;" + b"QUJD" * 100)

    modes.feed(b"QUJD\x07$ ")

    assert modes.interruptible


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"$ echo hello\x1b[5D", False),
        (b"one\r\ntwo\x1b[A", True),
        (b"one\r\ntwo\x1b[A\r\n", False),
        (b"one\r\ntwo\r\nthree\x1b[2A\r\n", True),
        (b"one\r\n\x1b[H$ ", True),
        (b"one\r\n\x1b[H\x1b[2J$ ", False),
        (b"one\r\n\x1b[H\x1b[J$ ", False),
        (b"\x1b7one\r\ntwo\x1b8", True),
        (b"one\x1bM", True),
        (b"one\x1bM" + b"x" * 2000, False),
        (b"one\x1b[99999A", True),
    ],
)
def test_text_below_the_cursor_is_guessed_from_its_moves(output: bytes, expected: bool) -> None:
    modes = TerminalModes()
    modes.feed(output)

    assert modes.text_below is expected


PIECES = st.lists(
    st.one_of(
        st.sampled_from([pair[0] for pair in LEFT_ON.values()]),
        st.sampled_from(list(NOTHING_LEFT_ON.values())),
        st.sampled_from([*CUT_OFF, "漢字".encode(), b"\x0e", b"\x0f", b"\x1b7", b"\x1b8", b"\x1b"]),
        st.lists(st.sampled_from(b"\x1b[]?>=<P;0149hlumrpq78c \\\x07\x18(m"), max_size=12).map(
            bytes
        ),
        st.binary(max_size=8),
    ),
    max_size=12,
).map(b"".join)


@given(PIECES, st.lists(st.integers(1, 300), max_size=40))
def test_slicing_never_changes_anything(output: bytes, cuts: list[int]) -> None:
    whole, sliced = TerminalModes(), TerminalModes()

    written = whole.feed(output)
    rest, parts = output, b""
    for size in cuts:
        parts += sliced.feed(rest[:size])
        rest = rest[size:]
    parts += sliced.feed(rest)

    assert parts == written
    assert sliced.interruptible == whole.interruptible
    assert sliced.alternate_screen == whole.alternate_screen
    assert sliced.text_below == whole.text_below
    assert parts + sliced.take_held() == output == written + whole.take_held()
    assert sliced.reset_sequence() == whole.reset_sequence()


@given(PIECES)
def test_the_undoing_undoes_everything(output: bytes) -> None:
    modes, same = TerminalModes(), TerminalModes()
    modes.feed(output)
    same.feed(output)
    same.take_held()

    same.feed(modes.reset_sequence())

    assert same.interruptible
    assert same.reset_sequence() == b""
