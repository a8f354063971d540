"""SRV records: what a real name server on loopback says, and in which order it is followed."""

from __future__ import annotations

import random
from collections import Counter

import dns.rcode
import dns.rdata
import pytest
from dns.asyncresolver import Resolver
from dns.rdtypes.IN.SRV import SRV
from hypothesis import given
from hypothesis import strategies as st

from name_server import name_server
from trioet.link.srv import (
    NAME,
    NOWHERE,
    Answer,
    LookupFailed,
    Record,
    in_order,
    look_up,
    read_record,
)

words = st.integers(0, 0xFFFF)
records = st.builds(Record, st.integers(0, 3), words, words, st.sampled_from(["a", "b", "c"]))


@given(st.lists(records), st.randoms(use_true_random=False))
def test_each_record_has_its_turn_and_priorities_go_before_weights(
    given_: list[Record], chance: random.Random
) -> None:
    ordered = in_order(given_, chance)
    assert Counter(ordered) == Counter(given_)
    priorities = [record.priority for record in ordered]
    assert priorities == sorted(priorities)


@given(st.lists(words, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_who_has_no_weight_comes_last_unless_nothing_is_drawn(
    weights: list[int], chance: random.Random
) -> None:
    """RFC 2782: it is chosen only when the number drawn is 0, which it never is here."""

    class NeverNone(random.Random):
        def randint(self, a: int, b: int) -> int:
            return chance.randint(min(1, b), b)

    given_ = [Record(1, weight, 1, str(i)) for i, weight in enumerate(weights)]
    ordered = in_order(given_, NeverNone(1))
    without = [record.weight == 0 for record in ordered]
    assert without == sorted(without)


def firsts(weights: dict[str, int]) -> Counter[str]:
    """Who is how often the first of a thousand times."""
    chance = random.Random(5)
    given_ = [Record(1, weight, 1, name) for name, weight in weights.items()]
    return Counter(in_order(given_, chance)[0].target for _ in range(1000))


def test_weights_are_chances() -> None:
    assert firsts({"a": 10, "b": 30, "c": 60}) == pytest.approx(
        {"a": 100, "b": 300, "c": 600}, rel=0.2
    )


def test_equals_without_weights_share_evenly() -> None:
    assert firsts({"a": 0, "b": 0}) == pytest.approx({"a": 500, "b": 500}, rel=0.2)


@given(st.binary(max_size=60))
def test_a_target_is_a_name_that_can_be_shown_and_dialled_or_nothing(tail: bytes) -> None:
    """Any bytes are the labels of some name."""
    data = b"\0\1\0\2\x07\xe6" + bytes([len(tail)]) * bool(tail) + tail + b"\0"
    rdata = dns.rdata.from_wire("IN", "SRV", data, 0, len(data))
    assert isinstance(rdata, SRV)
    record = read_record(rdata)
    if record is not None:
        assert record[:3] == (1, 2, 2022)
        assert record.target == NOWHERE if not tail else NAME.fullmatch(record.target)


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("1 2 2022 A.example.", Record(1, 2, 2022, "A.example")),
        ("0 0 443 192.0.2.7.", Record(0, 0, 443, "192.0.2.7")),
        ("0 0 0 .", Record(0, 0, 0, NOWHERE)),
        ("0 0 0 a.example.", None),
        (r"0 0 1 a\.b.example.", None),
        (r"0 0 1 \027[2J.example.", None),
        (r"0 0 1 a\010.", None),
    ],
)
def test_records_are_read(text: str, record: Record | None) -> None:
    rdata = dns.rdata.from_text("IN", "SRV", text)
    assert isinstance(rdata, SRV)
    assert read_record(rdata) == record


async def test_the_records_of_a_host_are_found() -> None:
    async with name_server() as server:
        server.records = ("1 0 2022 a.example.", "2 0 443 b.example.")
        answer = await look_up("db1.example", server.resolver())
        assert set(answer.records) == {
            Record(1, 0, 2022, "a.example"),
            Record(2, 0, 443, "b.example"),
        }
        assert answer.ttl_s == 300
        assert server.asked == ["_trioet._tcp.db1.example."]


async def test_a_name_without_a_dot_is_completed_and_no_other() -> None:
    async with name_server() as server:
        server.rcode = dns.rcode.NXDOMAIN
        assert await look_up("db1", server.resolver()) == Answer(())
        assert server.asked[-1] == "_trioet._tcp.db1.search.example."
        server.asked.clear()
        assert await look_up("db1.example", server.resolver()) == Answer(())
        assert server.asked == ["_trioet._tcp.db1.example."]


async def test_a_host_may_have_no_record() -> None:
    async with name_server() as server:
        assert await look_up("db1.example", server.resolver()) == Answer(())


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
async def test_for_an_address_nobody_is_asked(address: str) -> None:
    async with name_server() as server:
        assert await look_up(address, server.resolver()) == Answer(())
        assert not server.asked


async def failure(host: str, resolver: Resolver) -> str:
    with pytest.raises(LookupFailed) as failed:
        await look_up(host, resolver)
    return str(failed.value)


async def test_a_name_server_that_refuses_or_fails_is_told() -> None:
    async with name_server() as server:
        for server.rcode in (dns.rcode.REFUSED, dns.rcode.SERVFAIL, dns.rcode.NOTIMP):
            why = await failure("db1.example", server.resolver())
            assert why == "no name server gives an answer that can be used"


async def test_a_name_server_that_is_silent_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trioet.link.srv.LOOKUP_DEADLINE_S", 2.0)
    monkeypatch.setattr("trioet.link.srv.TRY_S", 0.1)
    async with name_server() as server:
        server.silent = True
        assert await failure("db1.example", server.resolver()) == "no name server answers"
        assert len(server.asked) > 1


@pytest.mark.parametrize(
    "garbage", [b"", b"\x81", b"\xff" * 300, b"\x81\x80\0\1\0\1\0\0\0\0\xc0\x0c"]
)
async def test_garbage_is_no_answer(garbage: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioet.link.srv.LOOKUP_DEADLINE_S", 2.0)
    async with name_server() as server:
        server.garbage = garbage
        assert await failure("db1.example", server.resolver()) == "no name server answers"


async def test_the_second_name_server_is_asked_when_the_first_is_dead() -> None:
    async with name_server() as server:
        server.records = ("1 0 2022 a.example.",)
        resolver = server.resolver()
        resolver.nameservers = ["127.0.0.2", "127.0.0.1"]
        assert (await look_up("db1.example", resolver)).records


async def test_records_that_nobody_could_follow_are_a_failure() -> None:
    async with name_server() as server:
        server.records = ("1 0 0 a.example.",)
        why = await failure("db1.example", server.resolver())
        assert why == "its SRV records name no host and port"


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", ".", "a.b\\"])
async def test_a_host_that_no_name_server_could_know_is_a_failure(host: str) -> None:
    async with name_server() as server:
        assert await failure(host, server.resolver())
        assert not server.asked
