"""The options of `trioet web` that lead to another host, and the unit that it prints."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from trioet.cli.web_options import read_options
from trioet.cli.web_unit import print_unit
from trioet.errors import UsageError
from trioet.web.granting import grant
from trioet.web.login import token_for


def test_ssh_is_told_what_it_knows_by_its_own_names_and_asks_nobody() -> None:
    words = ["--connect", "ann@far", "-F", "file", "-i", "key", "-o", "Port=23", "--", "top", "-d"]
    options = read_options(words)
    assert options.command == ("top", "-d")
    assert options.far is not None
    target = options.far.target
    assert (target.host, target.user, target.config_file) == ("far", "ann", "file")
    assert target.options == ("BatchMode=yes", "Port=23")
    assert target.identity_files == ("key",)


def test_jumphosts_are_told_to_ssh_and_visitors_take_that_way() -> None:
    far = read_options(["--connect", "far", "--jump", "ann@one:23,two"]).far
    assert far is not None
    assert (far.target.jumps, far.direct, far.by_ssh) == ("ann@one:23,two", False, True)


def test_without_a_command_it_is_the_login_shell() -> None:
    options = read_options(["--connect", "far"])
    assert (options.command, options.name) == ((), "shell")


@pytest.mark.parametrize(
    ("via", "ways"), [("auto", (True, True)), ("direct", (True, False)), ("ssh", (False, True))]
)
def test_ways_may_be_chosen(via: str, ways: tuple[bool, bool]) -> None:
    far = read_options(["--connect", "far", "--via", via]).far
    assert far is not None
    assert (far.direct, far.by_ssh) == ways


@pytest.mark.parametrize(
    "words",
    [
        ["-F", "file", "--", "sh"],
        ["-l", "ann", "--", "sh"],
        ["-o", "Port=1", "--", "sh"],
        ["--via", "ssh", "--", "sh"],
        ["--jump", "one", "--", "sh"],
        ["--connect", "far", "--jump", "one", "--jump", "two"],
        ["--connect", "far", "--jump", "one,,two"],
        ["--connect", "far", "--jump", "one", "--via", "direct"],
        ["--terminal-path", "/x", "--", "sh"],
        ["--connect", "far:22"],
        ["--connect=-oProxyCommand=x"],
        ["--connect", ""],
        ["--connect", "ann@far", "-l", "bob"],
        ["--connect", "far", "--terminal-path", "/x'y/trioet"],
        ["--connect", "far", "--terminal-path", "/usr/bin/etterminal"],
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        read_options(words)


def test_a_link_that_is_handed_on_may_be_followed_later() -> None:
    at_once, later = (
        grant(read_options([*words, "--linger", "3600", "--", "sh"]), ()).start_s
        for words in ([], ["--e2e"])
    )
    assert (at_once, later) == (120, 3600)


def test_another_host_has_another_token() -> None:
    tokens = {
        token_for(read_options(["--token", *words, "--", "/bin/sh"]), b"key")
        for words in ([], ["--connect", "far"], ["--connect", "a@far"], ["--connect", "b@far"])
    }
    assert len(tokens) == 4


def test_a_unit_runs_the_same_in_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a%b"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", "/bin:/a b")
    unit = print_unit(["-w", "--print-unit", "--", "sh", "-c", "echo $A 100%", "--print-unit"])
    lines = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    words = shlex.split(lines["ExecStart"])
    assert words[1:] == ["web", "-w", "--", "sh", "-c", "echo $$A 100%%", "--print-unit"]
    assert lines["WorkingDirectory"] == f"{tmp_path}/a%%b"
    assert lines["Environment"] == '"PATH=/bin:/a b"'
    assert lines["KillMode"] == "process"


def test_a_unit_is_printed_and_nothing_served(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trioet.cli.main", "web", "--print-unit", "--connect", "far"]
    environment = {**os.environ, "TRIOET_RUNTIME_DIR": str(tmp_path)}
    printed = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True, env=environment
    ).stdout
    assert "ExecStart=" in printed
    assert " web --connect far\n" in printed
    assert list(tmp_path.iterdir()) == []
