from __future__ import annotations

import pytest

from trioet.doctor.finding import Outcome
from trioet.doctor.ports import Goal, judge_mtu, judge_port
from trioet.doctor.probe import Probe, Reached

ROUTER = Goal(2022, "the router", seen=True, needed=True, start="start it")
UNKNOWN = Goal(2022, "the server", seen=False, needed=False, start="start it")
ET = Goal(2022, "the server", seen=False, needed=True, start="start it")
SPOKE = Probe(Reached.SPEAKS, mtu=1500, mss=1448)


@pytest.mark.parametrize("reached", Reached)
def test_every_end_of_a_probe_says_where_and_what_to_do(reached: Reached) -> None:
    for goal in (ROUTER, UNKNOWN, ET):
        found = judge_port("192.0.2.1", Probe(reached), goal, another=False)
        assert "192.0.2.1 port 2022" in found.what
        assert found.outcome is Outcome.WELL or found.fix


def test_who_refuses_depends_on_who_listens() -> None:
    refused = Probe(Reached.REFUSED)
    rejected = judge_port("192.0.2.1", refused, ROUTER, another=False)
    assert "a firewall rejects it" in rejected.what
    assert not rejected.command
    missing = judge_port("192.0.2.1", refused, ET, another=False)
    assert missing.command == "start it"
    assert judge_port("192.0.2.1", refused, UNKNOWN, another=False).outcome is Outcome.WELL


def test_one_address_of_many_may_fail() -> None:
    found = judge_port("2001:db8::1", Probe(Reached.DROPPED), ROUTER, another=True)
    assert found.outcome is Outcome.WORTH_KNOWING
    assert found.facts["family"] == "IPv6"


def test_where_a_firewall_is_in_the_way_it_is_said_how_sessions_go() -> None:
    found = judge_port("192.0.2.1", Probe(Reached.DROPPED), ROUTER, another=False)
    assert found.fix.startswith("until it can be reached, sessions go through ssh: open TCP port")


@pytest.mark.parametrize(
    ("address", "full", "mtu", "outcome"),
    [
        ("192.0.2.1", SPOKE, 1500, Outcome.WELL),
        ("192.0.2.1", Probe(Reached.SPEAKS, mtu=65535, mss=32768), 65535, Outcome.WELL),
        ("192.0.2.1", Probe(Reached.SPEAKS, mtu=1500, mss=1328), 1380, Outcome.WELL),
        ("fe80::1%eth0", Probe(Reached.SPEAKS, mtu=1500, mss=1308), 1380, Outcome.WELL),
        ("192.0.2.1", Probe(Reached.SPEAKS, mtu=1000, mss=948), 1000, Outcome.WORTH_KNOWING),
        ("192.0.2.1", Probe(Reached.SILENT, mtu=1500, mss=1448), 1500, Outcome.FAILED),
        ("192.0.2.1", Probe(Reached.CLOSED, mtu=1500, mss=1448), 1500, Outcome.SKIPPED),
        ("192.0.2.1", Probe(Reached.SPEAKS), None, Outcome.SKIPPED),
    ],
)
def test_the_path_takes_what_it_takes(
    address: str, full: Probe, mtu: int | None, outcome: Outcome
) -> None:
    found = judge_mtu(address, SPOKE, full)
    assert found.outcome is outcome
    assert found.facts.get("mtu") == mtu
