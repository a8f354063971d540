"""The client's end of a session: what it says on its first line, and on every other."""

from __future__ import annotations

import hmac
import secrets
from functools import partial
from typing import Final, NoReturn

import trio

from trioet.errors import HandshakeError, SessionLost, TooFarBehind, TrioetError
from trioet.link.line import Line, LineBroken
from trioet.link.lines import PeerClosed, receive
from trioet.link.resumable import Refused
from trioet.scon.link import PeerOver, Receiver, SconLink, StreamAttachment
from trioet.scon.policy import MAX_KEPT, Secure
from trioet.wire.backed import ReplayBudget
from trioet.wire.messages import ConnectStatus
from trioet.wire.scon_handshake import (
    COUNT_MASK,
    Code,
    FrameReader,
    NewRequest,
    ResumeRequest,
    frame,
    parse_new_answer,
    parse_resume_answer,
)
from trioet.wire.scon_keys import PRIVATE_BITS, public_key, shared_secret
from trioet.wire.scon_sealed import KEY_SIZE, accepted, conclude, offer
from trioet.wire.scon_streams import Arc4Inward, Arc4Keys, Arc4Outward, Keys
from trioet.wire.sealing import Direction

HANDSHAKE_DEADLINE_S: Final = 10.0
"""From the connection to the end of the server's answer."""

FLOOR: Final = 64 * 1024


class BackendEnded(SessionLost):
    """The server closed a connection in order and then denied the session: how goscon says that
    the backend has ended."""


class CallingLink(SconLink):
    """A link that calls a server: :class:`trioet.link.reconnect.Reconnector` drives it."""

    def __init__(
        self,
        receiver: Receiver,
        *,
        flags: int = 0,
        secure: Secure = Secure.OFFERED,
        psk: bytes = b"",
        max_kept: int = MAX_KEPT,
    ) -> None:
        budget = ReplayBudget(2 * max_kept)
        super().__init__(receiver, budget=budget, floor=FLOOR, max_kept=max_kept)
        self.session_id = 0
        """What the server calls the session; 0 before there is one."""
        self.sealed = False
        """Whether the session is a sealed one."""
        self.resumes = 0
        """Lines that have resumed it so far."""
        self.replayed = 0
        """Bytes that had to be sent again."""
        self._flags = flags
        self._secure = secure
        self._psk = psk
        self._keys: Keys | None = None
        self._index = 0
        self._closed_in_order = False
        """The last line that carried the session ended as one ends that is closed."""
        self._beginning = trio.Lock()

    async def run_client_line(self, line: Line, target: bytes) -> NoReturn:
        """Begin a session for ``target`` on this line, or resume ours; use the line till it ends.

        Closes the line in any case. Cancellation loses nothing but the line.

        Raises:
          SessionLost: the server has no such session, or cannot go on with it. BackendEnded if
              that is no loss.
          Refused: the same, of a session that knows forged words from true ones, without proof.
          LineBroken: the connection is gone; never returns otherwise.
          PeerError: whoever is there does not speak the protocol, or lacks the keys.
        """
        attachment = self.new_attachment(line)
        try:
            await self.run_attachment(attachment, partial(self._converse, attachment, target))
        except PeerOver as error:
            raise SessionLost("the backend is gone") from error
        except (LineBroken, TrioetError) as error:
            if attachment.proven:
                self._closed_in_order = isinstance(error, PeerClosed)
            raise

    async def _converse(self, attachment: StreamAttachment, target: bytes) -> None:
        attachment.allow(HANDSHAKE_DEADLINE_S)
        if not self.established:
            # A second line must not begin a second session while the first is being answered.
            async with self._beginning:
                if not self.established:
                    rest = await self._begin(attachment, target)
        if attachment.proven:
            await self.carry(attachment, 0, rest)
        else:
            await self._resume(attachment)

    async def _begin(self, attachment: StreamAttachment, target: bytes) -> bytes:
        private = secrets.randbelow(2**PRIVATE_BITS - 1) + 1
        sealing_key = secrets.token_bytes(KEY_SIZE)
        offered = b"" if self._secure is Secure.OFF else offer(sealing_key)
        request = NewRequest(public_key(private), target, self._flags, offered)
        text, rest = await ask(attachment, request.text())
        if self._secure is Secure.REQUIRED and text == b"0\n%d" % Code.MALFORMED:
            raise HandshakeError("the server takes no sealed sessions")
        answer = parse_new_answer(text)
        self.sealed = bool(offered) and accepted(answer)
        if self.sealed:
            keys = conclude(request, answer, sealing_key, self._psk)
            self._keys = keys
            self.agree(
                keys.outward(Direction.CLIENT_TO_SERVER), keys.inward(Direction.SERVER_TO_CLIENT)
            )
        elif self._secure is Secure.REQUIRED:
            raise HandshakeError("the server offers no sealed sessions, and one is required")
        else:
            secret = shared_secret(private, answer.public)
            self._keys = Arc4Keys(secret)
            self.agree(Arc4Outward(secret), Arc4Inward(secret))
        self.session_id = answer.session_id
        self.attach(attachment)
        self.send_ack()  # proves to the server of a sealed session that we have its keys
        return rest

    async def _resume(self, attachment: StreamAttachment) -> None:
        keys = self._keys
        assert keys is not None, "a session has begun"
        self._index += 1
        received = self.received
        request = ResumeRequest(self.session_id, self._index, received & COUNT_MASK)
        request = ResumeRequest(
            request.session_id, request.index, request.received, keys.sign(request)
        )
        text, rest = await ask(attachment, request.text())
        answer = parse_resume_answer(text)
        proven = hmac.compare_digest(keys.prove(request, answer), answer.proof)
        if answer.code == Code.INDEX_USED:
            # Attempts overlap: one that began later was granted, and this one came too late.
            raise LineBroken("another connection was faster")
        if answer.code != Code.OK:
            if self.sealed and not proven:
                raise Refused(ConnectStatus.INVALID_KEY, f"the server answered {answer.code}")
            if answer.code == Code.UNKNOWN and self._closed_in_order:
                raise BackendEnded("the backend has closed its connection")
            raise SessionLost(REFUSALS.get(answer.code, f"the server answered {answer.code}"))
        if not proven:
            raise HandshakeError("the server that answered does not hold the session")
        try:
            position = self.position(answer.received)
        except TooFarBehind as error:
            raise SessionLost(str(error)) from error
        self.resumes += 1
        self.replayed += self.sent - position
        self.attach(attachment)
        await self.carry(attachment, position, rest, self.received - received)


REFUSALS: Final[dict[int, str]] = {
    Code.MALFORMED: "the server does not understand how the session is resumed",
    Code.UNAUTHORIZED: "the session's number is another's by now",
    Code.UNKNOWN: "the server no longer knows the session",
    Code.NOT_KEPT: "the server no longer has what was lost with the connection",
}


async def ask(attachment: StreamAttachment, text: bytes) -> tuple[bytes, bytes]:
    """Say the first word of a connection; return the answer, and what came behind it.

    Raises:
      LineBroken: the connection is gone.
      FrameError: the answer is none.
    """
    attachment.greet(frame(text))
    reader = FrameReader()
    while True:
        answer = reader.feed(await receive(attachment.line))
        if answer is not None:
            return answer, reader.rest()
