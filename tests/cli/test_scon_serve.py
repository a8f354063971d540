"""The command line of `trioet scon serve`, as far as it serves nobody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trioet.cli.main import main
from trioet.cli.scon_serve import build_parser, configuration
from trioet.errors import UsageError
from trioet.scon.config import parse_toml

GOOD = '[[hosts]]\naddr = "h:1"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "scon.toml").write_text(GOOD)
    return tmp_path / "scon.toml"


def test_a_good_configuration_is_good(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scon", "serve", "--config", str(file), "-t"]) == 0
    assert capsys.readouterr().out == f"{file}: ok\n"


def test_what_is_wrong_is_told_in_one_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("hosts = 3")

    assert main(["scon", "serve", "--config", str(file), "-t"]) == 2
    assert capsys.readouterr().err == f"trioet: {file}: hosts = 3: a list of hosts belongs here\n"


def test_a_key_that_is_missing_is_found_by_the_check_too(file: Path) -> None:
    file.write_text(f'scp.psk_file = "/no/such/key"\n{GOOD}')

    assert main(["scon", "serve", "--config", str(file), "-t"]) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        'upstream_option.hook = "no_such_module:f"',
        'manager_option.token_file = "/no/such/token"',
        'cluster = {redis="redis://h", listen="h:1", advertise="h:1", key_file="/no/key"}',
    ],
)
def test_the_check_finds_whatever_would_not_serve(file: Path, wrong: str) -> None:
    file.write_text(f"{wrong}\n{GOOD}")

    assert main(["scon", "serve", "--config", str(file), "-t"]) == 2


def test_all_of_it_is_shown_with_the_command_lines_on_top(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scon", "serve", "--config", str(file), "--workers", "3", "-T"]) == 0
    assert parse_toml(capsys.readouterr().out, "shown").workers == 3


@pytest.mark.parametrize("count", ["0", "65"])
def test_workers_have_a_limit(file: Path, count: str) -> None:
    options = build_parser().parse_args(["--config", str(file), "--workers", count])

    with pytest.raises(UsageError, match="from 1 to 64"):
        configuration(options)


def test_without_a_configuration_it_is_said_where_one_is_to_be_found(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["scon", "serve"])
    assert "--config is needed" in capsys.readouterr().err


def test_the_unit_names_this_program_and_what_a_restart_without_an_end_needs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["scon", "serve", "--print-unit"]) == 0

    unit = capsys.readouterr().out
    assert "trioet scon serve --config /etc/trioet/scon.toml\n" in unit
    assert "\nNotifyAccess=all\n" in unit
    assert "\nEnvironment=TRIOET_RUNTIME_DIR=/run/trioet-scon\n" in unit
    assert "\nRuntimeDirectoryMode=0700\n" in unit


def test_a_unit_is_for_the_options_beside_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/etc")
    given = ["--config", "our.yaml", "--workers", "4", "-v"]
    assert main(["scon", "serve", *given, "--print-unit"]) == 0
    (command,) = re.findall("ExecStart=(.*)", capsys.readouterr().out)
    assert command.endswith(" scon serve --config /etc/our.yaml --workers 4 --verbose")

    assert main(["scon", "serve", "--print-unit"]) == 0
    assert " scon serve --config /etc/trioet/scon.toml\n" in capsys.readouterr().out


def test_a_unit_that_would_not_see_its_configuration_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["scon", "serve", "--config", "/home/ann/scon.toml", "--print-unit"]) == 2
    assert "sees nothing in /home" in capsys.readouterr().err
