"""A socket appears, on a real file system."""

from __future__ import annotations

from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from trioet.server.appearance import watch_appearance
from waiting import until


class Watch:
    """A path that is watched."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told = 0
        self.is_over = False

    async def run(self) -> None:
        await watch_appearance(str(self.path), self._wake)
        self.is_over = True

    def _wake(self) -> None:
        self.told += 1

    async def tells(self) -> None:
        """Something was told, and no more comes."""
        await until(lambda: self.told)
        await wait_all_tasks_blocked(0.01)
        self.told = 0

    async def tells_nothing(self) -> None:
        await wait_all_tasks_blocked(0.01)
        assert self.told == 0


async def test_what_appears_is_told_again_and_again(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "socket")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await watch.tells()
        watch.path.touch()
        await watch.tells()
        watch.path.unlink()
        await watch.tells_nothing()
        (tmp_path / "other").touch()
        (tmp_path / "sock").mkdir()
        await watch.tells_nothing()
        (tmp_path / "other").rename(watch.path)
        await watch.tells()
        nursery.cancel_scope.cancel()


async def test_directories_may_come_and_go(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "a" / "b" / "socket")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        for _ in range(2):
            await watch.tells()
            watch.path.parent.mkdir(parents=True)
            await watch.tells()
            watch.path.touch()
            await watch.tells()
            watch.path.unlink()
            watch.path.parent.rmdir()
            (tmp_path / "a").rmdir()
        (tmp_path / "a").mkdir()
        await watch.tells()
        nursery.cancel_scope.cancel()


async def test_where_nothing_can_be_told_it_returns(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "socket", Path("no-directory")):
        watch = Watch(path)
        await watch.run()
        assert watch.told == 0
