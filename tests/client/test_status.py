"""The status line: its bytes, and what a real terminal (tmux) makes of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.client.modes import TerminalModes
from trioet.client.status import StatusLine, cut

ROWS, COLUMNS = 24, 80
TEXT = "trioet: no reply from host for 3 s"


def test_nothing_is_shown_at_first() -> None:
    status = StatusLine()

    assert not status.shown
    assert status.clear() == b""
    assert not status.needs_redraw


def test_the_line_is_shown_until_it_is_cleared() -> None:
    status = StatusLine()

    assert TEXT.encode() in status.show(TEXT, ROWS, COLUMNS, False)
    assert status.shown
    assert status.clear()
    assert not status.shown
    assert status.clear() == b""


def test_only_a_line_on_the_alternate_screen_leaves_something_to_redraw() -> None:
    status = StatusLine()

    status.show(TEXT, ROWS, COLUMNS, False)
    status.clear()
    on_main = status.needs_redraw
    status.show(TEXT, ROWS, COLUMNS, True)
    while_shown = status.needs_redraw
    status.clear()

    assert (on_main, while_shown, status.needs_redraw) == (False, False, True)


def test_a_screen_with_no_room_for_a_line_gets_none() -> None:
    status = StatusLine()

    assert status.show(TEXT, 1, COLUMNS, False) == b""
    assert status.show(TEXT, ROWS, 1, True) == b""
    assert not status.shown


def test_a_window_that_became_too_small_loses_the_line() -> None:
    status = StatusLine()
    status.show(TEXT, ROWS, COLUMNS, True)

    assert b"\x1b[24;1H" in status.show(TEXT, 1, COLUMNS, True)
    assert not status.shown
    assert status.needs_redraw


def test_another_height_of_the_alternate_screen_moves_the_line() -> None:
    status = StatusLine()
    status.show(TEXT, ROWS, COLUMNS, True)

    moved = status.show(TEXT, 30, COLUMNS, True)

    assert moved.index(b"\x1b[24;1H") < moved.index(b"\x1b[30;1H") < moved.index(TEXT.encode())


def test_wide_characters_count_two_and_combining_ones_none() -> None:
    assert cut("a漢字b", 4) == "a漢"
    assert cut("e\u0301e\u0301x", 2) == "e\u0301e\u0301"


def test_control_characters_never_reach_the_terminal() -> None:
    assert cut("a\x1b[2Jb\nc\x9bd\u202e", 80) == "a[2Jbcd"


@given(st.text(max_size=40), st.integers(0, 30))
def test_a_cut_text_is_a_beginning_of_what_can_be_printed(text: str, width: int) -> None:
    printable = "".join(filter(str.isprintable, text))

    kept = cut(text, width)

    assert printable.startswith(kept)
    assert cut(text, 2 * len(text)) == printable


# What a terminal makes of it


@dataclass
class Terminal:
    """A real tmux, written to through the tty of its pane."""

    environment: dict[str, str]
    name: str
    tty: int = -1
    marks: int = 0

    def tmux(self, command: str, *arguments: str) -> str:
        return subprocess.run(
            ["tmux", "-f", "/dev/null", "-L", self.name, command, *arguments],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def ask(self, name: str) -> str:
        return self.tmux("display-message", "-p", f"#{{{name}}}").rstrip("\n")

    def capture(self, *how: str) -> list[str]:
        lines = self.tmux("capture-pane", "-p", *how)
        return lines.rstrip("\n").split("\n")

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "\n".join(self.capture())
            time.sleep(0.005)

    def write(self, data: bytes) -> None:
        """Write, and return when tmux has dealt with it: it then has the new title."""
        self.marks += 1
        mark = f"mark{self.marks}"
        os.write(self.tty, data + f"\x1b]2;{mark}\x1b\\".encode())
        self.until(lambda: self.ask("pane_title") == mark)

    def type(self, keys: str) -> None:
        self.tmux("send-keys", "-l", keys)

    def resize(self, rows: int, columns: int) -> None:
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def everything(self) -> tuple[list[str], int, int]:
        """All text in its colours with what has scrolled away; the cursor's row and column
        in it."""
        row = int(self.ask("history_size")) + int(self.ask("cursor_y"))
        return self.capture("-e", "-S", "-"), row, int(self.ask("cursor_x"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start a terminal with a program in it (by default one that is silent)."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TMUX")},
        **{"TMUX_TMPDIR": str(tmp_path), "LC_ALL": "C.UTF-8", "INPUTRC": "/dev/null"},
        **{"LESS": "", "VIMINIT": "set nocp noswf ruler"},
    }
    made: list[Terminal] = []

    def start(program: str = "exec cat", rows: int = ROWS, columns: int = COLUMNS) -> Terminal:
        terminal = Terminal(environment, f"terminal{len(made)}")
        made.append(terminal)
        terminal.tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), program)
        for option, value in (("window-size", "manual"), ("status", "off")):
            terminal.tmux("set-option", "-g", option, value)
        terminal.resize(rows, columns)
        terminal.tty = os.open(terminal.ask("pane_tty"), os.O_WRONLY | os.O_NOCTTY)
        return terminal

    yield start
    for terminal in made:
        terminal.tmux("kill-server")
        if terminal.tty >= 0:
            os.close(terminal.tty)


FULL = b"".join(b"line %d\r\n" % number for number in range(1, 40))
WRAPPED = b"$ " + b"x" * 100 + b"\x1b[A"
MENU = b"$ ls \r\nbin  etc  home\r\nlib  opt  usr\x1b[2A\r\x1b[5C"
SCREENS = {
    "cursor at the top": b"",
    "cursor on the bottom row": FULL + b"$ ",
    "cursor above text on the bottom row": FULL + b"$ \x1b[A",
    "in the middle of a line": b"$ echo hello\x1b[5D",
    "at the bottom in the middle of a line": FULL + b"$ echo hello\x1b[5D",
    "in the first row of a line that wraps": b"one\r\n" + WRAPPED,
    "the same at the bottom": FULL + WRAPPED,
    "above a menu of completions": b"one\r\n" + MENU,
    "the same, at the bottom": FULL + MENU,
    "a coloured background": FULL + b"\x1b[44;33mblue",
    "the line drawing set": FULL + b"\x1b(0lqqk",
    "the shifted line drawing set": FULL + b"\x1b)0\x0elqqk",
    "inside wide characters": "漢字漢字".encode() + b"\x1b[4D",
}


def status_of(terminal: Terminal, output: bytes) -> Callable[[str], bytes]:
    """Write ``output`` and return how to draw a line over it, as the client does."""
    modes, status = TerminalModes(), StatusLine()
    terminal.write(modes.feed(output))
    rows, columns = int(terminal.ask("pane_height")), int(terminal.ask("pane_width"))
    return lambda text: (
        status.show(text, rows, columns, modes.alternate_screen, modes.text_below)
        if text
        else status.clear()
    )


@pytest.mark.e2e
@pytest.mark.parametrize("output", SCREENS.values(), ids=SCREENS.keys())
def test_on_the_main_screen_the_line_goes_without_a_trace(
    start: Callable[..., Terminal], output: bytes
) -> None:
    terminal, untouched = start(), start()
    untouched.write(output)
    before = untouched.everything()
    line = status_of(terminal, output)

    terminal.write(line(TEXT))
    shown, row = terminal.capture(), int(terminal.ask("cursor_y"))
    cursor = terminal.everything()[1:]
    terminal.write(line(TEXT + ", longer"))
    terminal.write(line("short"))
    changed = terminal.capture()
    terminal.write(line(""))

    assert shown[row + 1] == TEXT
    assert changed[row + 1] == "short"
    assert cursor == before[1:]
    assert terminal.everything() == before
    # And what comes next is drawn as if nothing had been.
    for each in (terminal, untouched):
        each.write(b"qx\r\nnext")
    assert terminal.everything() == untouched.everything()


@pytest.mark.e2e
def test_the_line_appears_in_reverse_video(start: Callable[..., Terminal]) -> None:
    terminal = start()

    terminal.write(status_of(terminal, b"\x1b[31m$ ")(TEXT))

    colours, text = terminal.capture("-e")[1].split("trioet", 1)
    assert re.findall("[0-9]+", colours) == ["7", "39"]
    assert "trioet" + text == TEXT


@pytest.mark.e2e
@pytest.mark.parametrize("output", [WRAPPED, MENU, b"one\r\ntwo\x1b[H"])
def test_at_the_top_above_text_only_an_empty_line_scrolls_away(
    start: Callable[..., Terminal], output: bytes
) -> None:
    terminal = start()
    line = status_of(terminal, output)
    before, cursor = terminal.capture(), terminal.ask("cursor_y")

    terminal.write(line(TEXT))
    terminal.write(line(""))

    assert (terminal.capture(), terminal.ask("cursor_y")) == (before, cursor)
    assert terminal.capture("-S", "-", "-E", "-1") == [""]


@pytest.mark.e2e
@pytest.mark.parametrize("columns", [2, 3, 20, 34])
def test_in_a_narrow_window_the_line_never_wraps(
    start: Callable[..., Terminal], columns: int
) -> None:
    terminal = start(columns=columns)
    line = status_of(terminal, b"$")
    before = terminal.everything()

    terminal.write(line("漢字" + TEXT))
    shown = terminal.capture()
    terminal.write(line(""))

    assert shown[1:] == ([cut("漢字" + TEXT, columns - 1)] if columns > 2 else [])
    assert terminal.everything() == before


@pytest.mark.e2e
def test_a_window_that_shrinks_below_the_line_loses_no_text(
    start: Callable[..., Terminal],
) -> None:
    terminal = start()
    status = StatusLine()
    terminal.write(FULL + b"$ ")
    text = [line for line in terminal.capture("-S", "-") if line]

    terminal.write(status.show(TEXT, ROWS, COLUMNS, False))
    terminal.resize(10, COLUMNS)
    terminal.write(status.show(TEXT, 10, COLUMNS, False))
    shown = terminal.capture()
    terminal.write(status.clear())

    assert shown[-1] == TEXT
    assert [line for line in terminal.capture("-S", "-") if line] == text


@pytest.mark.e2e
@pytest.mark.parametrize("program", ["vim", "less"])
def test_on_the_alternate_screen_the_program_draws_the_covered_row_again(
    start: Callable[..., Terminal], tmp_path: Path, program: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    file = tmp_path / "text"
    file.write_bytes(FULL)
    terminal = start(f"exec {program} {file}")
    terminal.until(lambda: len(terminal.capture()) == ROWS)
    before, status = terminal.everything(), StatusLine()

    terminal.write(status.show(TEXT, ROWS, COLUMNS, True))
    shown = terminal.everything()
    terminal.write(status.clear())
    cleared = terminal.everything()
    assert status.needs_redraw
    terminal.resize(ROWS - 1, COLUMNS)
    terminal.resize(ROWS, COLUMNS)

    assert shown[1:] == cleared[1:] == before[1:]
    assert TEXT in shown[0][-1]
    assert shown[0][:-1] == before[0][:-1]
    terminal.until(lambda: terminal.everything()[0][:-1] == before[0][:-1])
    terminal.until(lambda: TEXT not in terminal.capture()[-1])


@pytest.mark.e2e
def test_a_shell_goes_on_with_the_line_that_was_being_typed(
    start: Callable[..., Terminal],
) -> None:
    terminal = start("exec env 'PS1=$ ' HISTFILE= bash --norc --noprofile -i")
    terminal.until(lambda: terminal.capture() == ["$"])
    terminal.type("echo lost")
    terminal.until(lambda: terminal.capture() == ["$ echo lost"])
    status = StatusLine()

    terminal.write(status.show(TEXT, ROWS, COLUMNS, False))
    terminal.write(status.clear())
    terminal.type(" nothing\n")

    terminal.until(lambda: terminal.capture() == ["$ echo lost nothing", "lost nothing", "$"])
