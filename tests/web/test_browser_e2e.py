"""A real browser that follows the link of `trioet web --e2e`."""

from __future__ import annotations

import re
import time

import pytest

from browsing import PATIENCE_S, Web
from fixtures_web import MakeVisit, MakeWeb

pytestmark = [pytest.mark.browser, pytest.mark.e2e]


def fragment(web: Web) -> str:
    """The part of the printed link that browsers send to nobody."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := re.search(r"#session=\S+", web.log.read_text())) is None:
        assert time.monotonic() < deadline, web.log.read_text()
        time.sleep(0.01)
    return found[0]


def test_the_link_opens_the_session_and_vanishes_from_the_address(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    web = make_web("-w", "--e2e")
    seen = visit(web.port, fragment(web))
    seen.until_ready()
    seen.type("echo $((6 * 7)) grün\n")
    seen.until_shown("\n42 grün\n")
    assert "session" not in seen.page.url
    seen.page.reload()
    seen.type("echo $((7 * 7))\n")
    seen.until_shown("\n49\n")


def test_without_the_link_the_page_says_so(make_web: MakeWeb, visit: MakeVisit) -> None:
    seen = visit(make_web("-w", "--e2e").port)
    seen.until_notice("there is one session here")
