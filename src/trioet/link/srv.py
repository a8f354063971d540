"""What a host's SRV records say of its servers (RFC 2782): the lookup, and the order to try.

dnspython asks the name servers of /etc/resolv.conf. It is imported when a lookup is made: few
need one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from trioet.errors import TrioetError

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.rdtypes.IN.SRV import SRV

SERVICE: Final = "_trioet._tcp"

LOOKUP_DEADLINE_S: Final = 3.0
"""For a lookup in all."""

TRY_S: Final = 1.0
"""Before the next name server is asked, or the same again: the first may be dead."""

MOST_TARGETS: Final = 8
"""Of more, the first in order are used: each may cost a connection that fails."""

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", re.ASCII)
"""What a target is called if it can be a host; anything else need not reach a screen."""

NOWHERE: Final = "."
"""The target of a record that says: there is no such service here (RFC 2782)."""


class Record(NamedTuple):
    """One SRV record. ``target`` has no dot at its end, unless it is :data:`NOWHERE`."""

    priority: int
    weight: int
    port: int
    target: str


class Answer(NamedTuple):
    """What the name server says: ``records``, none if there are none, for ``ttl_s`` seconds."""

    records: tuple[Record, ...]
    ttl_s: float = 0.0


class LookupFailed(TrioetError):
    """What the records are could not be learnt."""


def in_order(records: Iterable[Record], chance: random.Random) -> list[Record]:
    """The order in which to try: by priority; within one by chance, as the weights have it.

    The algorithm is that of RFC 2782, "Weight".
    """
    ordered: list[Record] = []
    shuffled = list(records)
    chance.shuffle(shuffled)
    left = sorted(shuffled, key=lambda record: (record.priority, record.weight))
    while left:
        equals = [record for record in left if record.priority == left[0].priority]
        rest = chance.randint(0, sum(record.weight for record in equals))
        for record in equals:
            rest -= record.weight
            if rest <= 0:
                break
        left.remove(record)
        ordered.append(record)
    return ordered


def read_record(rdata: SRV) -> Record | None:
    """What a record says; None: it names nothing that one could connect to."""
    target = rdata.target.to_text(omit_final_dot=True) or NOWHERE
    if target != NOWHERE and (rdata.port == 0 or not NAME.fullmatch(target)):
        return None
    return Record(rdata.priority, rdata.weight, rdata.port, target)


async def look_up(host: str, resolver: Resolver | None = None) -> Answer:
    """Ask for the records of a host; a name without a dot is completed as resolv.conf says.

    ``resolver`` is the one that the system's configuration makes now, unless given.
    Cancellation leaves nothing open.

    Raises:
      LookupFailed: there is no answer within LOOKUP_DEADLINE_S, or none that makes sense.
    """
    if _is_address(host):
        return Answer(())
    with trio.move_on_after(LOOKUP_DEADLINE_S):
        return await _ask(host, resolver)
    raise LookupFailed("no name server answers")


async def _ask(host: str, resolver: Resolver | None) -> Answer:
    from dns.asyncbackend import get_backend
    from dns.asyncresolver import Resolver
    from dns.exception import DNSException, Timeout
    from dns.resolver import NXDOMAIN, NoNameservers

    try:
        resolver = resolver or Resolver()
        resolver.timeout = TRY_S
        found = await resolver.resolve(
            f"{SERVICE}.{host}",
            "SRV",
            raise_on_no_answer=False,
            lifetime=LOOKUP_DEADLINE_S,
            search="." not in host,
            backend=get_backend("trio"),
        )
    except NXDOMAIN:
        return Answer(())
    except Timeout:
        raise LookupFailed("no name server answers") from None
    except NoNameservers:
        raise LookupFailed("no name server gives an answer that can be used") from None
    except (DNSException, OSError, ValueError) as error:
        raise LookupFailed(str(error)) from error
    if found.rrset is None:
        return Answer(())
    records = [record for record in map(read_record, found.rrset) if record is not None]
    if not records:
        raise LookupFailed("its SRV records name no host and port")
    return Answer(tuple(records), found.chaining_result.minimum_ttl)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
