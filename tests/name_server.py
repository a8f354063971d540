"""A name server of one zone, on loopback: real datagrams, and answers that a test decides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import trio
from dns.asyncresolver import Resolver


class NameServer:
    """Answers whatever is asked; counts what was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.records: tuple[str, ...] = ()
        """SRV records in the words of a zone file: priority, weight, port, target."""
        self.ttl_s = 300
        self.rcode = dns.rcode.NOERROR
        self.silent = False
        self.garbage: bytes | None = None
        """Sent instead of an answer, with the number of the question before it."""
        self.asked: list[str] = []

    def resolver(self) -> Resolver:
        """One that asks here, and nobody else."""
        resolver = Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = self.port
        resolver.search = [dns.name.from_text("search.example.")]
        return resolver

    def reply(self, question: bytes) -> bytes | None:
        query = dns.message.from_wire(question)
        (asked,) = query.question
        self.asked.append(asked.name.to_text())
        if self.silent:
            return None
        if self.garbage is not None:
            return question[:2] + self.garbage
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        answer.set_rcode(self.rcode)
        if self.records:
            answer.answer.append(
                dns.rrset.from_text(asked.name, self.ttl_s, "IN", "SRV", *self.records)
            )
        return answer.to_wire()


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """A name server that runs; at the end it does not."""
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        server = NameServer(sock.getsockname()[1])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve, server, sock)
            yield server
            nursery.cancel_scope.cancel()


async def _serve(server: NameServer, sock: trio.socket.SocketType) -> None:
    while True:
        question, address = await sock.recvfrom(4096)
        reply = server.reply(question)
        if reply is not None:
            await sock.sendto(reply, address)
