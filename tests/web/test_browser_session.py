"""A session in a real browser: what is typed and shown, through all that befalls it."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from browsing import PATIENCE_S, Wire
from fixtures_web import MakeVisit, MakeWeb
from keepers import keepers_in

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

MANY_LINES = "?scrollback=100000&webgl=0"

PAGER = """
import os, signal, tty

page = 1

def draw(signum=None, frame=None):
    head = f"page {page}, drawn anew" if signum else f"page {page}"
    os.write(1, f"\\x1b[2J\\x1b[H{head}".encode())

tty.setraw(0)
signal.signal(signal.SIGWINCH, draw)
os.write(1, b"\\x1b[?1049h")
draw()
while (key := os.read(0, 1)) != b"q":
    page += 1
    draw()
os.write(1, b"\\x1b[?1049l")
os.system("stty sane")
"""
"""As `less`, but that loses a key which comes together with SIGWINCH: its handler leaves read()."""


def numbers(text: str) -> list[int]:
    return [int(line) for line in re.findall(r"^(\d+)$", text, re.MULTILINE)]


def test_what_is_typed_runs_and_is_shown(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w").port)
    seen.until_ready()
    seen.type("echo $((6 * 7)) grün\n")
    seen.until_shown("\n42 grün\n")


def test_the_program_has_the_size_of_the_page(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w").port)
    seen.until_ready()
    for width, height in [(900, 500), (500, 700)]:
        seen.page.set_viewport_size({"width": width, "height": height})
        seen.until("(width) => innerWidth === width", width)
        size = "[terminal.rows, terminal.cols].join(' ')"
        seen.until(
            "async ([was]) => { const { terminal } = document.querySelector('#terminal');"
            f" return {size} !== was && Math.abs(terminal.cols * 8.5 - innerWidth) < 60 }}",
            [""],
        )
        # Drawn in the frame after.
        seen.until(
            "() => document.querySelector('.xterm-screen').getBoundingClientRect().bottom"
            " <= document.querySelector('#terminal').getBoundingClientRect().bottom"
        )
        seen.run("stty size")
        shown = seen.page.evaluate(
            f"() => {{ const {{ terminal }} = document.querySelector('#terminal'); return {size} }}"
        )
        seen.until_shown(f"\n{shown}\n")


def test_a_fixed_size_holds_whatever_the_page_has(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w", "--width", "91", "--height", "17").port)
    seen.until_ready()
    seen.type("stty size\n")
    seen.until_shown("\n17 91\n")


def test_a_flood_stops_when_it_is_told_to(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w").port)
    seen.until_ready()
    seen.type("yes flood\n")
    seen.until("() => document.querySelector('#terminal').terminal.buffer.active.baseY >= 9000")
    seen.page.keyboard.press("Control+c")
    seen.type("echo it''stopped\n")
    seen.until_shown("\nitstopped\n")


def test_nothing_is_lost_while_the_network_breaks(
    make_web: MakeWeb, visit: MakeVisit, make_wire: Callable[[int], Wire]
) -> None:
    wire = make_wire(make_web("-w").port)
    seen = visit(wire.port, MANY_LINES)
    seen.until_ready()
    seen.type("seq 40000; echo d''one\n")
    for cut in range(8):
        seen.until(
            "(most) => document.querySelector('#terminal').terminal.buffer.active.length >= most",
            min(40_000, 4000 * (cut + 1)),
        )
        wire.cut()
    seen.until_shown("\ndone")
    assert numbers(seen.text) == list(range(1, 40_001))
    assert wire.cutter.cuts >= 3


def test_a_network_that_is_away_is_told_and_what_is_typed_is_kept(
    make_web: MakeWeb, visit: MakeVisit, make_wire: Callable[[int], Wire]
) -> None:
    wire = make_wire(make_web("-w").port)
    seen = visit(wire.port)
    seen.until_ready()
    seen.until_well()
    wire.cut(stay=True)
    seen.until_notice("No reply for")
    seen.type("echo typed while it was a''way\n")
    wire.mend()
    seen.until_shown("\ntyped while it was away\n")
    seen.until_well()


def test_a_reload_goes_on_at_the_byte(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w").port, MANY_LINES)
    seen.until_ready()
    seen.type(
        "echo before; for n in $(seq 300); do seq $((n * 100 - 99)) $((n * 100)); done;"
        " echo d''one\n"
    )
    for reload in range(4):
        seen.until(
            "(most) => document.querySelector('#terminal').terminal.buffer.active.length >= most",
            5000 * (reload + 1),
        )
        seen.page.reload()
    seen.until_shown("\ndone")
    text = seen.text
    assert numbers(text) == list(range(1, 30_001))
    assert text.count("\nbefore\n") == 1
    seen.type("echo the same she''ll\n")
    seen.until_shown("\nthe same shell\n")


def test_a_reload_in_the_middle_of_a_sequence_shows_no_part_of_it(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    seen = visit(make_web("-w").port)
    seen.until_ready()
    seen.type(
        "stty -echo; printf 'one \\e[3'; read; printf '1mtwo\\e[m gr\\303'; read; printf '\\274n'\n"
    )
    seen.until_shown("one")
    seen.page.reload()
    seen.until_shown("one")
    seen.type("\n")
    seen.until_shown("one two gr")
    seen.page.reload()
    seen.until_shown("one two gr")
    seen.type("\n")
    seen.until_shown("one two grün")


def test_trioet_web_may_be_restarted(make_web: MakeWeb, visit: MakeVisit) -> None:
    web = make_web("-w")
    seen = visit(web.port)
    seen.until_ready()
    seen.run("mine=before")
    web.stop()
    seen.until_notice("No reply for")
    web.start()
    seen.until_well()
    seen.type("echo $mine and af''ter\n")
    seen.until_shown("\nbefore and after\n")


def test_a_session_that_died_with_its_keeper_is_doubted_until_the_user_has_another(
    make_web: MakeWeb, visit: MakeVisit, runtime_dir: Path
) -> None:
    seen = visit(make_web("-w").port)
    seen.until_ready()
    seen.until_well()
    for pid in keepers_in(runtime_dir):
        os.kill(pid, signal.SIGKILL)
    seen.until_notice("does not know this session")
    seen.page.click("#notice button")
    seen.until_well()
    seen.type("echo another she''ll\n")
    seen.until_shown("\nanother shell\n")


def test_who_has_lost_the_login_logs_in_and_goes_on(
    make_web: MakeWeb, visit: MakeVisit, make_wire: Callable[[int], Wire]
) -> None:
    wire = make_wire(make_web("-w", "-c", "ann:open sesame").port)
    seen = visit(wire.port)
    seen.log_in("ann", "open sesame")
    seen.until_ready()
    seen.run("x=kept")
    seen.page.context.clear_cookies()
    wire.cut()
    seen.page.wait_for_selector("#login[open]")
    seen.log_in("ann", "open sesame")
    seen.until("() => !document.querySelector('#login').open")
    seen.type("echo $x thr''ough\n")
    seen.until_shown("\nkept through\n")


def test_a_paste_of_ten_megabytes_arrives_whole(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w").port)
    seen.until_ready()
    text = "".join(f"{number:09d} " for number in range(1_000_000))
    seen.type("stty -icanon -echo; echo rea''dy; head -c 10000000 | sha256sum; stty sane\n")
    seen.until_shown("\nready")
    seen.paste(text)
    seen.until_shown(hashlib.sha256(text.encode()).hexdigest())


def test_the_exit_status_is_told_and_enter_begins_anew(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w").port)
    seen.until_ready()
    seen.type("echo last wo''rds; exit 3\n")
    seen.until_notice("over, with exit status 3")
    assert "\nlast words\n" in seen.text
    seen.page.keyboard.press("Enter")
    seen.until_well()
    seen.type("echo a new she''ll\n")
    seen.until_shown("\na new shell\n")
    assert "\nlast words\n" in seen.text


def test_the_user_ends_a_session_for_good(
    make_web: MakeWeb, visit: MakeVisit, tmp_path: Path
) -> None:
    ended = tmp_path / "ended"
    program = f"trap 'echo yes > {ended}; exit' HUP; echo ready; while :; do sleep 0.1; done"
    seen = visit(make_web("-w", command=("sh", "-c", program)).port)
    seen.until_shown("ready")
    seen.page.click("#open-settings")
    seen.page.click("#settings [data-do=end]")
    seen.until_notice("over: you have ended it. Enter begins")
    deadline = time.monotonic() + PATIENCE_S
    while not (ended.exists() and ended.read_text() == "yes\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_last_output_of_a_program_arrives(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web(command=("seq", "20000")).port, MANY_LINES)
    seen.until_notice("over, with exit status 0")
    assert numbers(seen.text) == list(range(1, 20_001))


def test_who_may_not_write_is_told_and_types_in_vain(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web(command=("sh", "-c", "echo look; read x; echo heard $x")).port)
    seen.until_shown("look")
    seen.until("() => !document.querySelector('#read-only').hidden")
    seen.type("hello\n")
    seen.page.reload()
    seen.until_shown("look")
    seen.until("() => !document.querySelector('#read-only').hidden")
    assert "heard" not in seen.text


def test_a_program_that_fills_the_screen_draws_it_anew_after_a_reload(
    make_web: MakeWeb, visit: MakeVisit, tmp_path: Path
) -> None:
    pager = tmp_path / "pager.py"
    pager.write_text(PAGER)
    seen = visit(make_web("-w").port, MANY_LINES)
    seen.until_ready()
    seen.run("echo behind it")
    seen.type(f"{sys.executable} {pager}\n")
    seen.until_shown("page 1")
    seen.page.keyboard.press("Space")
    seen.until_shown("page 2")
    assert "anew" not in seen.text
    seen.page.reload()
    seen.until_shown("page 2, drawn anew")
    assert "behind it" not in seen.text
    seen.page.keyboard.press("q")
    seen.until_shown("behind it")
    seen.type("echo it is o''ver\n")
    seen.until_shown("\nit is over\n")


def test_a_phone_s_page_sleeps_when_it_is_hidden_and_goes_on(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    phone = visit(make_web("-w").port, has_touch=True, is_mobile=True)
    phone.until_ready()
    phone.until_well()
    phone.type("x=kept; read -t 100 y; echo $x and $y\n")
    hide = """(state) => {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    phone.page.evaluate(hide, "hidden")
    phone.until("() => document.querySelector('#quality').dataset.is === 'bad'")
    assert len(phone.stored()) == 1
    phone.page.evaluate(hide, "visible")
    assert phone.stored() == {}
    phone.until_well()
    phone.type("awake\n")
    phone.until_shown("\nkept and awake\n")
