"""Proxies on several machines: a Redis says who has which seat.

A session's id names its seat (:mod:`trioet.scon.seats`), so nothing is written for a
session: Redis holds one short entry for each process, which says where its proxy can be
reached, and is renewed while that process lives. A proxy asks it only about a resume that
is not its own machine's, and remembers the answer for when Redis is away: then sessions
begin, live and mostly resume as before.

An entry that is gone means that the process is, and its sessions are; so an expired session
(404) is told apart from one whose proxy cannot be reached just now, where the client is
sent to try again.

The client library is coredis: it is maintained, typed, and runs on Trio itself, by anyio,
so that a question can be cancelled; redis-py would need a thread for each. It is an
optional extra, ``trioet[redis]``, and imported only here.
"""

from __future__ import annotations

import json
import logging
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from trioet.errors import LocalError, UsageError
from trioet.scon.directory import Holder
from trioet.scon.relays import Relay
from trioet.scon.seats import SEATS

if TYPE_CHECKING:
    import coredis

log = logging.getLogger(__name__)

LEASE_S: Final = 15.0
"""How long a seat is a process's without its word. For so long, too, the clients of one that
was killed are sent to try again; then they are told that their sessions are over."""

RENEW_EVERY_S: Final = LEASE_S / 5

ASK_S: Final = 2.0
"""A Redis that answers nothing for so long is away."""

ATTEMPTS: Final = 64
"""Seats that are tried by chance: with half of all taken, one run in 10**19 finds none."""

KEY: Final = "trioet:scon:seat:%d"

# Only whoever holds the seat, or finds it free, may renew it; only its holder gives it up.
RENEW: Final = """
local held = redis.call('get', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return 1
"""
GIVE_UP: Final = """
if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end
return 0
"""

_T = TypeVar("_T")


class Cluster:
    """The seats of all machines, seen from one process of the proxy at ``advertise``."""

    def __init__(self, redis: coredis.Redis[Any], advertise: tuple[str, int], key: bytes) -> None:
        self._redis = redis
        self._advertise = advertise
        self._key = key
        # The random part tells a process from others of its machine.
        self._entry = json.dumps([*advertise, secrets.token_hex(8)])
        self._known: dict[int, tuple[str, int]] = {}
        self._held: list[int] = []
        self.connected = True
        """Whether Redis answered when it was last asked."""

    def __repr__(self) -> str:
        return f"<Cluster at {self._advertise} seats={self._held} connected={self.connected}>"

    async def take(self) -> int:
        """A seat that nobody has, ours from now on while :meth:`keep` runs.

        Raises:
          OSError: Redis cannot be reached.
          LocalError: no seat was found.
        """
        for _ in range(ATTEMPTS):
            number = random.randrange(1, SEATS)
            if await self._renew(number):
                self._held.append(number)
                return number
        raise LocalError("no seat is free in Redis; are thousands of proxies running?")

    async def keep(self, lost: Callable[[], Awaitable[None]]) -> None:
        """Keep what :meth:`take` gave, until cancelled; that gives nothing up.

        ``lost`` is called when Redis was away for long and somebody else got a seat of ours
        meanwhile: new sessions must not get its ids. If it raises LocalError it is called again.
        """
        while True:
            await trio.sleep(RENEW_EVERY_S)
            for number in self._held[:]:
                try:
                    if not await self._renew(number):
                        log.error("seat %d was given to another proxy; taking another", number)
                        await lost()
                        self._held.remove(number)
                except (OSError, LocalError) as error:
                    log.warning("cluster: %s", error)
                    break

    async def give_up(self) -> None:
        """Give all seats up, if Redis is there."""
        for number in self._held:
            try:
                await self._ask(self._redis.eval(GIVE_UP, [KEY % number], [self._entry]))
            except OSError:
                return

    async def find(self, seat: int) -> Holder | None:
        """The proxy on another machine that has a seat; None if nobody has it.

        Raises:
          OSError: Redis cannot be asked now, and the answer is not remembered.
        """
        try:
            found = await self._ask(self._redis.get(KEY % seat))
        except OSError:
            if seat not in self._known:
                raise
            address = self._known[seat]
        else:
            self._known.pop(seat, None)
            if found is None:
                return None
            host, port, _ = json.loads(found)
            address = self._known[seat] = (str(host), int(port))
        # The sockets of this machine were asked before: who had it here is gone.
        return None if address == self._advertise else Relay(address, self._key)

    async def _renew(self, number: int) -> bool:
        milliseconds = str(int(LEASE_S * 1000))
        asked = self._redis.eval(RENEW, [KEY % number], [self._entry, milliseconds])
        return bool(await self._ask(asked))

    async def _ask(self, question: Awaitable[_T]) -> _T:
        """Ask Redis.

        Raises:
          OSError: it did not answer, or refused.
        """
        from coredis.exceptions import RedisError

        try:
            with trio.fail_after(ASK_S):
                answer = await question
        except (RedisError, OSError, trio.TooSlowError) as error:
            self.connected = False
            raise ConnectionError(f"{error or 'no answer'}") from error
        self.connected = True
        return answer


@asynccontextmanager
async def join(url: str, advertise: tuple[str, int], key: bytes) -> AsyncIterator[Cluster]:
    """Be one of the proxies that share a Redis. At the end seats are given up.

    Raises:
      UsageError: coredis is not installed, or the URL is none.
    """
    try:
        import coredis
    except ImportError:
        raise UsageError(
            "cluster.redis: for several machines coredis is needed: pip install 'trioet[redis]'"
        ) from None
    try:
        client = coredis.Redis.from_url(url)
    except Exception as error:
        # Not the URL itself: it may hold a password.
        raise UsageError(f"cluster.redis is no URL of a Redis: {type(error).__name__}") from None
    async with client:
        cluster = Cluster(client, advertise, key)
        try:
            yield cluster
        finally:
            with trio.CancelScope(shield=True):
                await cluster.give_up()
