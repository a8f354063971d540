"""trioet is upgraded under live sessions: router, `trioet terminal` and keeper of two versions.

The other version is the same program with another name, which says a little more wherever
two of its processes talk: what they do not know of each other must not matter.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from callers import Caller, ask, invitation
from farside import SOURCE, FarSide
from keepers import end_keepers, keepers_in
from ptys import at_terminal
from trioet import __version__
from trioet.demo.cutter import Cutter
from waiting import until

pytestmark = pytest.mark.e2e

NEWER: Final = "99.1"
SAYS_MORE: Final = {
    "__init__.py": (f'__version__ = "{__version__}"', f'__version__ = "{NEWER}"'),
    # terminal to keeper
    "server/request.py": ('"term": self.term,', '"term": self.term, "colour": "blue",'),
    # keeper to terminal and client
    "server/keeper.py": ('{"version": __version__,', '{"colour": "blue", "version": __version__,'),
    # keeper to router
    "server/registration.py": ('{"v": LOCAL_VERSION,', '{"v": LOCAL_VERSION, "colour": "blue",'),
    # router to keeper
    "server/router.py": ('"port": self.port,', '"port": self.port, "colour": "blue",'),
}
"""File -> what it says now, and what the newer one says."""


class Package:
    """trioet as a package manager has put it in its place on the far side."""

    def __init__(self, far_side: FarSide, place: Path) -> None:
        self.place = place
        self._far_side = far_side
        for name in ("trioet", "etterminal"):
            path = far_side.sshd.bin / name
            path.write_text(path.read_text().replace(SOURCE, str(place)))
        far_side.environment["PYTHONPATH"] = str(place)

    def remove(self) -> None:
        shutil.rmtree(self.place)

    def install(self) -> None:
        """Today's version."""
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(SOURCE) / "trioet", self.place / "trioet", ignore=without)
        assert self.version() == f"trioet {__version__}"

    def install_newer(self) -> None:
        """Tomorrow's."""
        self.install()
        for name, (now, then) in SAYS_MORE.items():
            path = self.place / "trioet" / name
            text = path.read_text()
            assert now in text, f"{name} has changed: what would a newer one say?"
            path.write_text(text.replace(now, then))
        shutil.rmtree(self.place / "trioet" / "__pycache__", ignore_errors=True)
        assert self.version() == f"trioet {NEWER}"

    def version(self) -> str:
        """What is installed says who it is."""
        return subprocess.run(
            [sys.executable, "-m", "trioet.cli.main", "--version"],
            env=self._far_side.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()


@pytest.fixture
def package(far_side: FarSide, tmp_path: Path) -> Package:
    return Package(far_side, tmp_path / "site-packages")


def keepers_of(far_side: FarSide) -> list[str]:
    """The versions of all keepers that were started, in that order."""
    lines = [line for line in far_side.keeper_log().splitlines() if " of trioet " in line]
    return [line.rpartition(" ")[2] for line in lines]


async def cut(cutter: Cutter) -> None:
    """Cut all connections, between two steps of those that are just ending by themselves."""
    await wait_all_tasks_blocked()
    cutter.cut()


Change = Callable[[Package], None]


@pytest.mark.parametrize(
    ("before", "after", "keeper"),
    [
        (Package.install, Package.install_newer, __version__),
        (Package.install_newer, Package.install, NEWER),
    ],
    ids=["up", "back"],
)
async def test_the_package_is_exchanged_and_the_router_restarted_under_a_session(
    far_side: FarSide, package: Package, before: Change, after: Change, keeper: str
) -> None:
    before(package)
    port = far_side.start_router()
    async with trio.open_nursery() as nursery:
        cutter = Cutter(port)
        near = str(await nursery.start(cutter.serve))
        command = far_side.connect("--via", "direct", "-p", near)
        async with at_terminal(command, far_side.environment) as old:
            await old.run(b"mine=old")
            package.remove()
            await cut(cutter)
            assert await old.run(b"echo $mine") == b"old\r\n", "it needed what is on disk"
            after(package)
            far_side.stop_router()
            await cut(cutter)
            await old.type(b"echo typed while the server was upgraded\n")
            far_side.start_router(port)
            await old.until(b"\rtyped while the server was upgraded\r\n")

            async with at_terminal(command, far_side.environment) as new:
                await new.run(b"mine=new")
                assert keepers_of(far_side) == [keeper], "both sessions are one keeper's"
                await cut(cutter)
                for person, name in ((old, b"old"), (new, b"new")):
                    assert await person.run(b"echo $mine") == name + b"\r\n"
                    await person.type(b"exit\n")
                    assert await person.end() == 0
        nursery.cancel_scope.cancel()


async def test_without_a_router_a_newer_terminal_asks_the_older_keeper(
    far_side: FarSide, package: Package
) -> None:
    package.install()
    command = far_side.connect()
    async with at_terminal(command, far_side.environment) as old:
        await old.run(b"mine=old")
        package.remove()
        package.install_newer()
        done = await trio.to_thread.run_sync(partial(far_side.run, "--", "echo new"))
        assert (done.returncode, done.stdout) == (0, b"new\n")
        assert keepers_of(far_side) == [__version__]
        assert await old.run(b"echo $mine") == b"old\r\n"
        await old.type(b"exit\n")
        assert await old.end() == 0


def test_a_keeper_that_has_ended_is_followed_by_one_of_the_installed_version(
    far_side: FarSide, package: Package
) -> None:
    package.install()
    assert far_side.run("--", "echo old").stdout == b"old\n"
    package.remove()
    package.install_newer()
    end_keepers(far_side.runtime_dir)
    assert far_side.run("--", "echo new").stdout == b"new\n"
    assert keepers_of(far_side) == [__version__, NEWER]
    assert len(keepers_in(far_side.runtime_dir)) == 1


async def test_a_terminal_that_says_more_or_less_than_today_is_served(
    far_side: FarSide, nursery: trio.Nursery
) -> None:
    """By a keeper that runs already."""
    assert far_side.run("--", "true").returncode == 0
    path = str(far_side.runtime_dir / "keeper.sock")
    needed = {b"do", b"id", b"passkey"}
    for change in (
        lambda request: request + b"colour=blue\0env=LATER=yes\0colour=green\0",
        lambda request: request.replace(b"v=1\0", b"v=1.7\0"),
        lambda request: (
            b"\0".join(
                [record for record in request.split(b"\0") if record.partition(b"=")[0] in needed]
            )
            + b"\0"
        ),
    ):
        caller = Caller(nursery)
        request = change(caller.request())
        assert request != caller.request()
        caller.begin(invitation(await ask(path, request))["port"])
        await caller.echoes(b"hello")
        caller.leave()
    await until(lambda: far_side.keeper_log().count(" over") == 4)
