"""Looking on at a session in a real browser, by a link that `trioet share` printed there."""

from __future__ import annotations

import json
import os
import pwd
import socket
import sys
from pathlib import Path

import pytest

from browsing import SHELL, SOURCE, Visit, Web
from fixtures_web import MakeVisit, MakeWeb

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

PATHS = os.pathsep.join([SOURCE, os.environ.get("PYTHONPATH", "")])
OWNER = (SHELL[0], f"PYTHONPATH={PATHS}", *SHELL[1:])


class Owner:
    """Somebody who uses a session, and shares it."""

    def __init__(self, web: Web, seen: Visit, directory: Path) -> None:
        self.seen = seen
        self.port = web.port
        self._directory = directory
        self._links = 0
        seen.until_ready()

    def share(self, *options: str) -> str:
        """The end of a link: what is behind the address of the page."""
        self._links += 1
        file = self._directory / f"link-{self._links}"
        command = f"{sys.executable} -m trioet.cli.main share --json {' '.join(options)}"
        self.seen.run(f"{command} > {file}")
        url: str = json.loads(file.read_text())["url"]
        return url.partition(f":{self.port}/")[2]


@pytest.fixture
def owner(make_web: MakeWeb, visit: MakeVisit, tmp_path: Path) -> Owner:
    web = make_web("-w", command=OWNER)
    return Owner(web, visit(web.port), tmp_path)


def size(seen: Visit) -> list[int]:
    found: list[int] = seen.page.evaluate(
        "() => { const { terminal } = document.querySelector('#terminal');"
        " return [terminal.cols, terminal.rows] }"
    )
    return found


def test_who_opens_the_link_sees_and_cannot_type(owner: Owner, visit: MakeVisit) -> None:
    viewer = visit(owner.port, owner.share())
    viewer.page.wait_for_selector("#read-only:visible")
    whose = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"
    assert viewer.page.title() == whose
    owner.seen.type("echo seen by $((1 + 1))\n")
    viewer.until_shown("\nseen by 2")
    viewer.type("echo mine\n")
    owner.seen.run("true")
    assert "mine" not in owner.seen.text
    assert "share=" not in viewer.page.url


def test_who_may_write_does(owner: Owner, visit: MakeVisit) -> None:
    viewer = visit(owner.port, owner.share("--write"))
    viewer.until_shown("$")
    viewer.type("echo by $((40 + 2))\n")
    owner.seen.until_shown("\nby 42")
    viewer.until_shown("\nby 42")


def test_a_link_is_for_one_browser(owner: Owner, visit: MakeVisit) -> None:
    link = owner.share()
    visit(owner.port, link).page.wait_for_selector("#read-only:visible")
    visit(owner.port, link).until_notice("used already")


def test_a_viewer_has_the_owners_size_whole_and_keeps_it_when_reloaded(
    owner: Owner, visit: MakeVisit
) -> None:
    viewport = {"width": 520, "height": 420}
    viewer = visit(owner.port, owner.share(), viewport=viewport)
    owner.seen.run("clear; printf '\\e[?7l%0200d\\e[?7h\\n' 0")
    viewer.until(
        "([columns]) => document.querySelector('#terminal').terminal.cols === columns",
        size(owner.seen),
    )
    for _ in range(2):
        viewer.until(
            "([columns, rows]) => { const { terminal } = document.querySelector('#terminal');"
            " const box = document.querySelector('.xterm-screen').getBoundingClientRect();"
            " return terminal.cols === columns && terminal.rows === rows"
            " && box.right <= innerWidth && box.bottom <= innerHeight }",
            size(owner.seen),
        )
        viewer.page.reload()
    owner.seen.run("echo $((5 * 5)) more")
    viewer.until_shown("\n25 more")


def test_the_owner_is_told_who_comes_and_goes(owner: Owner, visit: MakeVisit) -> None:
    told = (
        "(word) => !document.querySelector('#toast').hidden"
        " && document.querySelector('#toast').textContent.includes(word)"
    )
    viewer = visit(owner.port, owner.share())
    owner.seen.until(told, "127.0.0.1 watches")
    viewer.page.wait_for_selector("#read-only:visible")
    owner.seen.run(f"{sys.executable} -m trioet.cli.main share --list")
    assert "127.0.0.1" in owner.seen.text
    viewer.page.click("#open-settings")
    viewer.page.click("#settings [data-do=end]")
    owner.seen.until(told, "nobody watches any more")


def test_several_look_on_each_on_a_page_of_another_size(owner: Owner, visit: MakeVisit) -> None:
    viewers = [
        visit(owner.port, owner.share(), viewport={"width": width, "height": height})
        for width, height in ((400, 300), (1400, 900))
    ]
    owner.seen.run("echo $((6 * 7)) for all")
    for viewer in viewers:
        viewer.until_shown("\n42 for all")
        assert size(viewer) == size(owner.seen)


def test_a_link_ends_when_its_time_is_over(owner: Owner, visit: MakeVisit) -> None:
    viewer = visit(owner.port, owner.share("--expires", "6s"))
    viewer.page.wait_for_selector("#read-only:visible")
    viewer.until_notice("the time for which the session was shared is over")


def test_revoked_is_told_and_shown_no_more(owner: Owner, visit: MakeVisit) -> None:
    viewer = visit(owner.port, owner.share())
    viewer.page.wait_for_selector("#read-only:visible")
    owner.seen.run("echo be''fore")
    viewer.until_shown("\nbefore")
    owner.seen.run(f"{sys.executable} -m trioet.cli.main share --revoke all")
    viewer.until_notice("the owner of the session has ended this")
    owner.seen.run("echo se''cret")
    assert "\nsecret" not in viewer.text


def test_questions_of_programs_are_answered_once(owner: Owner, visit: MakeVisit) -> None:
    viewer = visit(owner.port, owner.share("--write"))
    viewer.until_shown("$")
    owner.seen.run(
        "stty -echo -icanon min 0 time 20; printf '\\e[c\\e[6n'; cat -v; echo; stty sane"
    )
    assert owner.seen.text.count("^[[?1;2c") == 1
    assert owner.seen.text.count("R\n") == 1
