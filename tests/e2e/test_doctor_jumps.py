"""The doctor through jumphosts, hop by hop: hosts that are really broken, each with an sshd."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jumphosts import DESTINATION, Journey, journey

pytestmark = [pytest.mark.e2e, pytest.mark.proof]


class Report:
    """What `trioet doctor --json` says of a way through jumphosts."""

    def __init__(self, way: Journey, *arguments: str) -> None:
        done = doctor(way, "--json", *arguments)
        assert done.returncode in (0, 1), done.stderr.decode()
        self.status = done.returncode
        self.steps: list[dict[str, Any]] = json.loads(done.stdout)["steps"]

    def __call__(self, step: str, hop: str = "") -> dict[str, Any]:
        return next(item for item in self.steps if (item["step"], item["hop"]) == (step, hop))

    def having(self, outcome: str) -> list[tuple[str, str]]:
        return [(item["hop"], item["step"]) for item in self.steps if item["outcome"] == outcome]


def doctor(way: Journey, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "trioet.cli.main", "doctor", "-F", str(way.config)]
    return subprocess.run(
        [*command, *arguments, DESTINATION],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=way.environment,
        timeout=100,
        check=False,
    )


@pytest.fixture
def through_two(tmp_path: Path, runtime_dir: Path) -> Iterator[Journey]:
    with journey(tmp_path, runtime_dir, "a", "b") as made:
        yield made


@pytest.fixture
def through_one(tmp_path: Path, runtime_dir: Path) -> Iterator[Journey]:
    with journey(tmp_path, runtime_dir, "a") as made:
        yield made


def test_a_good_way_is_well_at_every_hop_and_one_login_for_each(through_two: Journey) -> None:
    before = {name: sorted(host.runtime_dir.iterdir()) for name, host in through_two.hosts.items()}
    report = Report(through_two, "--jump", "a,b")
    assert (report.status, report.having("failed"), report.having("warning")) == (0, [], [])
    for name, after in (("a", "b"), ("b", DESTINATION)):
        steps = [item["step"] for item in report.steps if item["hop"] == name]
        assert [step for step in steps if step not in ("port", "mtu", "name")] == [
            *("config", "login", "program", "relay", "next")
        ]
        assert report("next", name)["facts"]["reached"] == "speaks ET", after
    assert report("port", "a")["facts"]["reached"] == "speaks ET"
    assert report("login", "b")["facts"]["method"] == "publickey"
    assert [host.sshd.logins for host in through_two.hosts.values()] == [1, 1, 1]
    assert before == {
        name: sorted(host.runtime_dir.iterdir()) for name, host in through_two.hosts.items()
    }, "it changes nothing"


def test_people_read_the_name_of_the_hop(through_one: Journey) -> None:
    done = doctor(through_one, "--jump", "a")
    lines = done.stdout.decode().splitlines()
    assert any(line.startswith("✓ relay") and "  a: allowed, by" in line for line in lines)
    assert any(
        line.startswith("✓ next hop") and "  a: reaches 127.0.0.1 " in line for line in lines
    )
    assert lines[-1] == "All is well."
    assert done.stderr == b""


def test_the_jumphosts_of_sshs_configuration_if_so_wished(through_one: Journey) -> None:
    through_one.configure(DESTINATION, "ProxyJump a")
    assert Report(through_one, "--jump", "auto")("relay", "a")["outcome"] == "ok"


def test_a_jumphost_that_does_not_let_in_is_named(through_two: Journey) -> None:
    (through_two.hosts["b"].sshd.directory / "authorized_keys").unlink()
    report = Report(through_two, "--jump", "a,b")
    assert report.having("failed") == [("b", "login")]
    assert "b does not let in" in report("login", "b")["what"]
    assert report("relay", "a")["outcome"] == "ok"
    assert report("login")["what"] == "b is not passed"


def test_a_jumphost_that_ssh_does_not_reach_is_named(
    through_two: Journey, free_tcp_port: int
) -> None:
    report = Report(through_two, "--jump", f"a,b:{free_tcp_port}")
    assert report.having("failed") == [("b", "login")]
    assert report("login", "b")["fix"]


def test_a_jumphost_without_trioet_is_told_how_to_have_it(through_two: Journey) -> None:
    for program in ("trioet", "etterminal"):
        (through_two.hosts["b"].sshd.bin / program).unlink()
    report = Report(through_two, "--jump", "a,b")
    assert report.having("failed") == [("b", "program")]
    found = report("program", "b")
    assert found["what"].startswith("neither trioet nor etterminal on b")
    assert found["command"] == f"trioet install -F {through_two.config} -o ProxyJump=a b"
    assert "{" not in found["fix"]
    skipped = report.having("skipped")
    assert {("b", "relay"), ("a", "next"), ("b", "next")} <= set(skipped)


def test_a_jumphost_that_has_it_elsewhere_is_told_to_link_it(through_one: Journey) -> None:
    hop = through_one.hosts["a"].sshd
    place = hop.home / "venv" / "bin"
    place.mkdir(parents=True)
    (hop.bin / "trioet").rename(place / "trioet")
    (hop.bin / "etterminal").unlink()
    found = Report(through_one, "--jump", "a")("program", "a")
    assert found["command"].endswith(f" a 'ln -s {place / 'trioet'} .local/bin/trioet'")


def test_who_stood_in_for_a_keeper_and_is_gone_is_not_missed(
    through_one: Journey, free_tcp_port: int
) -> None:
    """As when the logins behind it take minutes."""
    hop = through_one.hosts["a"].sshd
    script = (hop.bin / "trioet").read_text().partition("\n")[2]
    hop.put_program("trioet", script.replace('"$@"', '"$@" </dev/null'))
    report = Report(through_one, "--jump", "a", "--jport", str(free_tcp_port))
    assert report.having("failed") == []
    assert "nobody listens before there is a session" in report("port", "a")["what"]


@pytest.mark.parametrize(
    ("option", "outcome", "said"),
    [
        ("--no-relay", "failed", "relaying is switched off on this machine"),
        ("--relay-to=*.internal", "warning", "some places only"),
    ],
)
def test_an_administrator_who_forbids_it_is_told(
    through_one: Journey, option: str, outcome: str, said: str
) -> None:
    through_one.hosts["a"].start_router(0, option)
    report = Report(through_one, "--jump", "a")
    assert report("relay", "a")["outcome"] == outcome
    assert said in report("relay", "a")["what"]
    assert "ask its administrator" in report("relay", "a")["fix"]


def test_a_port_that_the_next_host_rejects_is_named(
    through_one: Journey, free_tcp_port: int
) -> None:
    """The destination's router serves another port than the one that is asked for."""
    through_one.destination.start_router()
    report = Report(through_one, "--jump", "a", "-p", str(free_tcp_port))
    assert report.having("failed") == [("a", "next")]
    found = report("next", "a")
    assert (
        found["what"] == f"cannot reach 127.0.0.1 port {free_tcp_port}: refused, no server listens"
    )
    assert "sessions go through ssh" in found["fix"]
