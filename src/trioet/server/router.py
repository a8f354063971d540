"""The router: brings each connection to the keeper that has its session.

It accepts, reads one ConnectRequest, and hands the connection itself to the keeper that
registered the client id. It holds no key and sees no byte of a session, so it may be
restarted at any time: keepers come back and register again, and whoever asks for an id in
the meantime waits, or is made to try again.
"""

from __future__ import annotations

import logging
import socket
from collections import Counter
from typing import Any, Final

import trio

from trioet.errors import MessageError
from trioet.link.accepting import accept
from trioet.link.door import Arrival, Door, Verdict
from trioet.server.grace import Grace
from trioet.server.local import LOCAL_VERSION, LocalChannel, Message
from trioet.server.registration import IDS_PER_MESSAGE
from trioet.server.relay_policy import ANYWHERE, RelayPolicy
from trioet.wire.forward import Address

log = logging.getLogger(__name__)

GRACE_S: Final = 20.0
"""How long an id may be unknown before it is called so: after the router started, for any
id; after a keeper vanished, for its ids. Keepers come back within
:data:`trioet.server.registration.MAX_PAUSE_S`."""

REGISTRATION_DEADLINE_S: Final = 5.0
"""From a local connection to its first message."""

MAX_ID: Final = 64
"""Characters of a client id. ET's have 16."""

MAX_KEEPERS_PER_USER: Final = 16
MAX_CALLERS_PER_USER: Final = 2 * MAX_KEEPERS_PER_USER
"""Local connections of one user, with or without a registration."""

MAX_UNREAD: Final = 32 * 1024
"""Bytes that a keeper may leave unread. It bounds the connections that a user who reads
nothing can keep on their way to him: the kernel counts them as descriptors of the router's
(unix(7), ETOOMANYREFS)."""

MAX_IDS_PER_USER: Final = 4096


class Registration:
    """A keeper's connection, and the ids it has registered."""

    def __init__(self, channel: LocalChannel) -> None:
        self.channel = channel
        channel.limit_unread(MAX_UNREAD)
        self.user = channel.credentials.uid
        self.ids: set[bytes] = set()
        self.relays: dict[bytes, Address] = {}
        """Those of them that its keeper says are relays', and where they lead."""
        self.wanted: set[bytes] = set()
        """Ids that it has offered and was refused."""
        self.full = trio.Event()
        """Set when the keeper has much to read: those who come for it wait till it has."""

    def __repr__(self) -> str:
        return f"<Registration uid={self.user} ids={len(self.ids)}>"


class Router:
    """Which id leads where, and the door in front of it."""

    def __init__(
        self, *, port: int, replay_memory: int, relay_policy: RelayPolicy = ANYWHERE
    ) -> None:
        self.port = port
        self.relay_policy = relay_policy
        self.replay_memory = replay_memory
        self.door = Door(self.deliver)
        self._owners: dict[bytes, Registration] = {}
        self._keepers: list[Registration] = []
        self._callers: Counter[int] = Counter()
        self._missed = Grace(GRACE_S)
        self._ended = Grace(GRACE_S)
        self._grace_until = trio.current_time() + GRACE_S

    def __repr__(self) -> str:
        return f"<Router keepers={len(self._keepers)} ids={len(self._owners)} {self.door!r}>"

    def deliver(self, client_id: bytes, arrival: Arrival) -> Verdict:
        """Hand a connection to whoever has registered its id."""
        owner = self._owners.get(client_id)
        if owner is None and client_id in self._ended:
            return Verdict.UNKNOWN
        if owner is None:
            expected = trio.current_time() < self._grace_until or client_id in self._missed
            return Verdict.LATER if expected else Verdict.UNKNOWN
        sock, preface = arrival
        fields = {"arrival": client_id.decode("ascii")}
        if not owner.channel.send_nowait(fields, preface, sock.fileno()):
            owner.full.set()
            return Verdict.LATER
        log.debug("a connection for uid %d was handed on", owner.user)
        sock.close()
        return Verdict.DELIVERED

    async def serve_keepers(self, listener: socket.socket) -> None:
        """Accept registrations until cancelled. Closes the listener."""
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            with listener:
                while True:
                    try:
                        connection, _ = await accept(listener)
                    except OSError as error:
                        await self.door.room.cannot_accept(listener, error)
                        continue
                    nursery.start_soon(self._serve_caller, LocalChannel(connection))

    async def _serve_caller(self, channel: LocalChannel) -> None:
        registration = Registration(channel)
        user = registration.user
        self._callers[user] += 1
        try:
            if self._callers[user] > MAX_CALLERS_PER_USER:
                self.door.refusals.note(f"uid {user}", "too many local connections")
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_when_read, registration)
                await self._serve_keeper(registration)
                nursery.cancel_scope.cancel()
        finally:
            self._callers[user] -= 1
            if not self._callers[user]:
                del self._callers[user]
            self.forget(registration)
            channel.close()

    async def _serve_keeper(self, registration: Registration) -> None:
        channel = registration.channel
        try:
            with trio.fail_after(REGISTRATION_DEADLINE_S):
                message = await channel.receive()
            if message is None or not self.welcome(registration):
                return
            while message is not None:
                message.close_descriptors()
                self.take(registration, message)
                message = await channel.receive()
        except trio.TooSlowError:
            self.door.refusals.note(
                f"uid {registration.user}", f"no registration within {REGISTRATION_DEADLINE_S:g} s"
            )
        except (MessageError, OSError) as error:
            self.door.refusals.note(f"uid {registration.user}", error)

    async def _tell_when_read(self, registration: Registration) -> None:
        while True:
            await registration.full.wait()
            registration.full = trio.Event()
            await registration.channel.wait_writable()
            self.door.registrations_changed()

    def welcome(self, registration: Registration) -> bool:
        """Take a keeper's registration; False when its user has too many."""
        same_user = sum(known.user == registration.user for known in self._keepers)
        if same_user >= MAX_KEEPERS_PER_USER:
            registration.channel.send_nowait({"v": LOCAL_VERSION, "error": "too many keepers"})
            return False
        self._keepers.append(registration)
        log.debug("a keeper of uid %d registers", registration.user)
        self._share_memory()
        return True

    def take(self, registration: Registration, message: Message) -> None:
        """Do what a keeper asks.

        Raises:
          MessageError: it makes no sense.
        """
        relays = _relays(message.fields)
        refused = [
            name
            for name in _ids(message.fields, "add")
            if not (
                self._may_relay(registration, relays.get(name)) and self._add(registration, name)
            )
        ]
        registration.relays |= {
            name: where for name, where in relays.items() if name in registration.ids
        }
        removed = set()
        for name in _ids(message.fields, "remove"):
            registration.wanted.discard(name)
            if self._owners.get(name) is registration:
                del self._owners[name]
                registration.ids.discard(name)
                registration.relays.pop(name, None)
                removed.add(name)
        self._let_go(registration.user, removed, coming_back=False)
        answer = {
            "v": LOCAL_VERSION,
            "port": self.port,
            "relaying": self.relay_policy.word,
            "refused": [name.decode("ascii") for name in refused],
        }
        if not registration.channel.send_nowait(answer):
            # An answer that is lost would put all others out of step. It may come again.
            raise MessageError("a keeper that does not read")
        self.door.registrations_changed()

    def _may_relay(self, registration: Registration, where: Address | None) -> bool:
        if where is None or self.relay_policy.allows(where):
            return True
        self.door.refusals.note(f"uid {registration.user}", f"wants a relay to {where}")
        return False

    def set_relay_policy(self, policy: RelayPolicy) -> None:
        """From now on relays lead where ``policy`` lets them; the others are ended."""
        self.relay_policy = policy
        for registration in self._keepers:
            over = {name for name, at in registration.relays.items() if not policy.allows(at)}
            for name in over:
                del self._owners[name], registration.relays[name]
            registration.ids -= over
            self._let_go(registration.user, over, coming_back=False)
            names = [name.decode("ascii") for name in over]
            for start in range(0, len(names), IDS_PER_MESSAGE):
                some = names[start : start + IDS_PER_MESSAGE]
                registration.channel.send_nowait({"v": LOCAL_VERSION, "end_relays": some})

    def _let_go(self, user: int, ids: set[bytes], *, coming_back: bool) -> None:
        """Nobody has the ids any more; who wanted one of them may offer it again."""
        wanted: set[bytes] = set()
        for known in self._keepers:
            if theirs := known.wanted & ids:
                wanted |= theirs
                known.channel.send_nowait({"v": LOCAL_VERSION, "free": len(theirs)})
        for client_id in ids:
            # What does not come back is called unknown within the grace too: its client need
            # not wait to be told.
            expected = coming_back or client_id in wanted
            (self._missed if expected else self._ended).remember(user, client_id)

    def _add(self, registration: Registration, client_id: bytes) -> bool:
        owner = self._owners.get(client_id)
        taken = sum(len(known.ids) for known in self._keepers if known.user == registration.user)
        if owner not in (None, registration) or taken >= MAX_IDS_PER_USER:
            why = "has too many ids" if taken >= MAX_IDS_PER_USER else "wants another user's id"
            self.door.refusals.note(f"uid {registration.user}", why)
            if len(registration.wanted) < MAX_IDS_PER_USER:
                registration.wanted.add(client_id)
            return False
        self._owners[client_id] = registration
        registration.ids.add(client_id)
        self._missed.forget(client_id)
        self._ended.forget(client_id)
        return True

    def forget(self, registration: Registration) -> None:
        """The keeper is gone; its ids may come back within GRACE_S."""
        if registration not in self._keepers:
            return
        self._keepers.remove(registration)
        for client_id in registration.ids:
            del self._owners[client_id]
        self._let_go(registration.user, registration.ids, coming_back=True)
        self._share_memory()

    def _share_memory(self) -> None:
        """The machine's memory for replay buffers is split evenly among its keepers."""
        for registration in self._keepers:
            share = self.replay_memory // len(self._keepers)
            registration.channel.send_nowait({"v": LOCAL_VERSION, "replay_memory": share})


def _relays(fields: dict[str, Any]) -> dict[bytes, Address]:
    places = fields.get("relays", {})
    if not isinstance(places, dict):
        raise MessageError("'relays' is no object")
    found = {}
    for name, place in places.items():
        match place:
            case [str(host), int(port)] if name.isascii():
                found[name.encode("ascii")] = Address(host, port)
            case _:
                raise MessageError("'relays' holds something that leads nowhere")
    return found


def _ids(fields: dict[str, Any], key: str) -> list[bytes]:
    names = fields.get(key, [])
    if not isinstance(names, list):
        raise MessageError(f"{key!r} is not a list")
    for name in names:
        if not (
            isinstance(name, str) and name.isascii() and name.isalnum() and len(name) <= MAX_ID
        ):
            raise MessageError(f"{key!r} holds something that is not a client id")
    return [name.encode("ascii") for name in names]
