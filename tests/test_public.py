"""What `import trioet` offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import trioet


@pytest.mark.parametrize("name", trioet.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    assert name in dir(trioet)
    assert getattr(trioet, name).__doc__


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = trioet.nonsense


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    seen = "import sys, trioet; print('trio' in sys.modules, 'nacl' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", seen], capture_output=True, check=True)
    assert done.stdout.split() == [b"False", b"False"]
