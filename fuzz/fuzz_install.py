"""What the far side of an installation says: install/words.py."""

from __future__ import annotations

from harness import Target, instrumented, sliced

with instrumented():
    from trioet.errors import PeerError
    from trioet.install.words import Answer, Word, WordReader


def take(data: bytes) -> None:
    reader = WordReader()
    words: list[Word] = []
    for piece in sliced(data):
        words += reader.feed(piece)
    assert words == WordReader().feed(data)
    answer = Answer()
    for word in words:
        assert word.text.isprintable()
        answer.add(word)
    assert (answer.problem == "") == (answer.status == 0 and not answer.problems)
    for python in answer.pythons:
        assert python.problem.isprintable()


PYTHON = (
    b'{"path": "/usr/bin/python3", "version": [3, 11, 2], "implementation": "CPython", '
    b'"platform": "linux-x86_64", "glibc": "2.36", "missing": [], "pip": true}'
)

TARGET = Target(
    take,
    seeds=[
        b"Welcome\n\nTRIOET-INSTALL:ready /tmp/tmp.abc\n",
        b"TRIOET-INSTALL:fact home /root\nTRIOET-INSTALL:python " + PYTHON + b"\n",
        b"TRIOET-INSTALL:python " + PYTHON.replace(b"3, 11", b"2, 7") + b"\n",
        b"ERROR: no\nTRIOET-INSTALL:problem \x1b[2J\nTRIOET-INSTALL:done 1\n",
        b"TRIOET-INSTALL:broken /x\n",
        b"TRIOET-INSTALL:taken /x\nTRIOET-INSTALL:did that\nTRIOET-INSTALL:done 0\n",
    ],
    refusals=(PeerError,),
)

if __name__ == "__main__":
    TARGET.run()
