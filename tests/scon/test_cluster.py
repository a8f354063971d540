"""Seats in a real Redis: who gets which, keeps it, and loses it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from scon_serving import Redis
from trioet.errors import LocalError, UsageError
from trioet.scon import cluster as cluster_module
from trioet.scon.cluster import KEY, Cluster, join
from waiting import until

pytestmark = pytest.mark.skipif(
    not shutil.which("redis-server"), reason="redis-server is not installed"
)

ONE, OTHER = ("192.0.2.1", 1249), ("192.0.2.2", 1249)


@pytest.fixture
async def redis(runtime_dir: Path) -> AsyncIterator[Redis]:
    made = Redis(runtime_dir)
    await made.start()
    yield made
    made.kill()


@asynccontextmanager
async def both(redis: Redis) -> AsyncIterator[tuple[Cluster, Cluster]]:
    async with join(redis.url, ONE, b"key") as one, join(redis.url, OTHER, b"key") as other:
        yield one, other


async def lost_nothing() -> None:
    raise AssertionError("a seat was lost")


async def test_seats_of_two_proxies_are_found_by_each_other_and_given_up(redis: Redis) -> None:
    async with join(redis.url, ONE, b"key") as one:
        async with join(redis.url, OTHER, b"key") as other:
            mine, theirs = await one.take(), await other.take()

            assert mine != theirs
            assert repr(await one.find(theirs)) == f"<Relay to {OTHER}>"
            assert repr(await other.find(mine)) == f"<Relay to {ONE}>"
            assert await one.find(mine) is None, "who had it on this machine is gone"
        assert await one.find(theirs) is None


async def test_a_seat_is_given_to_one_only(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "SEATS", 3)
    async with both(redis) as (one, other):
        assert {await one.take(), await other.take()} == {1, 2}
        async with join(redis.url, ("192.0.2.3", 1), b"key") as third:
            with pytest.raises(LocalError, match="no seat is free"):
                await third.take()


async def test_a_seat_is_kept_beyond_its_lease_and_free_after_its_process(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "LEASE_S", 0.4)
    monkeypatch.setattr(cluster_module, "RENEW_EVERY_S", 0.05)
    async with both(redis) as (one, other):
        seat = await one.take()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.keep, lost_nothing)
            await trio.sleep(1)
            assert await other.find(seat) is not None
            nursery.cancel_scope.cancel()
        with trio.fail_after(30):
            while await other.find(seat) is not None:  # noqa: ASYNC110 - there is no event
                await trio.sleep(0.05)


async def test_a_redis_that_forgot_is_told_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "RENEW_EVERY_S", 0.05)
    async with both(redis) as (one, other):
        seat = await one.take()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.keep, lost_nothing)
            redis.kill()
            await until(lambda: not one.connected)
            with pytest.raises(OSError, match="connect"):
                await other.find(seat)

            await redis.start()
            await until(lambda: one.connected)
            assert await other.find(seat) is not None

            redis.kill()
            assert repr(await other.find(seat)) == f"<Relay to {ONE}>", "it is remembered"
            nursery.cancel_scope.cancel()


async def test_a_seat_that_was_given_to_another_is_lost(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "RENEW_EVERY_S", 0.05)
    monkeypatch.setattr(cluster_module, "SEATS", 2)
    async with both(redis) as (one, other):
        seat = await one.take()
        await one.give_up()
        assert await other.take() == seat
        lost = trio.Event()

        refused = False

        async def tell() -> None:
            nonlocal refused
            if not refused:
                refused = True
                raise LocalError("not now")
            lost.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.keep, tell)
            with trio.fail_after(30):
                await lost.wait()
            nursery.cancel_scope.cancel()


async def test_no_redis_at_all_is_told(redis: Redis) -> None:
    redis.kill()
    async with join(redis.url, ONE, b"key") as one:
        with pytest.raises(OSError, match="connect"):
            await one.take()


async def test_an_url_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(UsageError, match="no URL of a Redis") as caught:
        async with join("redis://:s3cret@h:port", ONE, b"key"):
            pass
    assert "s3cret" not in str(caught.value)


async def test_without_coredis_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "coredis", None)
    with pytest.raises(UsageError, match=r"pip install 'trioet\[redis\]'"):
        async with join("redis://h", ONE, b"key"):
            pass


def test_an_entry_is_named_after_its_seat() -> None:
    assert KEY % 7 == "trioet:scon:seat:7"
