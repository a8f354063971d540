"""Fixtures: a browser, and what it visits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browsing import SHELL, Visit, Web, Wire, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MakeWeb = Callable[..., Web]
MakeVisit = Callable[..., Visit]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; the test is skipped where that or the page is not."""
    with chromium() as made:
        yield made


@pytest.fixture
def make_web(browser: Browser, runtime_dir: Path) -> Iterator[MakeWeb]:
    """Start a `trioet web` with options, for a shell if it is not told what."""
    with ExitStack() as stack:

        def make(*options: str, command: tuple[str, ...] = SHELL) -> Web:
            made = Web(runtime_dir, options, command)
            stack.callback(made.stop)
            made.start()
            return made

        yield make


@pytest.fixture
def visit(browser: Browser) -> Iterator[MakeVisit]:
    """Open a page in a browser of its own, so to speak; what it may not do fails the test."""
    with ExitStack() as stack:
        visits: list[Visit] = []

        def open_page(
            port: int,
            where: str = "",
            scheme: str = "http",
            **context: Any,  # noqa: ANN401
        ) -> Visit:
            made = browser.new_context(**context)
            stack.callback(made.close)
            visits.append(Visit(made.new_page()))
            visits[-1].page.goto(f"{scheme}://127.0.0.1:{port}/{where}")
            return visits[-1]

        yield open_page
        assert [fault for one in visits for fault in one.faults] == []


@pytest.fixture
def make_wire() -> Iterator[Callable[[int], Wire]]:
    """A network to a port that can be cut."""
    with ExitStack() as stack:

        def make(port: int) -> Wire:
            made = Wire(port)
            stack.callback(made.close)
            return made

        yield make
