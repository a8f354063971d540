from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.cli.pipe_options import OWN_WAY, parse, parse_place
from trioet.cli.way_options import Via
from trioet.errors import UsageError


def test_without_a_gateway_the_login_goes_to_the_place_itself_and_not_through_itself() -> None:
    options = parse(["me@db1:2222"])
    assert options.is_gateway
    assert (options.host, options.port) == ("db1", 2222)
    assert (options.session.host, options.session.user) == ("db1", "me")
    assert options.session.ssh_options[:-1] == (*OWN_WAY, "Port=2222")
    assert options.session.port is None  # which is that of the trioet server


def test_with_a_gateway_its_own_configuration_leads_there() -> None:
    options = parse(["--via", "me@gw", "db1:5432"])
    assert not options.is_gateway
    assert (options.host, options.port) == ("db1", 5432)
    assert (options.session.host, options.session.user) == ("gw", "me")
    assert not any(option.startswith("ProxyCommand") for option in options.session.ssh_options)


def test_what_the_user_says_goes_first() -> None:
    """ssh takes the first value that it sees."""
    options = parse(["-o", "ProxyCommand=corkscrew", "db1:22"]).session.ssh_options
    assert options[0] == "ProxyCommand=corkscrew"


def test_ways_and_logins_are_those_of_connect() -> None:
    arguments = ["--way", "ssh", "-F", "c", "-i", "k", "-p", "2022,2023", "-l", "me"]
    session = parse([*arguments, "-J", "a,b", "--ssh-backend", "openssh", "db1:22"]).session
    assert session.via is Via.SSH
    assert (session.config_file, session.identity_files) == ("c", ("k",))
    assert (session.port, session.more_ports) == (2022, (2023,))
    assert session.user == "me"
    assert session.ssh_target.jumps == "a,b"
    assert not session.has_terminal


@pytest.mark.parametrize(("given_options", "ours", "sshs"), [([], False, 0), (["-vv"], True, 1)])
def test_the_first_v_is_ours(given_options: list[str], ours: bool, sshs: int) -> None:
    options = parse([*given_options, "db1:22"])
    assert (options.verbose, options.session.verbose) == (ours, sshs)


@pytest.mark.parametrize("way", ["ssh", "direct", "auto"])
def test_the_ways_of_connect_are_no_gateways(way: str) -> None:
    with pytest.raises(UsageError, match=f"--way {way}"):
        parse(["--via", way, "db1:22"])
    assert parse(["--via", f"me@{way}", "db1:22"]).session.host == way


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("db1:22", "db1", 22),
        ("[2001:db8::1]:22", "2001:db8::1", 22),
        ("2001:db8::1:22", "2001:db8::1", 22),  # ssh's %h:%p
        ("fe80::1%eth0:22", "fe80::1%eth0", 22),
    ],
)
def test_a_place_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    found = parse_place(text)
    assert (found.host, found.port) == (host, port)


@pytest.mark.parametrize(
    "arguments",
    [
        ["db1"],
        ["db1:"],
        [":22"],
        ["db1:0"],
        ["db1:22,23"],
        ["db1:22", "more"],
        ["--via", "gw", "me@db1:22"],
        ["--via", "gw", "--via", "gx", "db1:22"],
        ["-l", "you", "me@db1:22"],
        ["--macserver", "--terminal-path", "x", "db1:22"],
        ["--srv", "--way", "ssh", "db1:22"],
        [],
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(arguments)


@given(st.text() | st.from_regex(r"[a-z@\[\]:0-9%.]{0,30}"))
def test_whatever_is_written_is_a_place_or_refused(text: str) -> None:
    try:
        found = parse_place(text)
    except UsageError:
        return
    assert found.port is not None
    assert parse_place(str(found)) == found
