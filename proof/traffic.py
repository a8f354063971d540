"""Bytes that say by themselves whether one is lost, doubled or out of order.

Both ends know the seed of what the other sends, and compare every byte with what it must
be. As a program (`python -m proof.traffic SEED BYTES RATE`) this is the far end of a
session: it makes its terminal raw, says READY, sends its stream while it reads the other,
and ends with one line of JSON that tells what it got.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import sys
import threading
import time
import tty
from typing import Final

READY: Final = b"proof: ready\n"
CHUNK: Final = 16 * 1024
TO_SERVER: Final = 0
TO_CLIENT: Final = 1


@dataclasses.dataclass
class Verdict:
    """What one end received."""

    received: int = 0
    sha256: str = ""
    first_difference: int | None = None
    """Offset of the first byte that is not the one that was sent."""


class Stream:
    """The bytes of one direction, from a seed."""

    def __init__(self, seed: int, direction: int, size: int) -> None:
        self._source = random.Random(2 * seed + direction)
        self.left = size

    def take(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        data = self._source.randbytes(CHUNK)[: self.left]
        self.left -= len(data)
        return data


class Comparison:
    """Compare what arrives with what was sent."""

    def __init__(self, stream: Stream) -> None:
        self.verdict = Verdict()
        self._stream = stream
        self._expected = b""
        self._hash = hashlib.sha256()
        self.missing = stream.left
        """Bytes that are still to come."""

    def feed(self, data: bytes) -> None:
        """Take some bytes that arrived."""
        self._hash.update(data)
        while len(self._expected) < len(data) and self._stream.left:
            self._expected += self._stream.take()
        verdict = self.verdict
        if verdict.first_difference is None and not self._expected.startswith(data):
            same = next(
                (at for at, (a, b) in enumerate(zip(self._expected, data, strict=False)) if a != b),
                len(self._expected),
            )
            verdict.first_difference = verdict.received + same
        self._expected = self._expected[len(data) :]
        verdict.received += len(data)
        verdict.sha256 = self._hash.hexdigest()
        self.missing -= len(data)

    @property
    def flawless(self) -> bool:
        """Everything came, once and in order."""
        return self.missing == 0 and self.verdict.first_difference is None


class Pace:
    """Bytes a second at most; 0 means as fast as possible."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._sent = 0
        self._begun = time.monotonic()

    def delay(self, size: int) -> float:
        """Seconds to wait before the next ``size`` bytes are due."""
        self._sent += size
        if not self._rate:
            return 0.0
        return max(0.0, self._begun + self._sent / self._rate - time.monotonic())


def far_end(seed: int, size: int, rate: float) -> int:
    """Be the program at the far end of a session, on its terminal."""
    tty.setraw(0)
    write(READY)
    sending = threading.Thread(target=_send, args=(Stream(seed, TO_CLIENT, size), Pace(rate)))
    sending.start()
    comparison = Comparison(Stream(seed, TO_SERVER, size))
    while comparison.missing > 0 and (data := os.read(0, 65536)):
        comparison.feed(data)
    sending.join()
    write(json.dumps(dataclasses.asdict(comparison.verdict)).encode() + b"\n")
    return 0 if comparison.flawless else 1


def _send(stream: Stream, pace: Pace) -> None:
    while data := stream.take():
        time.sleep(pace.delay(len(data)))
        write(data)


def write(data: bytes) -> None:
    """Write all of it to the terminal."""
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(far_end(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
