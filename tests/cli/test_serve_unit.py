"""`trioet serve --print-unit`: the unit is for the options that were given beside it."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

import pytest

from trioet.cli.main import main
from trioet.cli.serve import build_parser
from trioet.server.places import SYSTEM_ROUTER_SOCKET


class Printed:
    """The unit that a command line prints."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def unit(self, *arguments: str) -> str:
        assert main(["serve", *arguments]) == 0
        return self._capsys.readouterr().out

    def values(self, key: str, *arguments: str) -> list[str]:
        lines = [line.partition("=") for line in self.unit(*arguments).splitlines()]
        return [value for name, _, value in lines if name == key]

    def words(self, *arguments: str) -> list[str]:
        """What comes behind `trioet serve`."""
        (command,) = self.values("ExecStart", *arguments)
        return shlex.split(command)[2:]

    def refusal(self, *arguments: str) -> str:
        assert main(["serve", *arguments]) == 2
        captured = self._capsys.readouterr()
        assert captured.out == ""
        return captured.err


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    return Printed(capsys)


def test_without_options_there_is_nothing_but_the_program(printed: Printed) -> None:
    assert printed.words("--print-unit", "user") == []
    assert printed.words("--print-unit", "system") == ["--socket", SYSTEM_ROUTER_SOCKET]
    assert printed.values("ListenStream", "--print-unit", "socket") == ["2022"]


def test_the_options_are_in_the_unit(printed: Printed, tmp_path: Path) -> None:
    (tmp_path / "serve.toml").touch()
    given = [
        *["--port", "3333", "--bind", "127.0.0.1", "--bind", "::1"],
        *["--config", f"{tmp_path}/serve.toml", "--socket", f"{tmp_path}/router-b.sock"],
        *["--relay-to", "*.internal:2022", "--relay-to", "10.0.0.0/8", "--no-relay", "--verbose"],
    ]
    assert printed.words(*given, "--print-unit", "user") == given
    left_out = [name for name, value in vars(build_parser().parse_args(given)).items() if not value]
    assert left_out == ["print_unit"]


def test_the_systems_unit_takes_options_too(printed: Printed) -> None:
    given = ["--port", "3333", "--relay-to", "db-?"]
    words = printed.words("--print-unit", "system", *given)
    assert words == ["--socket", SYSTEM_ROUTER_SOCKET, *given]


def test_what_systemd_would_replace_is_told_to_stay(printed: Printed, tmp_path: Path) -> None:
    path = tmp_path / "50% of $x.toml"
    path.touch()
    (command,) = printed.values("ExecStart", "--config", str(path), "--print-unit", "user")
    assert command.endswith(f' serve --config "{tmp_path}/50%% of $$x.toml"')


def test_files_are_named_in_full_for_a_service_is_in_another_directory(
    printed: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serve.toml").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("serve.toml", "~/serve.toml"):
        words = printed.words("--config", name, "--socket", "b.sock", "--print-unit", "user")
        assert words == ["--config", f"{tmp_path}/serve.toml", "--socket", f"{tmp_path}/b.sock"]


@pytest.mark.parametrize(
    ("bind", "streams"),
    [
        ([], ["3333"]),
        (["127.0.0.1"], ["127.0.0.1:3333"]),
        (["0.0.0.0", "::"], ["0.0.0.0:3333", "[::]:3333"]),
        (["fe80::1%eth0"], ["[fe80::1]:3333%%eth0"]),
    ],
)
def test_a_socket_unit_listens_where_the_options_say(
    printed: Printed, bind: list[str], streams: list[str]
) -> None:
    options = [word for address in bind for word in ("--bind", address)]
    command = ["--print-unit", "socket", "--port", "3333", *options]
    assert printed.values("ListenStream", *command) == streams


def test_a_socket_unit_listens_where_the_file_says(printed: Printed, tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text("port = 4444\nbind = '127.0.0.1'\nrelay = false")
    command = ["--print-unit", "socket", "--config", str(file)]
    assert printed.values("ListenStream", *command) == ["127.0.0.1:4444"]


@pytest.mark.parametrize(
    "option", [["--socket", "/s"], ["--relay-to", "h"], ["--no-relay"], ["--verbose"]]
)
def test_a_socket_unit_takes_nothing_that_is_the_services(
    printed: Printed, option: list[str]
) -> None:
    said = printed.refusal("--print-unit", "socket", *option)
    assert said == (
        f"trioet: {option[0]}: a socket unit only listens; it belongs to the service's\n"
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["socket", "--bind", "localhost"], "--bind localhost: a socket unit takes addresses"),
        (["socket", "--port", "0"], "--port 0: in a unit it must be one that clients find"),
        (["user", "--port", "0"], "--port 0: in a unit it must be one that clients find"),
        (["user", "--port", "70000"], "--port 70000: ports go from 0 to 65535"),
        (["user", "--relay-to", "a b"], "'a b' is no place to relay to"),
        (["user", "--config", "/no/such.toml"], "/no/such.toml: No such file"),
        (["system", "--socket", "/run/s"], "--socket: the system's unit has /run/trioet/router"),
    ],
)
def test_what_makes_no_sense_in_a_unit_is_refused(
    printed: Printed, arguments: list[str], why: str
) -> None:
    assert printed.refusal("--print-unit", *arguments).startswith(f"trioet: {why}")


def test_a_file_that_the_systems_unit_would_not_see_is_refused(printed: Printed) -> None:
    with tempfile.NamedTemporaryFile(dir="/var/tmp", suffix=".toml") as file:
        said = printed.refusal("--print-unit", "system", "--config", file.name)
        assert printed.words("--print-unit", "user", "--config", file.name)
    assert said.endswith(": the system's unit sees nothing in /var/tmp; put it into /etc\n")
