"""What is around the terminal: title, clipboard, settings, secrets; what programs may not do."""

from __future__ import annotations

import gzip
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

import trioet
from browsing import ALL_TEXT, Visit, Wire
from fixtures_web import MakeVisit, MakeWeb

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

MOST_GZIPPED = 250_000
"""Bytes of all that a browser loads."""


@pytest.fixture
def seen(make_web: MakeWeb, visit: MakeVisit) -> Visit:
    """A page with a shell."""
    opened = visit(make_web("-w").port)
    opened.until_ready()
    return opened


def background(seen: Visit) -> str:
    found: str = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return found


def test_the_page_is_small(seen: Visit) -> None:
    static = Path(trioet.__file__).parent / "web/static"
    files = [path for path in static.iterdir() if path.name != "licenses.txt"]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < MOST_GZIPPED


def test_nothing_is_loaded_from_elsewhere(make_web: MakeWeb, visit: MakeVisit) -> None:
    port = make_web("-w").port
    seen = visit(port)
    asked: list[str] = []
    seen.page.on("request", lambda request: asked.append(request.url))
    seen.page.reload()
    seen.until_ready()
    assert asked
    assert all(url.startswith(f"http://127.0.0.1:{port}/") for url in asked)


def test_colours_of_all_kinds_need_no_inline_style(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w").port, "?webgl=0")
    seen.until_ready()
    seen.type("printf '\\e[38;2;1;200;3mgree''n\\e[m \\e[48;5;99mviol''et\\e[m\\n'\n")
    seen.until(
        "() => [...document.querySelectorAll('.xterm-rows span')].some((span) =>"
        " span.textContent === 'green' && getComputedStyle(span).color === 'rgb(1, 200, 3)')"
    )
    policy = seen.page.request.get(seen.page.url).headers["content-security-policy"]
    assert "unsafe" not in policy


def test_a_title_is_text_and_nothing_else(seen: Visit) -> None:
    evil = "<img src=x onerror=alert(1)>\\u202etxt.exe"
    seen.type(f"printf '\\e]2;{evil}\\e\\\\'\n")
    seen.until("() => document.title.includes('onerror')")
    assert seen.page.title() == "<img src=x onerror=alert(1)> txt.exe"
    assert seen.page.inner_text("#title") == seen.page.title()
    assert seen.page.locator("#bar img").count() == 1


def test_a_program_writes_the_clipboard_and_never_reads_it(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    seen = visit(make_web("-w").port, permissions=["clipboard-read", "clipboard-write"])
    seen.until_ready()
    seen.type("printf '\\e]52;c;Y29waWVkIHRleHQ=\\a'\n")
    seen.until("async () => await navigator.clipboard.readText() === 'copied text'")
    seen.type("printf '\\e]52;c;?\\a'; read -t 1 -n 1 x; echo \"answer: [$x]\"\n")
    seen.until_shown("\nanswer: []\n")


def test_where_the_browser_wants_a_click_for_the_clipboard_it_is_asked_for(seen: Visit) -> None:
    seen.page.evaluate("navigator.clipboard.writeText = () => Promise.reject(new Error('no')); 0")
    seen.type("printf '\\e]52;c;Y29waWVkIHRleHQ=\\a'\n")
    seen.until("() => document.querySelector('#toast').textContent.includes('11 characters')")
    seen.page.evaluate(
        "navigator.clipboard.writeText = async (text) => { window.copied = text }; 0"
    )
    seen.page.click("#toast button")
    seen.until("() => window.copied === 'copied text'")


def test_links_lead_only_to_the_web(seen: Visit) -> None:
    seen.page.evaluate("window.open = (...how) => { (window.opened ??= []).push(how) }; 0")
    handler = "document.querySelector('#terminal').terminal.options.linkHandler"
    for address in ("javascript:alert(1)", "file:///etc/passwd", "https://example.org/"):
        seen.page.evaluate(f"(address) => {handler}.activate(null, address)", address)
    assert seen.page.evaluate("window.opened") == [
        ["https://example.org/", "_blank", "noopener,noreferrer"]
    ]


def test_light_and_dark_as_the_browser_and_as_the_address_says(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    port = make_web("-w").port
    seen = visit(port, color_scheme="dark")
    assert background(seen) == "rgb(16, 20, 27)"
    seen.page.emulate_media(color_scheme="light")
    seen.until("() => document.documentElement.classList.contains('light')")
    assert background(seen) == "rgb(252, 252, 250)"
    asked = visit(port, "?theme=nord&size=20&font=Georgia;}*{color:red")
    assert background(asked) == "rgb(46, 52, 64)"
    options = "document.querySelector('#terminal').terminal.options"
    assert asked.page.evaluate(f"{options}.fontSize") == 20
    assert "red" not in asked.page.evaluate(f"{options}.fontFamily")


def test_what_the_user_likes_is_kept(seen: Visit) -> None:
    seen.page.click("#open-settings")
    seen.page.select_option("#settings [name=theme]", "gruvbox")
    seen.page.fill("#settings [name=size]", "18")
    seen.page.click("#settings button.main")
    assert background(seen) == "rgb(40, 40, 40)"
    seen.page.reload()
    seen.until_ready()
    assert background(seen) == "rgb(40, 40, 40)"
    assert seen.page.evaluate("document.querySelector('#terminal').terminal.options.fontSize") == 18
    seen.page.click("#open-settings")
    seen.page.click("#settings [data-do=reset]")
    assert seen.page.input_value("#settings [name=size]") == "14"
    assert background(seen) != "rgb(40, 40, 40)"


GOTTYS = """
preferences {
    theme = "solarized-dark"
    font_size = 19
    font_family = "Georgia"
    cursor_style = "bar"
    cursor_blink = false
    scrollback_lines = 77
    enable_webgl = false
    background_color = "rgb(1, 2, 3)"
    foreground_color = "}*{color:red}"
    cursor_accent = "red"
    color_palette_overrides = ["", "#123456"]
}
"""


def test_gottys_preferences_are_heeded_until_the_user_prefers_something_else(
    make_web: MakeWeb, visit: MakeVisit, tmp_path: Path
) -> None:
    (tmp_path / "gotty").write_text(GOTTYS)
    seen = visit(make_web("-w", "--config", str(tmp_path / "gotty")).port)
    seen.until_ready()
    options = seen.page.evaluate(
        "({...document.querySelector('#terminal').terminal.options})", None
    )
    assert (options["fontSize"], options["cursorStyle"], options["scrollback"]) == (19, "bar", 77)
    assert options["fontFamily"].startswith("Georgia, ")
    assert options["cursorBlink"] is False
    assert options["theme"]["background"] == "rgb(1, 2, 3)"
    assert options["theme"]["foreground"] == "#93a1a1", "solarized's, as that is no colour"
    assert (options["theme"]["cursorAccent"], options["theme"]["red"]) == ("red", "#123456")
    assert background(seen) == "rgb(1, 2, 3)"
    assert seen.page.locator("#terminal canvas").count() == 0
    seen.page.click("#open-settings")
    seen.page.select_option("#settings [name=theme]", "monokai")
    assert background(seen) == "rgb(39, 40, 34)"


def test_a_search_finds_and_tells_how_much(seen: Visit) -> None:
    seen.run("for n in 1 2 3; do echo nee''dle $n; done")
    seen.page.keyboard.press("Control+Shift+F")
    seen.page.keyboard.insert_text("needle")
    seen.until("() => document.querySelector('#search output').textContent.endsWith('of 3')")
    assert (
        seen.page.evaluate("document.querySelector('#terminal').terminal.getSelection()")
        == "needle"
    )
    seen.page.keyboard.press("Escape")
    assert seen.page.locator("#search").is_hidden()
    seen.type("echo back a''gain\n")
    seen.until_shown("\nback again\n")


def test_a_phone_has_the_keys_that_it_lacks(make_web: MakeWeb, visit: MakeVisit) -> None:
    phone = visit(
        make_web("-w").port,
        viewport={"width": 390, "height": 700},
        has_touch=True,
        is_mobile=True,
    )
    phone.until_ready()
    phone.type("cat -v; echo d''one\n")
    for key in ("Esc", "↑", "Ctrl"):
        phone.page.tap(f"#keys [data-key='{key}']")
    phone.page.keyboard.insert_text("w")  # erases the word before it
    phone.type("x\n")
    phone.until_shown("\n^[^[[x\n^[^[[x")
    phone.page.tap("#keys [data-key='Ctrl']")
    phone.page.keyboard.insert_text("d")
    phone.until_shown("\ndone")
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390


class Finger:
    """One finger on a page."""

    def __init__(self, seen: Visit) -> None:
        self._seen = seen
        self._devtools = seen.page.context.new_cdp_session(seen.page)

    def down(self, x: float, y: float) -> None:
        self._touch("touchStart", {"x": x, "y": y})

    def move(self, x: float, y: float) -> None:
        self._touch("touchMove", {"x": x, "y": y})

    def up(self) -> None:
        self._touch("touchEnd")

    def draw(self, x: int, start: int, end: int, until: str) -> None:
        """Come down and move at once, until a condition holds. On a slow machine it is a long
        press all the same, which selects: then it is lifted, and tried again."""
        step = 20 if start < end else -20
        for _ in range(10):
            self.down(x, start)
            for y in range(start + step, end, step):
                self.move(x, y)
            self._seen.until(f"() => {HAS_SELECTED} || {until}")
            if not self._seen.page.evaluate(HAS_SELECTED):
                return
            self.up()
            self._seen.page.evaluate(
                "document.querySelector('#terminal').terminal.clearSelection()"
            )
        raise AssertionError("it was a long press each time")

    def _touch(self, kind: str, *points: dict[str, float]) -> None:
        said = {"type": kind, "touchPoints": list(points)}
        self._devtools.send("Input.dispatchTouchEvent", said)


@pytest.fixture
def phone(make_web: MakeWeb, visit: MakeVisit) -> Visit:
    """A page with a shell, on a phone."""
    seen = visit(
        make_web("-w").port,
        viewport={"width": 390, "height": 700},
        has_touch=True,
        is_mobile=True,
        permissions=["clipboard-read", "clipboard-write"],
    )
    seen.until_ready()
    return seen


SELECTED = "document.querySelector('#terminal').terminal.getSelection()"
HAS_SELECTED = "document.querySelector('#terminal').terminal.hasSelection()"


def test_a_finger_selects_what_it_is_drawn_over(phone: Visit) -> None:
    phone.run("clear; printf 'one two three\\nfour\\n'")
    box = phone.page.locator(".xterm-screen").bounding_box()
    assert box is not None
    rows, columns = phone.page.evaluate(
        "(({ rows, cols }) => [rows, cols])(document.querySelector('#terminal').terminal)"
    )

    def cell(row: int, column: int) -> tuple[float, float]:
        assert box is not None
        return (
            box["x"] + (column + 0.5) * box["width"] / columns,
            box["y"] + (row + 0.5) * box["height"] / rows,
        )

    finger = Finger(phone)
    finger.down(*cell(0, 5))
    phone.until(f"() => {SELECTED} === 'two'")
    finger.move(*cell(1, 1))
    phone.until(f"() => {SELECTED} === 'two three\\nfo'")
    finger.move(*cell(0, 1))
    phone.until(f"() => {SELECTED} === 'ne two'")
    finger.up()
    phone.page.tap("#toast button")
    phone.until("async () => await navigator.clipboard.readText() === 'ne two'")
    assert phone.page.evaluate(SELECTED) == ""


def test_a_finger_scrolls(phone: Visit) -> None:
    where = (
        "(({ buffer: { active } }) => active.baseY - active.viewportY)"
        "(document.querySelector('#terminal').terminal)"
    )
    phone.run("seq 200")
    finger = Finger(phone)
    finger.draw(200, 200, 500, f"{where} > 10")
    for y in range(490, 100, -20):
        finger.move(200, y)
    phone.until(f"() => {where} === 0")
    finger.up()
    assert phone.page.evaluate(SELECTED) == ""
    phone.type("printf '\\e[?1049h'; cat -v\n")  # where programs are told by keys
    phone.until(
        "() => document.querySelector('#terminal').terminal.buffer.active.type === 'alternate'"
    )
    finger.draw(200, 400, 200, f"({ALL_TEXT})().includes('^[[B')")
    finger.up()
    assert phone.page.evaluate(SELECTED) == ""


def test_a_screen_reader_is_served(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w").port, "?reader=1")
    seen.until_ready()
    seen.page.keyboard.type("echo re''ad this\n")
    seen.until(
        "() => [...document.querySelectorAll('.xterm-accessibility [role=listitem]')]"
        ".some((line) => line.textContent.replaceAll('\\u00a0', ' ').trim() === 'read this')"
    )


def test_the_key_of_a_session_is_nowhere_while_its_page_runs(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    web = make_web("-w")
    seen = visit(web.port)
    seen.until_ready()
    assert seen.stored() == {}
    seen.page.reload()
    seen.until_ready()
    assert seen.stored() == {}
    assert "#" not in seen.page.url
    assert seen.page.evaluate("JSON.stringify({...localStorage})") == "{}"


def test_a_session_in_the_fragment_is_gone_to_and_the_fragment_is_removed(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    port = make_web("-w").port
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/session",
        b'{"arguments": []}',
        {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{port}"},
    )
    with urllib.request.urlopen(request) as answer:
        made = json.load(answer)
    seen = visit(port, f"?theme=nord#session={made['id']}/{made['passkey']}")
    asked: list[str] = []
    seen.page.on("request", lambda request: asked.append(request.url))
    seen.until_ready()
    assert seen.page.url == f"http://127.0.0.1:{port}/?theme=nord"
    assert not any("api/session" in url for url in asked)
    seen.run("x=mine")
    seen.page.reload()
    seen.type("echo it is $x\n")
    seen.until_shown("\nit is mine\n")


def test_a_visitor_logs_in_first(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w", "-c", "ann:open sesame").port)
    seen.log_in("ann", "wrong")
    seen.until("() => !document.querySelector('#login [role=alert]').hidden")
    seen.log_in("ann", "open sesame")
    seen.until_ready()
    seen.type("echo I am i''n\n")
    seen.until_shown("\nI am in\n")


def test_what_is_typed_during_a_reload_of_the_network_goes_to_one_session(
    make_web: MakeWeb, visit: MakeVisit, make_wire: Callable[[int], Wire]
) -> None:
    wire = make_wire(make_web("-w").port)
    seen = visit(wire.port)
    seen.until_ready()
    seen.run("x=1")
    wire.cut(stay=True)
    seen.type("x=$x''2\n")
    seen.type("echo x is $x\n")
    wire.mend()
    seen.until_shown("\nx is 12\n")


def test_what_was_typed_while_the_network_was_away_outlives_a_reload(
    make_web: MakeWeb, visit: MakeVisit, make_wire: Callable[[int], Wire]
) -> None:
    web = make_web("-w")
    wire = make_wire(web.port)
    seen = visit(wire.port)
    seen.until_ready()
    # The WebSocket alone is away, so that the page can be loaded.
    seen.page.evaluate(
        "window.Real = WebSocket; window.WebSocket = class extends Real {"
        " constructor() { super(location.origin.replace('http', 'ws') + '/nowhere') } }; 0"
    )
    wire.cut()
    seen.until("() => document.querySelector('#quality').dataset.is === 'bad'")
    seen.type("echo typed be''fore\n")
    seen.page.reload()
    seen.until_shown("\ntyped before\n")
    assert seen.text.count("\ntyped before\n") == 1
