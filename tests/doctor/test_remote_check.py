from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.doctor.far_report import FarReader, FarReport
from trioet.doctor.remote_check import LINES, check_command
from trioet.errors import UsageError

SHELLS = ["sh", "bash", "dash", "zsh", "fish", "tcsh", "csh"]


class FarSide:
    """A home, and programs that a test puts there; the system's own are on the PATH."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.home = directory / "home"
        self.bin.mkdir()
        self.home.mkdir()

    def put(self, path: Path, script: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, command: str, shell: str = "sh") -> FarReport:
        program = shutil.which(shell)
        if program is None:
            pytest.skip(f"{shell} is not installed")
        environment = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(self.home),
            "TERMINFO_DIRS": f":{self.home}/shared",
        }
        done = subprocess.run(
            [program, "-c", command],
            env={**environment, "SHELL": program},
            input=LINES,
            stdout=subprocess.PIPE,
            check=False,
        )
        assert done.returncode == 0
        reader = FarReader()
        reader.feed(done.stdout)
        assert reader.report.complete
        return reader.report


@pytest.fixture
def far_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FarSide:
    # What is installed on the machine that runs the tests must not be found.
    monkeypatch.setattr("trioet.doctor.remote_check.EXTRA_PATH", "$HOME/.local/bin")
    return FarSide(tmp_path)


CHECK = """\
if [ "$1" != check ]; then exit 9; fi; shift
printf 'TRIOET-CHECK:{"version":"%s","router":{"socket":"%s"}}\\n' "$*" "$PWD"
"""


@pytest.mark.parametrize("shell", SHELLS)
def test_trioet_is_asked(far_side: FarSide, shell: str) -> None:
    far_side.put(far_side.bin / "trioet", CHECK)

    report = far_side.run(check_command(term="xterm", port=2022), shell)

    assert report.noise == 0
    assert report.one("stdin") == "1"
    assert report.one("shell").endswith(shell)
    assert report.one("program") == str(far_side.bin / "trioet")
    assert report.facts is not None
    assert report.facts.version == "--term=xterm --stand-in=2022"


@pytest.mark.parametrize("shell", SHELLS)
def test_of_one_that_does_not_know_the_question_the_version_is_told(
    far_side: FarSide, shell: str
) -> None:
    far_side.put(far_side.bin / "trioet", '[ "$1" = --version ] || exit 2; echo trioet 0.0.1')

    report = far_side.run(check_command(term="xterm"), shell)

    assert report.facts is None
    assert report.one("version") == "trioet 0.0.1"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_host_without_any_tells_what_could_be_done(far_side: FarSide, shell: str) -> None:
    far_side.put(far_side.home / "venv/bin/trioet", "")
    far_side.put(far_side.home / ".hidden/bin/trioet", "")
    for place in (".terminfo", "shared"):
        (far_side.home / place / "q").mkdir(parents=True)
        (far_side.home / place / "q/quaint").touch()

    report = far_side.run(check_command(term="quaint"), shell)

    assert report.one("program") == ""
    assert report.said["elsewhere"] == (
        f"{far_side.home}/venv/bin/trioet",
        f"{far_side.home}/.hidden/bin/trioet",
    )
    assert report.said["terminfo"] == (
        f"{far_side.home}/.terminfo",
        f"{far_side.home}/shared",
    )
    assert report.one("time").isdecimal()
    assert report.one("user")
    assert "python" in report.said


@pytest.mark.parametrize("shell", SHELLS)
def test_a_path_may_hold_spaces_and_begin_in_the_far_home(far_side: FarSide, shell: str) -> None:
    far_side.put(far_side.home / "my tools/trioet", CHECK)
    command = check_command(
        term="xterm", terminal_path="~/my tools/trioet", server_fifo="$HOME/a fifo;é"
    )

    report = far_side.run(command, shell)

    assert report.one("program") == f"{far_side.home}/my tools/trioet"
    assert report.facts is not None
    expected = f"--term=xterm --stand-in --serverfifo={far_side.home}/a fifo;é"
    assert report.facts.version == expected


def test_etterminal_is_not_asked_what_it_does_not_know(far_side: FarSide) -> None:
    far_side.put(far_side.bin / "etterminal", '[ "$1" = --version ] || exit 9; echo et version 6')

    report = far_side.run(check_command(term="xterm"))

    assert report.one("program") == str(far_side.bin / "etterminal")
    assert report.one("version") == "et version 6"


@given(st.text(), st.text(), st.text())
def test_nothing_breaks_out_of_the_quotes(term: str, program: str, fifo: str) -> None:
    try:
        command = check_command(term=term, terminal_path=program, server_fifo=fifo)
    except UsageError:
        return
    assert command.count("'") == 2
    assert not set(command) & set("\\!\n")
