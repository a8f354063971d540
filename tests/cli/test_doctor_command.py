"""The command line of `trioet doctor`."""

from __future__ import annotations

import pytest

from trioet.cli import doctor
from trioet.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["-p", "2022"], "which host"),
        (["host", "-L", "1:2:3"], "unrecognized arguments: -L"),
        (["host", "--ssh-backend", "asyncssh"], "goes by the ssh program"),
        (["host:1", "-p", "2"], "two ports"),
        (["host", "--jump", "a,,b"], "a host is missing"),
        (["host", "--jump", "a", "--srv"], "--jump goes through other hosts"),
        (["--jump", "a"], "which host"),
        (["ho st"], "cannot be in a host name"),
        (["host", "--terminal-path", "it's"], "cannot be passed to every remote shell"),
    ],
)
def test_what_cannot_be_followed_is_refused(arguments: list[str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        doctor.main(arguments)
