from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioet.doctor.far_report import read_facts
from trioet.doctor.finding import Outcome
from trioet.doctor.ports import (
    Goal,
    judge_mtu,
    judge_next,
    judge_port,
    judge_srv,
    judge_srv_failure,
    probe_of_hop,
)
from trioet.doctor.probe import Probe, Reached
from trioet.doctor.stand_in import INVALID_KEY
from trioet.link.srv import NOWHERE, Record

ROUTER = Goal(2022, "the router", seen=True, needed=True, start="start it")
UNKNOWN = Goal(2022, "the server", seen=False, needed=False, start="start it")
ET = Goal(2022, "the server", seen=False, needed=True, start="start it")
SPOKE = Probe(Reached.SPEAKS, mtu=1500, mss=1448)


@pytest.mark.parametrize("reached", Reached)
def test_every_end_of_a_probe_says_where_and_what_to_do(reached: Reached) -> None:
    for goal in (ROUTER, UNKNOWN, ET):
        found = judge_port("192.0.2.1", Probe(reached), goal)
        assert "192.0.2.1 port 2022" in found.what
        assert found.outcome is Outcome.WELL or found.fix


def test_who_refuses_depends_on_who_listens() -> None:
    refused = Probe(Reached.REFUSED)
    rejected = judge_port("192.0.2.1", refused, ROUTER)
    assert "a firewall rejects it" in rejected.what
    assert not rejected.command
    missing = judge_port("192.0.2.1", refused, ET)
    assert missing.command == "start it"
    assert judge_port("192.0.2.1", refused, UNKNOWN).outcome is Outcome.WELL


@pytest.mark.parametrize("reached", Reached)
def test_whatever_a_jumphost_finds_says_where_and_what_to_do(reached: Reached) -> None:
    for goal in (ROUTER, UNKNOWN, ET):
        found = judge_next("db1", Probe(reached), goal)
        assert "db1 port 2022" in found.what
        assert found.outcome is Outcome.WELL or "sessions go through ssh" in found.fix
    assert judge_next("db1", None, ROUTER).outcome is Outcome.SKIPPED


@pytest.mark.parametrize(
    ("told", "reached"),
    [
        ({"state": "connected", "answer": INVALID_KEY.hex()}, Reached.SPEAKS),
        ({"state": "connected", "answer": b"SSH-2.0-".hex()}, Reached.STRANGER),
        ({"state": "connected", "answer": ""}, Reached.SILENT),
        ({"state": "refused"}, Reached.REFUSED),
        ({"state": "dropped"}, Reached.DROPPED),
        ({"state": "unreachable", "words": "no route"}, Reached.UNREACHABLE),
    ],
)
def test_what_a_jumphost_tells_is_read_as_a_probe(told: dict[str, str], reached: Reached) -> None:
    found = probe_of_hop(read_facts({"reach": told}))
    assert found is not None
    assert found.reached is reached


@given(st.dictionaries(st.sampled_from(["state", "words", "answer"]), st.text() | st.integers()))
def test_what_makes_no_sense_is_no_probe(told: dict[str, object]) -> None:
    found = probe_of_hop(read_facts({"reach": told}))
    assert found is None or isinstance(found, Probe)


def test_an_answer_that_is_no_hexadecimal_is_none() -> None:
    told = {"state": "connected", "answer": "xyz"}
    assert probe_of_hop(read_facts({"reach": told})) is None
    assert probe_of_hop(None) is None


def record(target: str) -> Record:
    return Record(1, 0, 2022, target)


def test_what_srv_records_say_of_servers() -> None:
    assert judge_srv("db1", []).outcome is Outcome.WORTH_KNOWING
    assert judge_srv("db1", [record(NOWHERE)]).outcome is Outcome.FAILED
    found = judge_srv("db1", [record("one"), record("two")])
    assert (found.outcome, found.what) == (Outcome.WELL, "one:2022, two:2022")
    assert judge_srv_failure("db1", "no name server answers").outcome is Outcome.WORTH_KNOWING


@pytest.mark.parametrize("another", ["address", "port"])
def test_one_address_or_port_of_many_may_fail(another: str) -> None:
    found = judge_port("2001:db8::1", Probe(Reached.DROPPED), ROUTER, another=another)
    assert found.outcome is Outcome.WORTH_KNOWING
    assert found.fix == f"none needed: another {another} works"
    assert found.facts["family"] == "IPv6"


def test_where_a_firewall_is_in_the_way_it_is_said_how_sessions_go() -> None:
    found = judge_port("192.0.2.1", Probe(Reached.DROPPED), ROUTER)
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
