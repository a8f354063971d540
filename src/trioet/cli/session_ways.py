"""The ways that a session of `trioet connect` may take, from what the user and the far side say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from shutil import which

import trio

from trioet.bootstrap.invitation import Invitation
from trioet.bootstrap.jump import ssh_jumps
from trioet.bootstrap.ssh_channel import OpenChannel
from trioet.bootstrap.ssh_child import SshChild
from trioet.bootstrap.ssh_config import SshConfig
from trioet.bootstrap.ssh_way import SshWay
from trioet.cli.connect_options import DEFAULT_PORT, ConnectOptions, SshBackend
from trioet.cli.passage import Passage
from trioet.cli.way_options import Via
from trioet.link.dial import HostDial, dial
from trioet.link.line import Line
from trioet.link.reconnect import Reconnector
from trioet.link.resumable import ResumableLink
from trioet.link.srv_ways import SrvWays
from trioet.link.steering import Steering
from trioet.link.ways import Way, Ways
from trioet.wire.handshake import connect_request_frame
from trioet.wire.messages import ConnectRequest


class SessionWays:
    """Every port directly, or the chain of jumphosts; then ssh: as far as ``--via`` allows."""

    def __init__(
        self,
        options: ConnectOptions,
        config: SshConfig,
        invitation: Invitation,
        passage: Passage,
    ) -> None:
        """What ``passage`` has is the direct way, instead of the ports."""
        asked = () if options.port is None else (options.port, *options.more_ports)
        told = () if invitation.port is None else (invitation.port, *invitation.more_ports)
        # Seen from the server's own machine, its ports are those that it tells.
        ports, theirs = asked or told or (DEFAULT_PORT,), told or asked or (DEFAULT_PORT,)
        plural = "s" if len(ports) > 1 else ""
        self.host = options.host
        jumps = ssh_jumps(options.jumps or ())
        self._doctor = f"trioet doctor {f'--jump {jumps} ' if jumps else ''}{options.host}"
        self._where = f"{config.hostname} port{plural} {', '.join(map(str, ports))}"
        self._srv: SrvWays | None = None
        self.chain = chain = passage.chain
        jumphost = passage.et_jumphost
        self._ssh: SshWay | None = None
        ways: list[Way] = []
        if chain is not None:
            ways.append(Way(chain.name, chain.dial))
        elif jumphost is not None:
            dial_jumphost = partial(dial, jumphost.host, jumphost.port, config.address_family)
            ways.append(Way(f"through {jumphost.host}", dial_jumphost))
        elif options.via is not Via.SSH and not passage.only_ssh:
            for port in ports:
                at = HostDial(config.hostname, port, config.address_family)
                ways.append(Way(f"port {port}", at.dial, avoid=at.avoid))
            if options.srv:
                family = config.address_family
                self._srv = SrvWays(config.hostname, partial(dial, address_family=family))
        self._by_ports = ways.copy()
        # Behind ET's jumphost the server talks to that, and nobody else.
        if options.via is not Via.DIRECT and jumphost is None:
            greeting = connect_request_frame(ConnectRequest(invitation.client_id.encode()))
            open_channel = _speaks_ssh(options, config)
            ssh = SshWay(options.host, open_channel, theirs, greeting, options.terminal_path)
            ways.append(Way("ssh", ssh.dial, fallback=True, wake=ssh.wake))
            self._ssh = ssh
            self._ssh_way = ways[-1]
        self._ways = Ways(ways, self._renew if self._srv is not None else None)
        self.dial = self._ways.dial
        self.log_in = self._log_in if self._ssh is not None else None
        """Dials through ssh, which may ask the user; None where it is no way."""

    @property
    def where(self) -> str:
        """Where the session goes, for messages."""
        found = () if self._srv is None else self._srv.found
        return ", ".join(way.name for way in found) or self._where

    @property
    def refusing(self) -> str:
        """Where a server answered that does not know the session; empty if none did."""
        names = ", ".join(way.name for way in self._ways.refusing)
        return f"{self.host} ({names})" if names else ""

    @property
    def refusal(self) -> str:
        """Why there is no server to reach, if the host's SRV record says so."""
        return "" if self._srv is None else self._srv.refusal

    async def _renew(self) -> Sequence[Way]:
        assert self._srv is not None, "it is asked for"
        found = await self._srv.ways()
        fallbacks = [way for way in self._ways.all if way.fallback]
        return [*(found or self._by_ports), *fallbacks]

    def login_needed(self) -> bool:
        """Whether ssh would get through, could it ask the user."""
        return self._ssh is not None and self._ssh.needs_user

    async def _log_in(self) -> Line:
        assert self._ssh is not None, "it is a way"
        line = await self._ssh.log_in()
        self._ways.add(self._ssh_way, line)
        return line

    async def run(
        self, link: ResumableLink, reconnector: Reconnector, notice: Callable[[str], None]
    ) -> None:
        """Serve those who dial, and keep the session on the best way, until cancelled."""

        def tell_no_servers(why: str) -> None:
            notice(f"trioet: {why}; {self.where} is tried instead")

        how = self.chain.name if self.chain is not None else "from here"

        def tell_detour() -> None:
            if self.refusal:
                notice(f"trioet: {self.refusal}: the session goes through ssh")
                return
            if self.refusing:
                notice(
                    f"trioet: the server at {self.refusing} does not know the session: it goes "
                    f"through ssh (`{self._doctor}` looks why)"
                )
                return
            notice(
                f"trioet: {self.where} cannot be reached {how}: the session goes through ssh "
                f"(`{self._doctor}` looks why)"
            )

        steering = Steering(link, reconnector, self._ways, tell_detour=tell_detour)
        async with trio.open_nursery() as nursery:
            if self.chain is not None:
                nursery.start_soon(self.chain.keep_open, reconnector.wake)
            if self._srv is not None:
                nursery.start_soon(self._srv.run, tell_no_servers)
            if self._ssh is not None:
                self._ssh.on_ask = link.note_asked
                nursery.start_soon(self._ssh.run)
            nursery.start_soon(steering.run)


def _speaks_ssh(options: ConnectOptions, config: SshConfig) -> OpenChannel:
    """Who spoke ssh for the login does it again."""
    if options.ssh_backend is SshBackend.ASYNCSSH or which("ssh") is None:
        from trioet.bootstrap.asyncssh_channel import AsyncsshChannel

        return partial(AsyncsshChannel, options.ssh_target, config)
    return partial(SshChild, options.ssh_target)
