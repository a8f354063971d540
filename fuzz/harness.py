"""What every fuzzer shares: how it is run, and what counts as a find.

Whatever bytes come in, the code under test accepts them or raises one of the errors that
its documentation names. Anything else is a find, and so is an ``assert`` of a fuzzer that
does not hold: most feed the same bytes whole and sliced, which must make no difference.

`nox -s fuzz` runs them all. One alone, with any of libFuzzer's options::

    python fuzz/fuzz_framing.py CORPUS_DIRECTORY -max_total_time=60
    python fuzz/fuzz_framing.py A_FILE_WITH_A_FIND

What was found worth keeping is in ``corpus/``, a directory for each fuzzer. Where there is
no atheris a fuzzer can still be imported: the tests say all of that again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

from trioet.errors import PeerError


def instrumented(*besides: str) -> AbstractContextManager[None]:
    """Within it, what is imported of trioet, and ``besides``, tells the fuzzer where it was."""
    if atheris is None:
        return nullcontext()
    instrumenting: AbstractContextManager[None] = atheris.instrument_imports(
        include=["trioet", *besides]
    )
    return instrumenting


class Target:
    """What a fuzzer calls with one input after another, beginning with ``seeds``."""

    def __init__(
        self,
        take: Callable[[bytes], None],
        *,
        seeds: Sequence[bytes],
        refusals: tuple[type[Exception], ...] = (PeerError,),
    ) -> None:
        self.seeds = seeds
        self._take = take
        self._refusals = refusals

    def check(self, data: bytes) -> None:
        """Take one input; whatever is raised is a find."""
        try:
            self._take(data)
        except self._refusals as error:
            check_text(str(error))

    def run(self) -> None:
        """Fuzz as the command line says; does not return."""
        corpus = Path(sys.argv[1]) if len(sys.argv) > 1 else None
        if corpus and corpus.is_dir():
            for number, seed in enumerate(self.seeds):
                (corpus / f"seed-{number}").write_bytes(seed)
        atheris.Setup(sys.argv, self.check)
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
