"""What is typed and the program has not read yet: the owner's, and of those who may type too.

The owner goes first: a paste of somebody else's that the program does not read must not stand
before the owner's Ctrl-C.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

Took: TypeAlias = Callable[[int], None]
"""Told how many bytes of one's own the program has read."""


class Keyboard:
    """Bytes that wait for a program, and who is told that it took them."""

    def __init__(self, took: Took) -> None:
        """``took`` is the owner's."""
        self._took = took
        self._owners = bytearray()
        self._others: deque[tuple[bytearray, Took]] = deque()

    def __repr__(self) -> str:
        return f"<Keyboard owners={len(self._owners)} others={len(self._others)}>"

    def __bool__(self) -> bool:
        return bool(self._owners or self._others)

    @property
    def owners(self) -> int:
        """Bytes of the owner's that wait."""
        return len(self._owners)

    def put(self, data: bytes) -> None:
        """The owner has typed."""
        self._owners += data

    def put_for(self, data: bytes, took: Took) -> None:
        """Somebody else has."""
        if self._others and self._others[-1][1] == took:
            self._others[-1][0].extend(data)
        else:
            self._others.append((bytearray(data), took))

    def forget(self, took: Took) -> None:
        """Somebody may type no longer: what is left of it goes nowhere."""
        self._others = deque(item for item in self._others if item[1] != took)

    def write(self, write_nowait: Callable[[bytearray], int]) -> None:
        """Hand over what is taken; the rest stays."""
        if self._owners:
            taken = write_nowait(self._owners)
            del self._owners[:taken]
            self._took(taken)
        while self._others and not self._owners:
            data, took = self._others[0]
            taken = write_nowait(data)
            del data[:taken]
            if not data:
                self._others.popleft()
            took(taken)
            if data:
                return
