"""The keeper: asked for sessions over its socket, reached at its door or through a router."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from callers import ECHO, Caller, ask, invitation, refusal
from descriptors import descriptors
from trioet import __version__
from trioet.doctor.facts import KEEPER_TELLS, keeper_facts, router_facts
from trioet.server import keeper as keeper_module
from trioet.server import requests as requests_module
from trioet.server.guest_request import GuestRequest
from trioet.server.keeper import LINGER_S, Keeper
from trioet.server.local import bind_local, connect_local
from trioet.server.request import STATUS
from trioet.server.requests import MAX_REQUEST, MAX_REQUESTS, REQUEST_DEADLINE_S
from trioet.server.router import Router
from trioet.session.guest import Grant
from trioet.session.terminal import TerminalSession
from trioet.wire.packet import Packet
from waiting import until

SOURCE: Final = str(Path(keeper_module.__file__).parents[2])


def listen_for_requests(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    return listener


class Host:
    """A machine with a keeper, and with a router once one is started."""

    def __init__(self, directory: Path, nursery: trio.Nursery, port: int) -> None:
        self.path = str(directory / "keeper.sock")
        self.router_path = str(directory / "router.sock")
        self.ports = port, port
        self.nursery = nursery
        self.keeper = Keeper()
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        nursery.start_soon(self._run, listen_for_requests(self.path))

    async def _run(self, listener: socket.socket) -> None:
        with self.scope:
            await self.keeper.run(listener)
        self.ended.set()

    def start_router(self, name: str = "router.sock") -> Router:
        listener = socket.create_server(("127.0.0.1", 0))
        router = Router(port=listener.getsockname()[1], replay_memory=1 << 30)
        path = os.path.join(os.path.dirname(self.router_path), name)
        self.nursery.start_soon(router.serve_keepers, bind_local(path, 0o600))
        self.nursery.start_soon(router.door.serve, listener)
        return router

    async def open(self, command: bytes = ECHO, *, term: str = "xterm") -> Caller:
        """A session in which a command runs."""
        caller = Caller(self.nursery)
        answer = await ask(self.path, caller.request(term=term, ports=self.ports))
        caller.begin(invitation(answer)["port"], command)
        return caller

    async def refuse(self, caller: Caller) -> dict[str, str]:
        return refusal(await ask(self.path, caller.request(ports=self.ports)))


@pytest.fixture
async def host(runtime_dir: Path, free_tcp_port: int) -> AsyncIterator[Host]:
    async with trio.open_nursery() as nursery:
        yield Host(runtime_dir, nursery, free_tcp_port)
        nursery.cancel_scope.cancel()


@pytest.fixture
def clock() -> MockClock:
    """Real time, and whatever a test lets pass: pytest-trio takes it if the test asks for it."""
    return MockClock(rate=1)


# Ways to a session


async def test_without_a_router_it_opens_a_door_of_its_own(host: Host) -> None:
    caller = Caller(host.nursery)
    told = invitation(await ask(host.path, caller.request(ports=host.ports)))
    assert told == {"version": __version__, "port": host.ports[0], "router": False}
    caller.begin(told["port"])
    await caller.echoes(b"hello")


async def test_with_a_router_connections_come_through_it(host: Host) -> None:
    router = host.start_router()
    caller = Caller(host.nursery)
    told = invitation(await ask(host.path, caller.request()))
    assert told == {"version": __version__, "port": router.port, "router": True}
    caller.begin(told["port"])
    await caller.echoes(b"hello")
    assert "ids=1" in repr(router)
    assert "own_ports=[]" in repr(host.keeper)


async def test_several_routers_lead_to_the_same_session(host: Host) -> None:
    routers = [host.start_router(name) for name in ("router.sock", "router-b.sock")]
    caller = Caller(host.nursery)
    told = invitation(await ask(host.path, caller.request()))
    assert told["ports"] == [router.port for router in routers]
    caller.begin(told["ports"][0])
    await caller.echoes(b"by the first")
    caller.port = told["ports"][1]
    caller.cut()
    await caller.echoes(b"by the second")
    assert [router.door.accepted for router in routers] == [1, 1]


async def test_a_further_router_that_does_not_answer_holds_nobody_up(host: Host) -> None:
    router = host.start_router()
    with bind_local(os.path.join(os.path.dirname(host.path), "router-b.sock"), 0o600):
        caller = Caller(host.nursery)
        told = invitation(await ask(host.path, caller.request()))
        assert told == {"version": __version__, "port": router.port, "router": True}


async def test_a_router_that_came_later_has_the_later_sessions(host: Host) -> None:
    early = await host.open()
    await early.echoes(b"early")
    router = host.start_router()
    late = await host.open()
    await late.echoes(b"late")
    assert router.door.accepted == 1
    early.cut()
    await early.echoes(b"still here")
    assert router.door.accepted == 1


async def test_it_says_how_it_is_to_who_asks(host: Host) -> None:
    nothing = {"version": __version__, "sessions": 0, "ports": [], "routers": []}
    assert invitation(await ask(host.path, STATUS)) == nothing

    await host.open()
    port = host.ports[0]
    told = invitation(await ask(host.path, STATUS))
    assert told == {**nothing, "sessions": 1, "ports": [port]}

    router = host.start_router()
    await host.open()
    told = invitation(await ask(host.path, STATUS))
    known = {"socket": host.router_path, "port": router.port, "connected": True}
    assert told == {**nothing, "sessions": 2, "ports": [port], "routers": [known]}
    # What the doctor makes of it.
    assert await trio.to_thread.run_sync(keeper_facts) == {"state": "runs", **told}
    assert await trio.to_thread.run_sync(router_facts) == {
        "state": "serves",
        "socket": host.router_path,
        "port": router.port,
        "relaying": "any",
    }


async def test_an_older_one_that_is_asked_how_it_is_refuses_and_so_is_alive(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests_module, "STATUS", b"not known yet")
    assert "older" in refusal(await ask(host.path, STATUS))["what"]
    told = await trio.to_thread.run_sync(keeper_facts)
    assert told == {"state": "runs", **dict.fromkeys(KEEPER_TELLS)}


async def test_sessions_are_strangers_to_each_other(host: Host) -> None:
    first, second = await host.open(), await host.open()
    await first.echoes(b"one")
    await second.echoes(b"two")
    first.leave()
    await until(lambda: "sessions=1" in repr(host.keeper))
    second.cut()
    await second.echoes(b"three")
    assert (first.shown, second.shown) == (b"one", b"twothree")


async def test_sessions_share_a_door(host: Host) -> None:
    for _ in range(3):
        await (await host.open()).echoes(b"hello")
    assert f"sessions=3 own_ports=[{host.ports[0]}]" in repr(host.keeper)


# What it refuses


REFUSED_REQUESTS: Final = {
    "nothing": b"",
    "an ssh client": b"SSH-2.0-OpenSSH_9.2\r\n",
    "JSON": b'{"do": "open"}',
    "records that are none": b"open the door\0",
    "a wish it does not know": b"v=1\0do=dance\0",
    "no credentials": b"v=1\0do=open\0",
    "zeros": bytes(1000),
    "bytes of any kind": bytes(range(256)) * 100,
    "more than a request": b"a=" + bytes(MAX_REQUEST),
}


@pytest.mark.parametrize("name", REFUSED_REQUESTS)
async def test_nonsense_costs_its_socket_and_no_more(host: Host, name: str) -> None:
    caller = await host.open()
    await caller.echoes(b"before")
    before = descriptors()
    try:
        assert refusal(await ask(host.path, REFUSED_REQUESTS[name]))["step"] == "keeper"
    except trio.BrokenResourceError:
        assert name == "more than a request", "it is not read to its end"
    await until(lambda: descriptors() == before)
    assert "sessions=1" in repr(host.keeper)
    await caller.echoes(b"and after")


async def test_a_request_that_does_not_end_is_dropped_in_time(host: Host, clock: MockClock) -> None:
    before = descriptors()
    async with await trio.open_unix_socket(host.path) as stream:
        await stream.send_all(Caller(host.nursery).request(ports=host.ports))
        await wait_all_tasks_blocked()
        clock.jump(REQUEST_DEADLINE_S)
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
    await until(lambda: descriptors() == before)
    assert "sessions=0" in repr(host.keeper)


async def test_who_asks_for_nothing_makes_way_for_who_does(host: Host) -> None:
    before = descriptors()
    idle = [await trio.open_unix_socket(host.path) for _ in range(MAX_REQUESTS + 4)]
    await until(lambda: descriptors() == before + len(idle) + MAX_REQUESTS)
    assert refusal(await ask(host.path, b""))
    for oldest in idle[:5]:
        assert await oldest.receive_some(1) == b""
    for stream in idle:
        await stream.aclose()
    await until(lambda: descriptors() == before)


async def test_who_goes_before_the_answer_harms_nobody(host: Host) -> None:
    """He may have been ssh, cut: his session waits for a client in vain, and ends."""
    stream = await trio.open_unix_socket(host.path)
    await stream.send_all(Caller(host.nursery).request(ports=host.ports))
    await stream.aclose()
    await until(lambda: "sessions=1" in repr(host.keeper))
    await (await host.open()).echoes(b"hello")


async def test_an_id_is_given_once(host: Host) -> None:
    caller = await host.open()
    await caller.echoes(b"mine")
    assert "exists already" in (await host.refuse(caller))["what"]
    caller.cut()
    await caller.echoes(b" and still mine")


async def test_of_two_requests_at_once_for_an_id_one_is_refused(host: Host) -> None:
    host.start_router()
    caller = Caller(host.nursery)
    answers: list[bytes] = []

    async def request() -> None:
        answers.append(await ask(host.path, caller.request(ports=host.ports)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(request)
        nursery.start_soon(request)
    assert sorted(answer.partition(b":")[0] for answer in answers) == [b"TRIOET", b"TRIOET-ERROR"]
    assert "sessions=1" in repr(host.keeper)


async def test_requests_at_once_find_the_router_once(host: Host) -> None:
    """Even if they have to wait for it: its queue is full at first."""
    router = Router(port=host.ports[0], replay_memory=1 << 30)
    listener = bind_local(host.router_path, 0o600)
    listener.listen(0)
    in_front = await connect_local(host.router_path)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask, host.path, Caller(host.nursery).request())
        await wait_all_tasks_blocked(0.01)
        in_front.close()
        host.nursery.start_soon(router.serve_keepers, listener)
    await until(lambda: "keepers=1 ids=3" in repr(router))


async def test_it_has_so_many_sessions_and_no_more(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "MAX_SESSIONS", 2)
    first, second = await host.open(), await host.open()
    told = await host.refuse(Caller(host.nursery))
    assert "2 sessions are open already" in told["what"]
    assert "--kill-other-sessions" in told["hint"]
    await second.echoes(b"as before")
    first.leave()
    await until(lambda: "sessions=1" in repr(host.keeper))
    await (await host.open()).echoes(b"there is room again")


async def test_a_port_that_is_taken_is_named(host: Host) -> None:
    with socket.create_server(("", host.ports[0])):
        told = await host.refuse(Caller(host.nursery))
    assert told["step"] == "port"
    assert f"no port of {host.ports[0]}-{host.ports[0]} is free" in told["what"]
    assert "trioet serve" in told["hint"]
    await (await host.open()).echoes(b"now it is free")


async def test_what_the_router_refuses_leaves_nothing(host: Host) -> None:
    """Somebody else has registered the id; the keeper's other sessions do not mind."""
    host.start_router()
    neighbour = await host.open()
    caller = Caller(host.nursery)
    squatter = await connect_local(host.router_path)
    squatter.send_nowait({"v": 1, "add": [caller.credentials.client_id]})
    assert await squatter.receive()
    told = await host.refuse(caller)
    assert told["what"] == f"the router at {host.router_path} refused the session"
    await until(lambda: "sessions=1" in repr(host.keeper))
    await neighbour.echoes(b"hello")
    squatter.close()


# Faults of ours


def report_of_a_fault(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.getMessage() == "a fault in trioet; please report it"
    return record


async def test_a_fault_in_a_session_ends_that_session_and_no_other(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    serve = TerminalSession._serve

    async def fall(session: TerminalSession, link: object) -> None:
        if session._origin.term == "faulty":
            await session._begun.wait()
            raise RuntimeError("a bug")
        await serve(session, link)  # type: ignore[arg-type]

    monkeypatch.setattr(TerminalSession, "_serve", fall)
    sound = await host.open()
    faulty = await host.open(term="faulty")
    await until(lambda: "sessions=1" in repr(host.keeper))
    report_of_a_fault(caplog)
    assert await faulty.refused_at(host.ports[0]) == "Client is not registered"
    await sound.echoes(b"hello")
    await (await host.open()).echoes(b"new")


async def test_a_fault_over_a_packet_costs_its_line_and_no_more(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caller = await host.open()
    await caller.echoes(b"before")
    take = TerminalSession.packet_arrived
    faults = iter([RuntimeError("a bug")])

    def fall(session: TerminalSession, packet: Packet) -> None:
        for fault in faults:
            raise fault
        take(session, packet)

    monkeypatch.setattr(TerminalSession, "packet_arrived", fall)
    await caller.echoes(b" and after")  # on the next line, where the packet comes again
    report_of_a_fault(caplog)


# The end


async def test_it_ends_when_it_was_idle_for_long(host: Host, clock: MockClock) -> None:
    caller = await host.open()
    await caller.echoes(b"hello")
    clock.jump(2 * LINGER_S)
    await caller.echoes(b"nobody is idle")
    caller.leave()
    await until(lambda: "sessions=0" in repr(host.keeper))
    await wait_all_tasks_blocked()
    clock.jump(LINGER_S - 60)
    await wait_all_tasks_blocked(0.01)
    assert not host.ended.is_set()
    clock.jump(60)
    await until(host.ended.is_set)


async def test_a_session_of_the_meantime_keeps_it_from_ending(host: Host, clock: MockClock) -> None:
    await wait_all_tasks_blocked()
    clock.jump(LINGER_S - 60)
    caller = await host.open()
    await caller.echoes(b"hello")
    caller.leave()
    await until(lambda: "sessions=0" in repr(host.keeper))
    clock.jump(60)
    await wait_all_tasks_blocked(0.01)
    await (await host.open()).echoes(b"the idle time begins anew")
    assert not host.ended.is_set()


async def test_asked_for_nothing_it_ends_too(host: Host, clock: MockClock) -> None:
    await wait_all_tasks_blocked()
    clock.jump(LINGER_S)
    await until(host.ended.is_set)


async def test_cancelled_it_hangs_up_every_program_and_leaves_nothing(
    runtime_dir: Path, free_tcp_port: int
) -> None:
    before = descriptors()
    async with trio.open_nursery() as nursery:
        host = Host(runtime_dir, nursery, free_tcp_port)
        for name in ("one", "two"):
            # Without its complaint that sleep was hung up, which nobody would read any more. A
            # sleep that begins in that very moment is not: so it is a short one.
            script = f"exec 2>&-; trap 'touch {runtime_dir}/{name}; exit' HUP; echo on"
            caller = await host.open(f"{script}; while sleep 0.05; do :; done".encode())
            await caller.until_shown(b"on\n")
        host.scope.cancel()
        await until(host.ended.is_set)
        nursery.cancel_scope.cancel()
    await until(lambda: set(os.listdir(runtime_dir)) == {"keeper.sock", "one", "two"})
    del host
    assert descriptors() == before


# The process


class Process:
    """`trioet keeper`, started as `trioet terminal` starts it."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "keeper.sock")
        self.log = directory / "test.log"
        with listen_for_requests(self.path) as listener, self.log.open("wb") as log:
            number = str(listener.fileno())
            command = [sys.executable, "-P", "-m", "trioet.cli.main", "keeper"]
            self.popen = subprocess.Popen(
                [*command, "--listen-fd", number],
                env={**os.environ, "PYTHONPATH": SOURCE},
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def socket_is_gone(self) -> bool:
        return not os.path.lexists(self.path)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.popen.send_signal(number)
        with trio.fail_after(20):
            return await trio.to_thread.run_sync(self.popen.wait, abandon_on_cancel=True)

    async def open(
        self, nursery: trio.Nursery, port: int, command: bytes = ECHO, *, pty: bool = False
    ) -> Caller:
        caller = Caller(nursery)
        answer = await ask(self.path, caller.request(ports=(port, port)))
        caller.begin(invitation(answer)["port"], command, pty=pty)
        return caller


@pytest.fixture
async def process(runtime_dir: Path) -> AsyncIterator[Process]:
    made = Process(runtime_dir)
    yield made
    if made.popen.poll() is None:
        await made.end(signal.SIGKILL)


async def test_stopped_it_tells_its_clients_and_leaves_no_socket(
    process: Process, nursery: trio.Nursery, free_tcp_port: int
) -> None:
    callers = [await process.open(nursery, free_tcp_port) for _ in range(2)]
    for caller in callers:
        await caller.echoes(b"hello")
    assert await process.end() == 0
    for caller in callers:
        over = await caller.until_over()
        assert over.reason == "the keeper of this user's sessions was stopped"
    assert process.socket_is_gone()


async def test_a_hang_up_of_the_terminal_it_came_from_is_nothing_to_it(
    process: Process, nursery: trio.Nursery, free_tcp_port: int
) -> None:
    caller = await process.open(nursery, free_tcp_port)
    await caller.echoes(b"hello")
    process.popen.send_signal(signal.SIGHUP)
    caller.cut()
    await caller.echoes(b"still here")
    assert process.popen.poll() is None


async def test_it_leaves_the_socket_of_its_successor_alone(process: Process) -> None:
    assert refusal(await ask(process.path, b""))
    os.unlink(process.path)
    with listen_for_requests(process.path):
        assert await process.end() == 0
        assert not process.socket_is_gone()


@pytest.mark.parametrize("pty", [False, True])
async def test_programs_have_none_of_its_descriptors(
    process: Process, nursery: trio.Nursery, free_tcp_port: int, pty: bool
) -> None:
    other = await process.open(nursery, free_tcp_port)
    await other.echoes(b"hello")
    caller = await process.open(nursery, free_tcp_port, b"ls /proc/$$/fd; true", pty=pty)
    await caller.until_over()
    assert set(caller.shown.split()) == {b"0", b"1", b"2"}


# Guests


async def ask_for_guest(host: Host, nursery: trio.Nursery) -> tuple[Caller, trio.SocketStream]:
    """A guest's session in which `cat` runs; and the connection that lasts as long."""
    caller = Caller(nursery)
    grant = Grant((b"/bin/cat",), write=True)
    request = GuestRequest(caller.credentials, "xterm", {b"PATH": b"/usr/bin:/bin"}, grant)
    stream = await trio.open_unix_socket(host.path)
    await stream.send_all(request.encode())
    await stream.send_eof()
    assert isinstance(stream, trio.SocketStream)
    answer = b""
    while not answer.endswith(b"\n"):
        answer += await stream.receive_some()
    told = invitation(answer)
    assert told["socket"].endswith("guests.sock")
    return caller, stream


async def test_a_guests_request_lasts_as_long_as_its_session(host: Host) -> None:
    _, stream = await ask_for_guest(host, host.nursery)
    async with stream:
        with trio.move_on_after(0.2) as silence:
            await stream.receive_some()
        assert silence.cancelled_caught
        host.keeper.end_sessions("over")
        with trio.fail_after(20):
            assert await stream.receive_some() == b""


async def test_guests_open_no_port(host: Host) -> None:
    _, stream = await ask_for_guest(host, host.nursery)
    assert "own_ports=[]" in repr(host.keeper)
    await stream.aclose()


async def test_who_is_away_for_longest_gives_way(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "MAX_GUESTS", 2)
    streams = [(await ask_for_guest(host, host.nursery))[1] for _ in range(3)]
    with trio.fail_after(20):
        assert await streams[0].receive_some() == b""
    with trio.move_on_after(0.2) as silence:
        await streams[1].receive_some()
    assert silence.cancelled_caught
    for stream in streams:
        await stream.aclose()
