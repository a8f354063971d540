"""What every fuzzer shares: how it is run, and what counts as a find.

Whatever bytes come in, the code under test accepts them or raises one of the errors that
its documentation names. Anything else is a find, and so is an ``assert`` of a fuzzer that
does not hold: most feed the same bytes whole and sliced, which must make no difference.

`nox -s fuzz` runs them all. One alone, with any of libFuzzer's options::

    python fuzz/fuzz_framing.py CORPUS_DIRECTORY -max_total_time=60
    python fuzz/fuzz_framing.py A_FILE_WITH_A_FIND
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import atheris

from trioet.errors import PeerError


def fuzz(
    take: Callable[[bytes], None],
    *,
    seeds: Sequence[bytes],
    refusals: tuple[type[Exception], ...] = (PeerError,),
) -> None:
    """Call ``take`` with one input after another, from ``seeds`` on; does not return."""

    def take_one(data: bytes) -> None:
        try:
            take(data)
        except refusals as error:
            check_text(str(error))

    corpus = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if corpus and corpus.is_dir():
        for number, seed in enumerate(seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, take_one)
    atheris.Fuzz()


def check_text(text: str) -> None:
    """The text of an error is shown to people: it must not reach into their terminals."""
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)


def sliced(data: bytes) -> Iterator[bytes]:
    """The same bytes in slices of differing sizes, which the bytes themselves decide."""
    start = 0
    while start < len(data):
        end = start + 1 + data[start] % 7
        yield data[start:end]
        start = end
