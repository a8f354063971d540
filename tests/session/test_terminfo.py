from __future__ import annotations

import os
from pathlib import Path

import pytest

from trioet.session import terminfo
from trioet.session.terminfo import FALLBACK, known_term


def describe(directory: Path, folder: str = "m") -> bytes:
    """Put a description of the terminal `mine` there; return the directory's name."""
    (directory / folder).mkdir(parents=True)
    (directory / folder / "mine").touch()
    return os.fsencode(directory)


def test_a_known_term_is_kept() -> None:
    assert known_term("xterm", {}) == ("xterm", "")


@pytest.mark.parametrize("term", ["xterm-of-tomorrow", "", "../../etc/passwd", "x/xterm"])
def test_any_other_falls_back_with_a_notice(term: str) -> None:
    used, notice = known_term(term, {})
    assert used == FALLBACK
    assert repr(term) in notice


def test_where_nothing_is_known_what_it_falls_back_to_is_used_without_a_notice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(terminfo, "SYSTEM_DIRECTORIES", ())
    assert known_term("xterm", {})[1]
    assert known_term(FALLBACK, {}) == (FALLBACK, "")


@pytest.mark.parametrize("folder", ["m", "6d"])
def test_the_users_own_terminfo_counts(folder: str, tmp_path: Path) -> None:
    describe(tmp_path / ".terminfo", folder)
    assert known_term("mine", {b"HOME": os.fsencode(tmp_path)}) == ("mine", "")


@pytest.mark.parametrize("dirs", [b"%b", b":%b", b"/no/such::%b:", b"%b:/no/such"])
def test_so_do_the_places_that_the_sessions_environment_names(
    dirs: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = describe(tmp_path)
    assert known_term("mine", {b"TERMINFO": place}) == ("mine", "")
    assert known_term("mine", {b"TERMINFO_DIRS": dirs % place}) == ("mine", "")
    assert known_term("xterm", {b"TERMINFO_DIRS": dirs % place}) == ("xterm", "")
    monkeypatch.setenv("TERMINFO", os.fsdecode(place))  # which is the keeper's
    assert known_term("mine", {})[0] == FALLBACK


def test_an_empty_place_is_not_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert known_term("mine", {b"TERMINFO_DIRS": b":", b"TERMINFO": b""})[0] == FALLBACK
