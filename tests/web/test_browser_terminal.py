"""The terminal itself in a real browser: how it draws, rings, links, copies, and is set up."""

from __future__ import annotations

import pytest

from browsing import Visit
from fixtures_web import MakeVisit, MakeWeb

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

OPTIONS = "document.querySelector('#terminal').terminal.options"
CANVASES = "document.querySelectorAll('#terminal canvas').length"

LOSE = """() => {
  const canvas = [...document.querySelectorAll('#terminal canvas')].find(
    (one) => one.getContext('webgl2'),
  );
  canvas.getContext('webgl2').getExtension('WEBGL_lose_context').loseContext();
}"""

WHERE = """(text) => {
  const terminal = document.querySelector("#terminal").terminal;
  const { active } = terminal.buffer;
  const box = document.querySelector(".xterm-screen").getBoundingClientRect();
  for (let row = 0; row < terminal.rows; row++) {
    const line = active.getLine(active.viewportY + row).translateToString(true);
    const column = line.startsWith(text) ? 0 : -1;
    if (column >= 0) {
      return [
        box.left + ((column + 2.5) * box.width) / terminal.cols,
        box.top + ((row + 0.5) * box.height) / terminal.rows,
        box.width / terminal.cols,
      ];
    }
  }
}"""
"""The place on the page of the third character of a line; and how wide one is."""


def drawn_as_elements(seen: Visit, text: str) -> None:
    seen.until(
        "(text) => [...document.querySelectorAll('.xterm-rows > div')]"
        ".some((row) => row.textContent.trim() === text)",
        text,
    )


def test_without_a_graphics_card_it_is_drawn_all_the_same(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    port = make_web("-w").port
    seen = visit(port)
    seen.until_ready()
    assert seen.page.evaluate(CANVASES) > 0, "there is WebGL in this browser"
    seen.page.evaluate(LOSE)
    seen.until(f"() => {CANVASES} === 0")
    seen.type("echo dr''awn\n")
    drawn_as_elements(seen, "drawn")
    without = visit(port, "healthz")
    without.page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    without.page.goto(f"http://127.0.0.1:{port}/")
    without.until_ready()
    without.type("echo dr''awn\n")
    drawn_as_elements(without, "drawn")
    assert without.page.evaluate(CANVASES) == 0


def test_wide_and_combined_characters_have_their_columns(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    seen = visit(make_web("-w").port)
    seen.until_ready()
    seen.run("printf '\\u65e5\\U0001f600e\\u0301|\\n'")
    seen.until_shown("\n日😀e\u0301|")
    column = (
        "() => { const { buffer } = document.querySelector('#terminal').terminal;"
        " const at = (row) => buffer.active.getLine(row);"
        " for (let row = 0; row < buffer.active.length; row++)"
        "  if (at(row)?.getCell(0)?.getChars() === '日') return at(row).getCell(5).getChars() }"
    )
    assert seen.page.evaluate(column) == "|", "two, two, and one"


def test_a_bell_is_seen_or_heard_as_the_user_likes(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w").port)
    seen.until_ready()
    seen.page.evaluate(
        "() => { const { start } = OscillatorNode.prototype; window.heard = 0;"
        " OscillatorNode.prototype.start = function () { window.heard++; start.call(this) } }"
    )
    rung = "document.querySelector('#terminal').classList.contains('rung')"
    assert not seen.page.evaluate(rung)
    seen.type("printf '\\a'\n")
    seen.until(f"() => {rung}")
    assert seen.page.evaluate("window.heard") == 0
    seen.page.click("#open-settings")
    seen.page.select_option("#settings [name=bell]", "sound")
    seen.page.click("#settings button.main")
    seen.until("() => document.activeElement.matches('#terminal textarea')")
    seen.type("printf '\\a'\n")
    seen.until("() => window.heard === 1")


def test_addresses_that_are_printed_can_be_followed_and_are_shown_first(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    seen = visit(make_web("-w").port)
    seen.until_ready()
    seen.page.evaluate("window.open = (...how) => { (window.opened ??= []).push(how) }; 0")
    evil = "\\e]8;;javascript:alert(1)\\e\\\\evil link\\e]8;;\\e\\\\"
    good = "\\e]8;;https://example.org/two\\e\\\\good link\\e]8;;\\e\\\\"
    seen.run(f"clear; printf 'https://example.org/one\\n{evil}\\n{good}\\n'")
    for text, address in (
        ("https://example.org/one", "https://example.org/one"),
        ("good link", "https://example.org/two"),
    ):
        x, y, _ = seen.page.evaluate(WHERE, text)
        seen.page.mouse.move(x + 3, y)
        seen.page.mouse.move(x, y)
        seen.until(
            "(text) => !document.querySelector('#address').hidden"
            " && document.querySelector('#address').textContent === text",
            address,
        )
        seen.page.mouse.click(x, y)
        seen.until("(text) => window.opened?.at(-1)[0] === text", address)
    x, y, _ = seen.page.evaluate(WHERE, "evil link")
    seen.page.mouse.move(x, y)
    seen.page.mouse.click(x, y)
    seen.run("true")
    assert len(seen.page.evaluate("window.opened")) == 2


def test_what_is_selected_is_copied_by_a_key(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w").port, permissions=["clipboard-read", "clipboard-write"])
    seen.until_ready()
    seen.run("clear; echo wo''rd other")
    x, y, _ = seen.page.evaluate(WHERE, "word other")
    seen.page.mouse.dblclick(x, y)
    seen.page.keyboard.press("Control+Shift+C")
    seen.until("async () => await navigator.clipboard.readText() === 'word'")
    assert seen.page.inner_text("#toast") == "Copied."
    seen.page.evaluate("navigator.clipboard.writeText('pas' + 'ted')")
    seen.type("echo ")
    seen.page.keyboard.press("Control+Shift+V")
    seen.type("\n")
    seen.until_shown("\npasted\n")


def test_everything_that_can_be_set_can_be_set_by_the_address(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    said = {
        **{"theme": "dracula", "font": "Courier New", "size": "20", "cursor": "bar"},
        **{"blink": "0", "scrollback": "123", "bell": "off", "copy": "1", "keys": "1"},
        **{"bar": "0", "reader": "1", "webgl": "0"},
    }
    query = "&".join(f"{name}={word}" for name, word in said.items())
    seen = visit(make_web("-w").port, f"?{query}")
    seen.until_ready()
    assert seen.page.evaluate(f"{OPTIONS}.theme.background") == "#282a36"
    assert seen.page.evaluate(f"{OPTIONS}.fontFamily").startswith("Courier New, ")
    assert seen.page.evaluate(
        f"(({{ fontSize, cursorStyle, cursorBlink, scrollback, screenReaderMode }}) =>"
        f" [fontSize, cursorStyle, cursorBlink, scrollback, screenReaderMode])({OPTIONS})"
    ) == [20, "bar", False, 123, True]
    assert seen.page.locator("#bar").is_hidden()
    assert seen.page.locator("#keys").is_visible()
    shown = seen.page.evaluate(
        "Object.fromEntries([...document.querySelector('#settings form').elements]"
        ".filter(({ name }) => name).map(({ name }) => [name, true]))"
    )
    assert shown.keys() == said.keys(), "the panel has them all"
    seen.page.evaluate("document.querySelector('#open-settings').click()")
    for name, word in said.items():
        field = seen.page.locator(f"#settings [name={name}]")
        if field.get_attribute("type") == "checkbox":
            assert field.is_checked() == (word == "1")
        else:
            assert field.input_value() == word


def test_the_quality_of_the_connection_is_told(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w").port)
    seen.until_ready()
    seen.until(
        "() => { const { dataset, title, textContent } = document.querySelector('#quality');"
        " return ['good', 'fair', 'bad'].includes(dataset.is) && /^connected/.test(title)"
        " && /^[0-9]+ ms$/.test(textContent.trim()) }"
    )
