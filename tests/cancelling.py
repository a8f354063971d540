"""Cancel a life at its every step, and find what was never cancelled.

A life is an async function that runs some victim through all that can befall it, and checks
in the end what is left. It is run again and again; at the victim's n-th step the victim is
cancelled, for every n until it ends by itself. What counts as a step is decided by Trio: a
task runs from one suspension to the next.
"""

from __future__ import annotations

import ast
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from descriptors import descriptors
from trioet.errors import TrioetError
from trioet.link.line import LineBroken

MOST_STEPS: Final = 1000

Place = tuple[str, int]
"""File and line of an await."""


class Victim(trio.abc.Instrument):
    """Whom a life is about: cancelled after the n-th step of its tasks."""

    def __init__(self, step: int, files: Mapping[str, str]) -> None:
        self.cancelled = False
        self.done = False
        """It has ended, by itself or cancelled."""
        self.stood: list[Place] = []
        """Where the task was that was cancelled, outermost await first."""
        self._left = step
        self._files = files
        self._scope = trio.CancelScope()
        self._root: trio.lowlevel.Task | None = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._root is None or self.done or not self._below(task):
            return
        self._left -= 1
        if self._left == 0:
            self.stood = list(self._places(task))
            self.cancelled = True
            self._scope.cancel()

    def _below(self, task: trio.lowlevel.Task | None) -> bool:
        while task is not None:
            if task is self._root:
                return True
            task = task.parent_nursery.parent_task if task.parent_nursery else None
        return False

    def _places(self, task: trio.lowlevel.Task) -> Iterator[Place]:
        awaited: Any = task.coro
        while awaited is not None:
            frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
            if frame is not None and frame.f_code.co_filename in self._files:
                yield self._files[frame.f_code.co_filename], frame.f_lineno
            awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)

    def end(self) -> None:
        """The life is over: what goes on for ever is ended, and that counts for nothing."""
        self._root = None
        self._scope.cancel()

    async def run(self, live: Callable[[], Awaitable[object]]) -> None:
        """Live, until cancelled."""
        self._root = trio.lowlevel.current_task()
        with self._scope, suppress(LineBroken, TrioetError):
            await live()
        self.done = True


class Sweep:
    """Lives of what is in some modules, and which of their awaits were cancelled."""

    def __init__(self, *modules: ModuleType) -> None:
        paths = [Path(module.__file__ or "") for module in modules]
        self._files = {str(path): path.name for path in paths}
        self._reached: set[Place] = set()

    def every_step(self, life: Callable[[Victim], Awaitable[None]], *, rate: float = 0.0) -> int:
        """Live the life, cancelled one step later each time; return how many steps it has.

        Time stands still but for what the life lets pass, unless it has a ``rate``.
        """
        before = descriptors()
        for step in range(1, MOST_STEPS):
            victim = Victim(step, self._files)
            try:
                _same_order_each_time()
                trio.run(life, victim, instruments=[victim], clock=MockClock(rate=rate))
                assert descriptors() == before, "descriptors are left"
            except BaseException as error:
                error.add_note(f"cancelled at step {step}, at {victim.stood}")
                raise
            self._reached.update(victim.stood)
            if not victim.cancelled:
                return step
        raise AssertionError(f"the life does not end in {MOST_STEPS} steps")

    def never_cancelled(self, excused: Mapping[str, str]) -> list[str]:
        """Every await at which no task was cancelled; ``excused`` are ``file:what is awaited``."""
        missing = []
        for path, name in self._files.items():
            for node in ast.walk(ast.parse(Path(path).read_text())):
                if not isinstance(node, ast.Await | ast.AsyncWith | ast.AsyncFor):
                    continue
                if any((name, line) in self._reached for line in _lines(node)):
                    continue
                what = f"{name}:{_awaited(node)}"
                if what not in excused:
                    missing.append(f"{what}, line {node.lineno}")
        return missing


def _lines(node: ast.Await | ast.AsyncWith | ast.AsyncFor) -> range:
    """Where a task that stands there is; not all of what is in a block."""
    last: ast.expr = node.value if isinstance(node, ast.Await) else _head(node)
    return range(node.lineno, (last.end_lineno or last.lineno) + 1)


def _head(block: ast.AsyncWith | ast.AsyncFor) -> ast.expr:
    return block.iter if isinstance(block, ast.AsyncFor) else block.items[-1].context_expr


def _awaited(node: ast.Await | ast.AsyncWith | ast.AsyncFor) -> str:
    match node:
        case ast.Await(value=ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name))):
            return name
        case ast.AsyncWith():
            return "async with"
        case ast.AsyncFor():
            return "async for"
        case _:
            return "await"


def _same_order_each_time() -> None:
    """Have Trio run its tasks in the order that it had last time, or steps cannot be counted."""
    scheduler = trio._core._run
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    scheduler._r.seed(0)


def jump(seconds: float) -> None:
    """Let time pass."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    clock.jump(seconds)


async def settle() -> None:
    """Wait until everything has come of what was done."""
    for _ in range(3):
        await wait_all_tasks_blocked(0.001)
