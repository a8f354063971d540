from __future__ import annotations

import pytest

from trioet.bootstrap.jump import Jump
from trioet.cli.connect_options import parse
from trioet.errors import UsageError


@pytest.mark.parametrize("option", ["-J", "--jump", "--jumphost"])
def test_jumphosts_by_whatever_name(option: str) -> None:
    options = parse([option, "me@a:22,b", "db1"])
    assert options.jumps == (Jump("a", "me", 22), Jump("b"))
    assert options.ssh_target.jumps == "me@a:22,b"


def test_without_any_the_way_is_direct() -> None:
    assert parse(["db1"]).jumps == ()
    assert parse(["db1"]).ssh_target.jumps is None


def test_those_of_sshs_configuration_are_ssh_business_until_asked_for() -> None:
    options = parse(["--jump", "auto", "db1"])
    assert options.jumps is None
    assert options.ssh_target.jumps is None


def test_what_et_says_of_its_one_jumphost() -> None:
    options = parse(["--jumphost", "a", "--jport", "2023", "--jserverfifo", "/run/s", "db1"])
    assert options.jumps == (Jump("a", port=2023, server_fifo="/run/s"),)
    assert options.ssh_target.jumps == "a"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--jump", ""],
        ["--jump", "a,"],
        ["--jport", "2022"],
        ["--jserverfifo", "/run/s"],
        ["--jump", "a,b", "--jport", "2022"],
        ["--jump", "auto", "--jport", "2022"],
        ["--jump", "a", "--jport", "0"],
        ["--jump", "a", "--jport", "x"],
        ["--jump", "a", "--jserverfifo", "/run/$(id)"],
        ["--jump", "a", "-J", "b"],
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        parse([*arguments, "db1"])
