"""The sessions of visitors on another host, as guests of this user's keeper there.

ssh of whoever runs `trioet web` opens each, and asks nobody anything. A visitor's connection goes
to a port of that host if one answers; else through ssh to the door that its keeper has for guests.
A server that does not know a session is not believed if another way is left: a port may lead to
another machine.

Nobody tells when such a session is over: the connection on which it was asked for is ssh's, and
lost with any network. So where no visitor is any more, the host is asked, ever more rarely.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import trio

from trioet.bootstrap.credentials import new_real_credentials
from trioet.bootstrap.guest_line import guest_line
from trioet.bootstrap.guest_offer import GuestOffer, GuestReader
from trioet.bootstrap.openssh import fetch_ssh_config, finish, read_answer
from trioet.bootstrap.remote_command import STDIO_READY, guest_command, guests_stdio_command
from trioet.bootstrap.spawn import spawn_ssh, ssh_argv
from trioet.bootstrap.ssh_channel import End, Manner, NobodyThere, greet
from trioet.bootstrap.ssh_child import SshChild
from trioet.bootstrap.ssh_config import SshConfig
from trioet.errors import LocalError, PeerError, StepFailed, TrioetError
from trioet.link.dial import ANY_LOCAL
from trioet.web.answered import Answered, wait_answered
from trioet.web.granting import TERM, grant
from trioet.web.options import Far, WebOptions
from trioet.web.sessions import Environment, Opened, no_shares
from trioet.wire.handshake import connect_request_frame, first_request
from trioet.wire.messages import ConnectRequest, ConnectStatus

log = logging.getLogger(__name__)

OPEN_DEADLINE_S: Final = 30.0
"""For ssh to log in and the keeper to answer: as long as a visitor looks at an empty page."""

DIRECT_DEADLINE_S: Final = 2.0
"""For a port to answer, before ssh is asked."""

DIRECT_AGAIN_S: Final = 60.0
"""A port that did not answer is not tried again for so long."""

SSH_DEADLINE_S: Final = 9.0
"""For a connection through ssh; pages wait 10 s."""

LOGINS_AT_ONCE: Final = 8
"""sshd refuses some from ten on that have not logged in (MaxStartups, sshd_config(5))."""

NEVER_CAME_S: Final = 30.0
"""So long after the time for it, a session is asked after that nobody has come for. Not before: to
ask is to come."""

FIRST_LOOK_S: Final = 0.2
LONGEST_LOOK_S: Final = 600.0
"""Between two questions whether a session is over that nobody is connected to; each time twice
as long."""


class _Visits:
    """Who is connected to a session."""

    def __init__(self) -> None:
        self.present = 0
        self.changed = trio.lowlevel.ParkingLot()

    def came(self) -> None:
        self.present += 1
        self.changed.unpark_all()

    def went(self) -> None:
        self.present -= 1
        self.changed.unpark_all()


class FarSessions:
    """Sessions of one other host. Their connections through ssh are children in ``nursery``."""

    def __init__(self, options: WebOptions, far: Far, nursery: trio.Nursery) -> None:
        self._options = options
        self._far = far
        self._nursery = nursery
        self._logins = trio.CapacityLimiter(LOGINS_AT_ONCE)
        self._config: SshConfig | None = None
        self._ports: tuple[int, ...] = ()
        """Where it is reached without ssh; known once a session was opened."""
        self._direct_again_at = 0.0
        self._visits: dict[bytes, _Visits] = {}

    def __repr__(self) -> str:
        return f"<FarSessions {self._far.target.host} ports={self._ports}>"

    # Opening

    async def open(self, arguments: Sequence[str], _environment: Environment, /) -> Opened:
        """Have ssh ask for one. No environment goes there.

        Raises:
          LocalError: there is none to be had.
        """
        granted = grant(self._options, arguments)
        credentials = new_real_credentials()
        numbers = {
            "rows": granted.rows,
            "columns": granted.columns,
            "start": math.ceil(granted.start_s),
            "linger": math.ceil(granted.linger_s),
            "close_signal": int(granted.close_signal),
            "close_timeout": math.ceil(granted.close_timeout_s),
        }
        argv = [os.fsdecode(word) for word in granted.argv]
        line = guest_line(credentials, TERM, argv, numbers, write=granted.write)
        try:
            with trio.fail_after(OPEN_DEADLINE_S):
                if self._config is None:
                    self._config = await fetch_ssh_config(self._far.target)
                async with self._logins:
                    offer = await self._ask(line)
        except trio.TooSlowError:
            what = f"{self._far.target.host} gave no session within {OPEN_DEADLINE_S:g} s"
            raise StepFailed("ssh", what, self._hint) from None
        except StepFailed as error:
            log.warning("no session for a visitor: %s", error.what)
            hint = self._hint if error.step == "ssh" else error.hint
            raise StepFailed(error.step, error.what, hint) from error
        except PeerError as error:
            log.warning("no session for a visitor: %s", error)
            raise LocalError(f"{self._far.target.host}: {error}") from error
        self._ports = offer.ports
        client_id = credentials.client_id.encode()
        visits = self._visits[client_id] = _Visits()
        never_came_s = granted.start_s + NEVER_CAME_S
        return Opened(credentials, partial(self._wait_over, client_id, visits, never_came_s))

    @property
    def _hint(self) -> str:
        host = self._far.target.host
        return f"its operator: `ssh {host} true` has to work without a question; the log says more"

    async def _ask(self, line: bytes) -> GuestOffer:
        target = self._far.target
        command = guest_command(terminal_path=self._far.terminal_path)
        running = spawn_ssh(ssh_argv(target, command), line, target.host)
        offer = await read_answer(running, GuestReader(target.host))
        await finish(running)
        return offer

    # Ends

    async def _wait_over(self, client_id: bytes, visits: _Visits, pause: float) -> None:
        while True:
            if visits.present:
                await visits.changed.park()
                pause = FIRST_LOOK_S
                continue
            with trio.move_on_after(pause) as patience:
                await visits.changed.park()
            if not patience.cancelled_caught:
                continue
            if await self._is_over(client_id):
                del self._visits[client_id]
                return
            pause = min(2 * pause, LONGEST_LOOK_S)

    async def _is_over(self, client_id: bytes) -> bool:
        """Ask for a session as its client does, and hang up."""
        try:
            line = await self._dial(connect_request_frame(ConnectRequest(client_id)))
        except ConnectionRefusedError:
            return True
        except OSError as error:
            log.info("%s: %s", self._far.target.host, error)
            return False
        await trio.aclose_forcefully(line)
        return line.status is ConnectStatus.INVALID_KEY

    async def take(self, ticket: str, source: str) -> Mapping[str, object]:
        """Refuse, as :func:`no_shares` says: shares are of this machine."""
        raise no_shares()

    # Connecting

    async def dial(self, request: bytes) -> trio.abc.Stream:
        """Connect a visitor; see :class:`trioet.web.sessions.Sessions`."""
        try:
            client_id = first_request(request)[0].client_id
        except PeerError as error:
            raise ConnectionAbortedError(str(error)) from error
        line = await self._dial(request)
        if visits := self._visits.get(client_id):
            visits.came()
            line.at_end(visits.went)
        return line

    async def _dial(self, greeting: bytes) -> Answered:
        far = self._far
        if self._ports and far.direct and trio.current_time() >= self._direct_again_at:
            try:
                with trio.fail_after(DIRECT_DEADLINE_S):
                    line = await self._dial_ports(greeting)
            except (OSError, trio.TooSlowError) as error:
                if not far.by_ssh:
                    raise OSError(f"its ports do not answer: {error}") from error
                log.info("%s does not answer at its ports: %s", far.target.host, error)
                self._direct_again_at = trio.current_time() + DIRECT_AGAIN_S
            else:
                if line.status is not ConnectStatus.INVALID_KEY or not far.by_ssh:
                    return line
                await trio.aclose_forcefully(line)
        if not far.by_ssh:
            raise OSError("its ports are not known yet, and --via direct")
        try:
            with trio.fail_after(SSH_DEADLINE_S):
                async with self._logins:
                    return await self._dial_ssh(greeting)
        except NobodyThere as error:
            raise ConnectionRefusedError(str(error)) from error
        except TrioetError as error:
            raise ConnectionAbortedError(f"{far.target.host}: {error}") from error
        except trio.TooSlowError:
            raise TimeoutError(f"{far.target.host}: ssh takes too long") from None

    async def _dial_ports(self, greeting: bytes) -> Answered:
        assert self._config is not None, "ports are told by whoever was reached"
        failure: OSError | None = None
        for port in self._ports:
            try:
                stream = await trio.open_tcp_stream(
                    self._config.hostname,
                    port,
                    local_address=ANY_LOCAL.get(self._config.address_family),
                )
            except OSError as error:
                failure = error
                continue
            await _say(stream, greeting)
            return await wait_answered(stream)
        assert failure is not None, "there is a port"
        raise failure

    async def _dial_ssh(self, greeting: bytes) -> Answered:
        end = End(0, guests_stdio_command(terminal_path=self._far.terminal_path))
        channel = SshChild(self._far.target, end, Manner())
        self._nursery.start_soon(channel.run)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(channel.socket))
        try:
            answer = await greet(channel, STDIO_READY, greeting)
            line = await wait_answered(stream, answer)
        except BaseException:
            channel.close()
            raise
        line.at_end(channel.close)
        return line


async def _say(stream: trio.SocketStream, greeting: bytes) -> None:
    try:
        await stream.send_all(greeting)
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        raise ConnectionResetError("the connection broke") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
