"""A real browser that follows the link of `trioet web --e2e`."""

from __future__ import annotations

import pytest

from fixtures_web import MakeVisit, MakeWeb

pytestmark = [pytest.mark.browser, pytest.mark.e2e]


def test_the_link_opens_the_session_and_vanishes_from_the_address(
    make_web: MakeWeb, visit: MakeVisit
) -> None:
    web = make_web("-w", "--e2e")
    seen = visit(web.port, web.fragment())
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
