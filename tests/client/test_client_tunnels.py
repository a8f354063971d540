"""The client's tunnels: what it asks for, what it admits, and what it tells its user."""

from __future__ import annotations

import os
import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from descriptors import descriptors
from ends import HERE, Foreigner, Place, pattern, place, receive_exactly
from lines import Cable
from pairs import ID, KEY
from trioet.client.app import Client
from trioet.client.console import Console, open_console
from trioet.client.tunnels import ClientTunnels
from trioet.client.wish import Wish
from trioet.errors import StepFailed, TrioetError
from trioet.link.line import Line, LineBroken
from trioet.link.resumable import ResumableLink, Role
from trioet.session.terminal import Origin, TerminalSession
from trioet.wire.channels import ChannelOpen, Unlisten
from trioet.wire.forward import Address, Endpoint, Forward, Side, UnixPath, Variable
from trioet.wire.forward_messages import Listen, Listening
from trioet.wire.messages import Exec
from trioet.wire.packet import Packet
from waiting import until

WEB = Address("intranet", 80)
WORK = Forward(Side.REMOTE, Address("localhost", 8080), WEB, written="-R 8080:intranet:80")
ANY = Forward(Side.REMOTE, Address("localhost", 0), WEB, written="-R 0:intranet:80")
AGENT = Forward(Side.REMOTE, Variable("SSH_AUTH_SOCK"), UnixPath("/run/agent"), written="-A")
SOCKS = Forward(Side.REMOTE, Address("localhost", 1080), None, written="-R 1080")
UDP = Forward(Side.REMOTE, Address("localhost", 53), Address("dns", 53), True)
LOCAL = Forward(Side.LOCAL, HERE, Address("there", 80), written="-L 0:there:80")


@dataclass
class User:
    """What is told, and what ends the session."""

    notices: list[str] = field(default_factory=list)
    failures: list[StepFailed] = field(default_factory=list)

    def tunnels(self, *wishes: Forward, exit_on_failure: bool = False) -> ClientTunnels:
        return ClientTunnels(
            wishes,
            exit_on_failure=exit_on_failure,
            notice=self.notices.append,
            fail=self.failures.append,
            on_credit=lambda amount: None,
        )


class Server:
    """The link's other end, unconnected: what the client has said to it."""

    def __init__(self) -> None:
        self.link = ResumableLink(KEY, Role.CLIENT, self)
        self.said: list[tuple[int, bytes]] = []

    def packet_arrived(self, packet: Packet) -> None:
        raise AssertionError("nothing is connected")

    async def ready(self) -> None:
        raise AssertionError("nothing is connected")


@asynccontextmanager
async def begun(
    user: User, *wishes: Forward, agreed: bool = True, exit_on_failure: bool = False
) -> AsyncIterator[ClientTunnels]:
    tunnels = user.tunnels(*wishes, exit_on_failure=exit_on_failure)
    async with trio.open_nursery() as nursery:
        tunnels.begin(Server().link, agreed, nursery)
        await wait_all_tasks_blocked()
        yield tunnels
        nursery.cancel_scope.cancel()


def opening(listen: int, destination: Endpoint | None, *, datagrams: bool = False) -> ChannelOpen:
    return ChannelOpen(2, listen, destination, 1000, datagrams)


# What is asked for


def test_a_trioet_is_asked_for_all_that_is_to_listen_there() -> None:
    tunnels = User().tunnels(LOCAL, WORK, AGENT, SOCKS, UDP)
    assert tunnels.listens == (
        Listen(2, Address("localhost", 8080)),
        Listen(3, Variable("SSH_AUTH_SOCK")),
        Listen(4, Address("localhost", 1080), dynamic=True),
        Listen(5, Address("localhost", 53), datagrams=True),
    )


def test_a_real_et_is_asked_for_what_it_can_do() -> None:
    tunnels = User().tunnels(LOCAL, WORK, ANY, AGENT, SOCKS, UDP)
    assert tunnels.reverse_tunnels == (WORK, AGENT)


# What is admitted


@pytest.mark.parametrize(
    ("wish", "asked", "leads_to"),
    [
        (WORK, opening(1, None), WEB),
        (WORK, opening(1, Address("elsewhere", 22)), WEB),
        (WORK, opening(0, WEB), None),
        (WORK, opening(2, None), None),
        (WORK, opening(1, None, datagrams=True), None),
        (UDP, opening(1, None, datagrams=True), UDP.destination),
        (UDP, opening(1, None), None),
        (LOCAL, opening(1, Address("there", 80)), None),
        (SOCKS, opening(1, Address("anywhere", 443)), Address("anywhere", 443)),
        (SOCKS, opening(1, None), None),
        (SOCKS, opening(1, UnixPath("/run/docker.sock")), None),
        (AGENT, opening(1, UnixPath("/run/docker.sock")), UnixPath("/run/agent")),
    ],
)
async def test_a_server_leads_us_only_where_a_tunnel_leads(
    wish: Forward, asked: ChannelOpen, leads_to: Endpoint | None
) -> None:
    async with begun(User(), wish) as tunnels:
        admitted = tunnels.admit(asked)
        assert (admitted and admitted[0]) == leads_to


@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [
        (WEB, WEB),
        (Address("intranet", 22), None),
        (UnixPath("/run/agent"), UnixPath("/run/agent")),
        (UnixPath("/run/docker.sock"), None),
        (Address("there", 80), None),
    ],
    ids=str,
)
async def test_a_real_et_leads_us_only_where_a_tunnel_leads(
    asked: Endpoint, leads_to: Endpoint | None
) -> None:
    async with begun(User(), WORK, AGENT, agreed=False) as tunnels:
        admitted = tunnels.admit(opening(0, asked))
        assert (admitted and admitted[0]) == leads_to


async def test_nothing_is_admitted_that_was_cancelled() -> None:
    async with begun(User(), WORK) as tunnels:
        assert tunnels.cancel(lambda forward: forward == WORK)
        assert tunnels.admit(opening(1, None)) is None


# What the user is told


async def test_a_port_that_was_chosen_is_told() -> None:
    user = User()
    async with begun(user, ANY, WORK) as tunnels:
        tunnels.listen_said(Listening(1, 40123))
        tunnels.listen_said(Listening(2, 8080))
        assert user.notices == ["trioet: -R 0:intranet:80: listens on port 40123"]
        assert "40123" in tunnels.report()


async def test_a_tunnel_that_cannot_be_had_is_told_and_the_session_goes_on() -> None:
    user = User()
    async with begun(user, WORK) as tunnels:
        tunnels.listen_said(Listening(1, error="port 8080 is\x1b[2J in use"))
        (notice,) = user.notices
        assert notice.startswith("trioet: -R 8080:intranet:80: port 8080 is")
        assert notice.isprintable()
        assert user.failures == []
        assert "in use" in tunnels.report()


async def test_with_exit_on_forward_failure_it_ends_the_session() -> None:
    user = User()
    async with begun(user, WORK, exit_on_failure=True) as tunnels:
        tunnels.listen_said(Listening(1, error="in use"))
        (failure,) = user.failures
        assert "-R 8080:intranet:80: in use" in str(failure)


async def test_a_local_port_in_use_is_told() -> None:
    user = User()
    async with place() as taken:
        wish = Forward(Side.LOCAL, taken.where, WEB, written="-L taken")
        async with begun(user, wish):
            await until(lambda: user.notices)
    (notice,) = user.notices
    assert notice.startswith("trioet: -L taken: ")


@pytest.mark.parametrize("number", [2, 7])
async def test_a_server_says_nothing_of_what_it_was_not_asked(number: int) -> None:
    user = User()
    async with begun(user, WORK, LOCAL) as tunnels:
        await until(lambda: user.notices)
        user.notices.clear()
        before = tunnels.report()
        tunnels.listen_said(Listening(number, error="no"))
        tunnels.listen_said(Listening(number, 99))
        tunnels.listen_said(Unlisten(1))
        assert user.notices == []
        assert tunnels.report() == before


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        (UDP, "carries no UDP"),
        (SOCKS, "knows no SOCKS"),
        (ANY, "does not choose a port"),
        (LOCAL, "connects to nothing but its own localhost, not to there"),
    ],
)
async def test_what_a_real_et_cannot_do_is_told(wish: Forward, complaint: str) -> None:
    user = User()
    async with begun(user, wish, agreed=False):
        (notice,) = user.notices
        assert f"a real Eternal Terminal server {complaint}" in notice


async def test_no_tunnels_are_none() -> None:
    async with begun(User()) as tunnels:
        assert tunnels.report() == "There are no tunnels."
        assert not tunnels.cancel(lambda forward: True)


# In a session


@pytest.mark.parametrize("steps", [2, 3, 4, 10])
async def test_one_that_is_closed_while_it_is_being_opened_listens_nowhere(steps: int) -> None:
    async with begun(User()) as tunnels:
        before = descriptors()
        tunnels.add(LOCAL)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        tunnels.cancel(lambda forward: True)
        await wait_all_tasks_blocked()
        assert tunnels.report() == "There are no tunnels."
        assert descriptors() == before


async def test_more_tunnels_are_asked_for_and_cancelled_in_a_session() -> None:
    async with trio.open_nursery() as nursery:
        server = Foreigner(nursery, Role.CLIENT)
        user = User()
        tunnels = user.tunnels(WORK)
        server.end.forwards = tunnels.begin(server.end.link, True, nursery)
        server.connect()
        tunnels.add(SOCKS)
        await until(lambda: server.heard)
        assert server.heard == [Listen(2, Address("localhost", 1080), dynamic=True)]
        tunnels.listen_said(Listening(2, 1080))
        assert tunnels.cancel(lambda forward: forward == SOCKS)
        await until(lambda: len(server.heard) == 2)
        assert server.heard[1] == Unlisten(2)
        nursery.cancel_scope.cancel()


async def test_one_added_to_a_session_never_ends_it() -> None:
    user = User()
    async with begun(user, exit_on_failure=True) as tunnels:
        tunnels.add(WORK)
        tunnels.listen_said(Listening(1, error="in use"))
        assert user.failures == []
        assert len(user.notices) == 1


async def test_a_real_et_opens_no_more_in_a_session() -> None:
    user = User()
    async with begun(user, agreed=False) as tunnels:
        tunnels.add(WORK)
        (notice,) = user.notices
        assert "opens no more in a session that is there" in notice


# A terminal that is stopped, at either end


@asynccontextmanager
async def whole_session(
    console: Console, program: bytes, forward: Forward, *, pty: bool
) -> AsyncIterator[Client]:
    """A client and a server's session, joined by a cable."""
    cable = Cable()

    async def dial() -> Line:
        return cable.client

    wish = Wish(
        client_id=ID,
        passkey=KEY,
        host="there",
        dial=dial,
        environment={},
        exec=Exec(program, pty=pty),
        forwards=(forward,),
    )
    client = Client(wish, console, lambda data: None)
    session = TerminalSession(Origin("xterm", {b"PATH": b"/usr/bin:/bin"}, "1.1"))
    server = ResumableLink(KEY, Role.SERVER, session)

    async def serve_line() -> None:
        with suppress(LineBroken, TrioetError):
            await server.run_server_line(cable.server, b"")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run, server)
        nursery.start_soon(serve_line)
        nursery.start_soon(client.run)
        yield client
        nursery.cancel_scope.cancel()


async def check_tunnel(there: Place, port: int) -> None:
    """A megabyte goes through, and an answer comes back."""
    near = None
    with trio.fail_after(10):
        while near is None:
            try:
                near = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.01)
    async with near, await there.accept() as far, trio.open_nursery() as nursery:
        data = pattern(1_000_000)
        nursery.start_soon(near.send_all, data)
        assert await receive_exactly(far, len(data)) == data
        await far.send_all(b"answer")
        assert await receive_exactly(near, 6) == b"answer"


async def test_a_screen_that_is_stopped_stops_no_tunnel(free_tcp_port: int) -> None:
    with pipes() as (keys, _, screen, shown), open_console(keys, screen, raw=False) as console:
        async with place() as there:
            forward = Forward(Side.LOCAL, Address("127.0.0.1", free_tcp_port), there.where)
            async with whole_session(console, b"yes", forward, pty=True):
                await until(lambda: not select.select([], [screen], [], 0)[1])
                for _ in range(3):
                    await check_tunnel(there, free_tcp_port)
                seen = 0
                with trio.fail_after(60):
                    while seen < 3_000_000:  # and then it goes on
                        await trio.lowlevel.wait_readable(shown)
                        seen += len(os.read(shown, 1 << 20))


async def test_a_program_that_reads_nothing_stops_no_tunnel(free_tcp_port: int) -> None:
    with pipes() as (keys, typing, screen, _), open_console(keys, screen, raw=False) as console:
        async with place() as there:
            forward = Forward(Side.LOCAL, Address("127.0.0.1", free_tcp_port), there.where)
            program = b"exec sleep 1000"
            async with whole_session(console, program, forward, pty=False):
                typed = 0
                with trio.move_on_after(0.5):
                    while True:
                        await trio.lowlevel.wait_writable(typing)
                        typed += os.write(typing, bytes(65536))
                assert 0 < typed < 2_000_000, "it is not typed into the void"
                await check_tunnel(there, free_tcp_port)


@contextmanager
def pipes() -> Iterator[tuple[int, int, int, int]]:
    """Where keys are read from and typed to, and where the screen is written and seen."""
    keys, typing = os.pipe()
    shown, screen = os.pipe()
    os.set_blocking(typing, False)
    os.set_blocking(shown, False)
    try:
        yield keys, typing, screen, shown
    finally:
        for descriptor in (keys, typing, shown, screen):
            os.close(descriptor)
