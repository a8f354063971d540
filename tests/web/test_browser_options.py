"""Options of `trioet web` as a visitor meets them in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from certificates_in_files import Authority
from fixtures_web import MakeVisit, MakeWeb
from trioet.web.login import FREE_FAILURES

pytestmark = [pytest.mark.browser, pytest.mark.e2e]


def test_a_link_with_a_token_lets_in_and_leaves_it_nowhere(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    web = make_web("-w", "--token", "--path", "deep/er")
    link = web.told(r"/(deep/er/)(#token=\S+)\n")
    without = visit(web.port, link[1])
    without.page.wait_for_selector("#login [name=token]:visible")
    assert without.page.locator("#login [name=password]").is_hidden()
    seen = visit(web.port, link[1] + link[2])
    seen.until_ready()
    assert seen.page.url == f"http://127.0.0.1:{web.port}/deep/er/"
    assert seen.page.evaluate("document.cookie") == "", "no script sees what lets in"
    assert len(seen.page.context.cookies()) == 1
    seen.run("x=mine")
    seen.page.reload()
    seen.type("echo it is $x\n")
    seen.until_shown("\nit is mine\n")
    assert link[2].removeprefix("#token=") not in web.log.read_text().replace(link[0], "")


def test_over_tls_with_a_path_that_nobody_guesses(
    make_web: MakeWeb, visit: MakeVisit, tmp_path: Path
) -> None:
    certificate, key = Authority(tmp_path).issue("server")
    options = ("-w", "-r", "-t", "--tls-crt", str(certificate), "--tls-key", str(key))
    web = make_web(*options, "-c", "ann:secret")
    base = web.told(r"https://127.0.0.1:\d+/([a-z0-9]{16}/)\n")
    seen = visit(web.port, base[1], scheme="https", ignore_https_errors=True)
    seen.log_in("ann", "secret")
    seen.until_ready()
    (cookie,) = seen.page.context.cookies()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    seen.type("echo by T''LS\n")
    seen.until_shown("\nby TLS\n")


def test_arguments_of_the_address_reach_the_command(make_web: MakeWeb, visit: MakeVisit) -> None:
    port = make_web("--permit-arguments", command=("/bin/echo", "said")).port
    visit(port, "?arg=one&arg=two").until_shown("said one two")
    visit(port, "?arg=%24(id)").until_notice("argument 1 is not allowed")


def test_reconnect_begins_anew_by_itself(make_web: MakeWeb, visit: MakeVisit) -> None:
    options = ("--reconnect", "--reconnect-time", "1")
    seen = visit(make_web(*options, command=("/bin/echo", "once more")).port)
    seen.until_notice("or wait 1 s")
    seen.until(
        "() => { const { active } = document.querySelector('#terminal').terminal.buffer;"
        " let times = 0;"
        " for (let row = 0; row < active.length; row++)"
        "  if (active.getLine(row).translateToString(true) === 'once more') times++;"
        " return times >= 3 }"
    )


def test_who_guesses_is_told_how_long_to_wait(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-c", "ann:secret").port)
    # A browser that is slower than a wait is not told of it; the next is twice as long.
    for _ in range(FREE_FAILURES + 8):
        seen.page.wait_for_selector("#login button.main:visible")
        with seen.page.expect_response("**/api/login") as answer:
            seen.log_in("ann", "wrong")
        if answer.value.status == 429:
            break
    seen.until("() => /wait [0-9]+ s/.test(document.querySelector('#login p').textContent)")
