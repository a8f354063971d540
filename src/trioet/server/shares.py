"""The shares of a user's sessions: links that one browser may open, and who came by them.

A share begins as a link: a ticket, which a browser exchanges once for the id and the key of a
link of its own, and a key that stays in the browser and opens what it gets for the ticket. So
a link that was used is worth nothing, and who brings the ticket here reads nothing. From then
on the share is a viewer, with an id and a key as any session's client. It ends when its time
is over, when the session is, when the viewer leaves, or at once when it is revoked.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import pwd
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import trio

from trioet.bootstrap.credentials import Credentials, new_real_credentials
from trioet.errors import StepFailed
from trioet.link.door import Arrival
from trioet.link.resumable import ResumableLink, Role
from trioet.server.share_request import (
    AnyShareRequest,
    RevokeRequest,
    ShareRequest,
    SharesRequest,
    ShownRequest,
    TakeRequest,
)
from trioet.session.audience import Audience
from trioet.session.terminal import TerminalSession
from trioet.session.viewer import MAX_KEPT, Viewer
from trioet.wire.backed import ReplayBudget
from trioet.wire.sealing import Direction, SealedBox

MAX_SHARES: Final = 16
"""Of one session: links that nobody has opened yet, and viewers."""

SETTLE_S: Final = 0.05
"""From when a link was taken off the screen until what was written before has been read."""

REVOKED: Final = "the owner of the session has ended this"
EXPIRED: Final = "the time for which the session was shared is over"

BOX: Final = 1
"""The ordinal under which the key of a link seals; it never seals another."""

log = logging.getLogger(__name__)

Arrivals: TypeAlias = trio.MemoryReceiveChannel[Arrival]


class Host(Protocol):
    """The keeper, as its shares know it."""

    def session_named(self, name: str) -> TerminalSession | None:
        """A session by its name."""

    def admit(self, client_id: bytes) -> Arrivals:
        """From now on connections come for a viewer with that id.

        Raises:
          StepFailed: there are as many as there may be.
        """

    async def serve(self, viewer: Viewer, link: ResumableLink, arrivals: Arrivals) -> None:
        """Serve these connections until the viewer is over."""

    def dismiss(self, client_id: bytes, link: ResumableLink) -> None:
        """There is no such viewer any more."""


@dataclass(slots=True, eq=False)
class Share:
    """One share."""

    number: int
    session: TerminalSession
    audience: Audience
    write: bool
    link: Credentials = field(repr=False)
    """The ticket and the key of its link; once that is taken, the viewer's id and key."""
    until: float
    """In Trio's clock."""
    source: str = ""
    viewer: Viewer | None = None
    hidden: bool = False
    """The link is on the screen, and the curtain drawn for it."""
    viewers_link: ResumableLink | None = None
    arrivals: Arrivals | None = None
    taken: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def state(self) -> str:
        """``link``: nobody has opened it; ``watching``; ``away``: its connection is lost."""
        if self.viewer is None:
            return "link"
        return "watching" if self.viewer.present else "away"

    def end(self, reason: str) -> None:
        """Nothing more goes to the viewer from now on, but why."""
        if self.viewer is not None and self.viewers_link is not None:
            self.viewer.farewell(reason)
            for line in self.viewers_link.lines:
                line.close()
        self.scope.cancel()

    def lift_curtain(self) -> None:
        """The link is off the screen."""
        if self.hidden:
            self.hidden = False
            self.audience.lift_curtain()


class Shares:
    """All shares of a keeper's sessions."""

    def __init__(self, host: Host, budget: ReplayBudget) -> None:
        self._host = host
        self._budget = budget
        self._shares: list[Share] = []
        self._made = 0

    def __repr__(self) -> str:
        return f"<Shares {len(self._shares)}>"

    def __len__(self) -> int:
        return len(self._shares)

    async def answer(
        self, request: AnyShareRequest, pid: int, start: Callable[..., object]
    ) -> dict[str, object]:
        """Do what is asked by the process ``pid``; tasks that go on are started by ``start``.

        Raises:
          StepFailed: it cannot be done.
          LocalError: the session has nothing to look at.
        """
        match request:
            case ShareRequest():
                return self._share(request, pid, start)
            case ShownRequest():
                await trio.sleep(SETTLE_S)
                self._find(request.session, request.number).lift_curtain()
                return {}
            case TakeRequest():
                return self._take(request)
            case SharesRequest():
                return {"shares": [_told(share) for share in self._of(request.session)]}
            case RevokeRequest(session, None):
                return {"revoked": [self._revoke(share) for share in self._of(session)]}
            case RevokeRequest(session, number):
                assert number is not None, "else all are meant"
                return {"revoked": [self._revoke(self._find(session, number))]}

    def _share(
        self, request: ShareRequest, pid: int, start: Callable[..., object]
    ) -> dict[str, object]:
        session = self._session(request.session)
        if len(self._of(request.session)) >= MAX_SHARES:
            what = f"this session has {MAX_SHARES} shares already, which is the limit"
            raise StepFailed("share", what, "end some: trioet share --revoke N")
        audience = session.audience()
        watched = _watch(pid) if request.hide else None
        self._made += 1
        share = Share(
            self._made,
            session,
            audience,
            request.write,
            new_real_credentials(),
            trio.current_time() + request.expires_s,
        )
        audience.shared()
        self._shares.append(share)
        if watched is not None:
            share.hidden = True
            audience.draw_curtain()
            start(self._lift_when_ended, share, watched)
        start(self._run, share)
        log.info("session %s: share %d", session.name, share.number)
        link = share.link
        return {"number": share.number, "ticket": link.client_id, "key": link.passkey}

    async def _lift_when_ended(self, share: Share, watched: int) -> None:
        """A link whose process has ended before it was taken off the screen is void: what
        shows it may still be on its way."""
        try:
            await trio.lowlevel.wait_readable(watched)
        finally:
            os.close(watched)
        if share.hidden and share.viewer is None:
            share.end(REVOKED)
        await trio.sleep(SETTLE_S)
        share.lift_curtain()

    def _take(self, request: TakeRequest) -> dict[str, object]:
        found = [share for share in self._shares if share.link.client_id == request.ticket]
        if not found or found[0].taken.is_set() or found[0].scope.cancel_called:
            what = "this link was used already, or its time is over, or it was revoked"
            raise StepFailed("share", what, "ask for another: each is for one browser")
        share = found[0]
        credentials = new_real_credentials()
        share.arrivals = self._host.admit(credentials.client_id.encode())
        share.source = request.source
        share.taken.set()
        share.viewer = Viewer(share.audience, write=share.write)
        share.viewers_link = ResumableLink(
            credentials.passkey.encode(),
            Role.SERVER,
            share.viewer,
            budget=self._budget,
            max_kept=MAX_KEPT,
        )
        box = {
            "id": credentials.client_id,
            "passkey": credentials.passkey,
            "write": share.write,
            "title": f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}",
        }
        seal = SealedBox(share.link.passkey.encode(), Direction.SERVER_TO_CLIENT).seal
        may = "may type" if share.write else "read-only"
        share.session.tell(f"share {share.number}: {request.source or 'somebody'} watches, {may}")
        sealed = seal(BOX, json.dumps(box).encode())
        share.link = credentials
        return {"sealed": base64.b64encode(sealed).decode(), "lasts_s": _left_s(share)}

    def _revoke(self, share: Share) -> int:
        share.end(REVOKED)
        log.info("session %s: share %d revoked", share.session.name, share.number)
        return share.number

    async def _run(self, share: Share) -> None:
        """The life of a share."""
        try:
            with share.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_expire, share)
                    await self._live(share)
                    nursery.cancel_scope.cancel()
        finally:
            self._shares.remove(share)
            if share.viewers_link is not None:
                if not share.audience.over.is_set():
                    share.session.tell(f"share {share.number}: nobody watches any more")
                self._host.dismiss(share.link.client_id.encode(), share.viewers_link)
            share.audience.unshared()
            log.info("session %s: share %d over", share.session.name, share.number)

    async def _live(self, share: Share) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when, share.audience.over, nursery.cancel_scope)
            await share.taken.wait()
            nursery.cancel_scope.cancel()
        if share.viewer and share.viewers_link and share.arrivals:
            await self._host.serve(share.viewer, share.viewers_link, share.arrivals)

    # Which

    def _session(self, name: str) -> TerminalSession:
        session = self._host.session_named(name)
        if session is None:
            what = f"there is no session {name} here any more"
            raise StepFailed("share", what, "run it in the session that is to be shared")
        return session

    def _of(self, name: str) -> list[Share]:
        session = self._session(name)
        return [
            share
            for share in self._shares
            if share.session is session and not share.scope.cancel_called
        ]

    def _find(self, name: str, number: int) -> Share:
        for share in self._of(name):
            if share.number == number:
                return share
        hint = "trioet share --list tells which there are"
        raise StepFailed("share", f"this session has no share {number}", hint)


async def _expire(share: Share) -> None:
    await trio.sleep_until(share.until)
    share.end(EXPIRED)


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _watch(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise StepFailed("share", f"cannot watch process {pid}: {error.strerror}") from error


def _left_s(share: Share) -> int:
    return max(0, round(share.until - trio.current_time()))


def _told(share: Share) -> dict[str, object]:
    return {
        "number": share.number,
        "state": share.state,
        "write": share.write,
        "from": share.source,
        "expires_s": _left_s(share),
    }
