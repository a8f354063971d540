from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trioet.bootstrap.jump import MAX_JUMPS, Jump, parse_jumps, ssh_jumps
from trioet.bootstrap.ssh_sharing import LONGEST_PLACE, quiet_config, shared_logins
from trioet.errors import UsageError


@pytest.mark.parametrize(
    ("text", "jumps"),
    [
        ("a", [Jump("a")]),
        ("a,b", [Jump("a"), Jump("b")]),
        ("me@a:22,b", [Jump("a", "me", 22), Jump("b")]),
        ("me@[2001:db8::1]:22", [Jump("2001:db8::1", "me", 22)]),
        ("2001:db8::1", [Jump("2001:db8::1")]),
        ("ssh://me@a:22", [Jump("a", "me", 22)]),
        ("a, b", [Jump("a"), Jump("b")]),
    ],
)
def test_jumphosts_are_read_as_ssh_reads_them(text: str, jumps: list[Jump]) -> None:
    assert list(parse_jumps(text)) == jumps
    assert parse_jumps(ssh_jumps(jumps) or "") == tuple(jumps)


@pytest.mark.parametrize(
    "text", ["", ",", "a,", ",a", "a,,b", "a b", "-oProxyCommand=x", "a;b", "a:0"]
)
def test_what_names_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_jumps(text)


def test_a_chain_without_end_is_refused() -> None:
    with pytest.raises(UsageError, match=f"{MAX_JUMPS} at most"):
        parse_jumps(",".join("a" * (MAX_JUMPS + 1)))


def test_no_jumphosts_are_no_option() -> None:
    assert ssh_jumps([]) is None


def resolved(config: str | None, host: str) -> dict[str, str]:
    done = subprocess.run(["ssh", "-G", "-F", str(config), host], capture_output=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.decode().splitlines() if " " in line)


def test_connections_to_jumphosts_are_shared_and_the_users_words_hold(runtime_dir: Path) -> None:
    users = runtime_dir / "a config"
    users.write_text(
        "Host a\n  User anna\nHost own\n  ControlPath /own/%h\n  ControlMaster no\nHost last\n"
    )
    with shared_logins(str(users), ["a", "own", "again"], str(runtime_dir)) as config:
        shared, own, other = (resolved(config, host) for host in ("a", "own", "db1"))
        assert shared["controlpath"] != resolved(config, "again")["controlpath"]
        assert (shared["user"], shared["controlmaster"]) == ("anna", "auto")
        assert shared["controlpath"].startswith(str(runtime_dir))
        assert (own["controlmaster"], own["controlpath"]) == ("false", "/own/own")
        assert "controlpath" not in other
        assert (shared["batchmode"], other["batchmode"]) == ("no", "no")
        quiet = quiet_config(config)
        assert [resolved(quiet, host)["batchmode"] for host in ("a", "db1")] == ["yes", "yes"]
        assert resolved(quiet, "a")["user"] == "anna"
    assert list(runtime_dir.iterdir()) == [users]


@pytest.mark.parametrize("place", ["", "with a space", "x" * LONGEST_PLACE])
def test_where_no_sockets_can_be_each_login_is_made_anew(runtime_dir: Path, place: str) -> None:
    directory = runtime_dir / place if place else ""
    if place:
        (runtime_dir / place).mkdir()
    with shared_logins("/etc/hosts", ["a"], str(directory)) as config:
        assert config == "/etc/hosts"
        assert quiet_config(config) is None
    with shared_logins(None, ["a"], str(directory)) as config:
        assert config is None
        assert quiet_config(config) is None


def test_no_configuration_at_all_is_none(runtime_dir: Path) -> None:
    with shared_logins("none", ["a"], str(runtime_dir)) as config:
        assert "Include" not in Path(str(config)).read_text()


def test_it_vanishes_whatever_happens(runtime_dir: Path) -> None:
    with pytest.raises(KeyboardInterrupt), shared_logins(None, ["a"], str(runtime_dir)):
        raise KeyboardInterrupt
    assert not list(runtime_dir.iterdir())
