from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from trioet.errors import LocalError, UsageError
from trioet.proxy.keys import SIZE, new_key, read_key


def test_a_key_is_read_as_it_was_written_and_nobody_else_may(tmp_path: Path) -> None:
    for name in ("one", "two"):
        new_key(str(tmp_path / name))
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    one, two = (read_key(str(tmp_path / name)) for name in ("one", "two"))
    assert len(one) == len(two) == SIZE
    assert one != two


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("precious")
    with pytest.raises(LocalError, match="is there already"):
        new_key(str(tmp_path / "key"))
    assert (tmp_path / "key").read_text() == "precious"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot write a key"):
        new_key(str(tmp_path / "nowhere" / "key"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_read_is_none(tmp_path: Path, mode: int) -> None:
    path = str(tmp_path / "key")
    new_key(path)
    os.chmod(path, mode)
    with pytest.raises(UsageError, match="others may read this key"):
        read_key(path)


@pytest.mark.parametrize(
    "text", ["", "trioet-key-1", "trioet-key-1 12", "trioet-key-2 " + "a" * 64, "x" * 10000]
)
def test_what_is_no_key_is_told_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="holds no key") as failed:
        read_key(str(path))
    assert "aaaa" not in str(failed.value)


def test_without_one_it_is_told_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--new-key"):
        read_key(str(tmp_path / "key"))
