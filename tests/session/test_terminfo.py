from __future__ import annotations

from pathlib import Path

import pytest

from trioet.session.terminfo import FALLBACK, known_term


def test_a_known_term_is_kept() -> None:
    assert known_term("xterm") == ("xterm", "")


@pytest.mark.parametrize("term", ["xterm-of-tomorrow", "", "../../etc/passwd", "x/xterm"])
def test_any_other_falls_back_with_a_notice(term: str) -> None:
    used, notice = known_term(term)
    assert used == FALLBACK
    assert repr(term) in notice


@pytest.mark.parametrize("folder", ["m", "6d"])
def test_the_users_own_terminfo_counts(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".terminfo" / folder).mkdir(parents=True)
    (tmp_path / ".terminfo" / folder / "mine").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert known_term("mine") == ("mine", "")
