"""The registration socket against whoever may open it: every user of the machine.

And its other end: a keeper against whoever listens in the router's place.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from descriptors import descriptors
from trioet.link.door import Verdict
from trioet.link.refusals import FREE
from trioet.server.keeper import Keeper
from trioet.server.local import MAX_MESSAGE, LocalChannel, bind_local, connect_local
from trioet.server.registration import RouterRegistration
from trioet.server.router import (
    MAX_CALLERS_PER_USER,
    MAX_ID,
    MAX_IDS_PER_USER,
    MAX_KEEPERS_PER_USER,
    REGISTRATION_DEADLINE_S,
    Router,
)
from waiting import until

ID: Final = b"1234567890123456"
NOBODY: Final = 65534


class Site:
    """A router, and the honest keeper that has registered ID with it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.router = Router(port=2022, replay_memory=1000)
        self.arrived = 0
        self.registration = RouterRegistration(path, self._deliver, lambda _share: None)

    def _deliver(self, client_id: bytes, sock: socket.socket, preface: bytes) -> None:
        assert (client_id, preface) == (ID, b"preface")
        sock.close()
        self.arrived += 1

    async def check(self) -> None:
        """Connections still reach the honest keeper."""
        before = self.arrived
        ours, theirs = socket.socketpair()
        with ours:
            assert self.router.deliver(ID, (theirs, b"preface")) is Verdict.DELIVERED
            await until(lambda: self.arrived > before)

    def stranger(self) -> socket.socket:
        """A connection of somebody else's; blocking."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(self.path)
        return sock


@pytest.fixture
async def site(runtime_dir: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Site]:
    made = Site(str(runtime_dir / "router.sock"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.router.serve_keepers, bind_local(made.path, 0o666))
        assert await made.registration.connect()
        nursery.start_soon(made.registration.run)
        assert await made.registration.register(ID)
        caplog.set_level(logging.INFO)
        yield made
        nursery.cancel_scope.cancel()


@pytest.fixture
def clock() -> MockClock:
    """Real time, and whatever a test lets pass: pytest-trio takes it if the test asks for it."""
    return MockClock(rate=1)


async def read_to_the_end(sock: socket.socket) -> None:
    channel = LocalChannel(sock)
    with trio.fail_after(5):
        while await channel.receive() is not None:
            pass


def check_told_once(site: Site, caplog: pytest.LogCaptureFixture, why: str) -> None:
    (told,) = [message for message in caplog.messages if message.startswith("refused ")]
    assert told.startswith(f"refused uid {os.getuid()}: ")
    assert why in told
    assert site.router.door.refusals.count == 1


def add(*names: object) -> bytes:
    return json.dumps({"v": 1, "add": names}).encode()


NONSENSE: Final[dict[str, tuple[bytes, str]]] = {
    "no JSON": (b"not json", "not JSON"),
    "binary": (bytes(range(256)), "not JSON"),
    "no UTF-8": (b'{"v": "\xff\xfe"}', "not JSON"),
    "a zero byte": (b"\0", "not JSON"),
    "half an object": (b'{"v": 1, "add": [', "not JSON"),
    "a list": (b"[]", "not an object"),
    "nothing": (b"null", "not an object"),
    "a number": (b"1e999", "not an object"),
    "a number of many digits": (b'{"v": ' + b"9" * 10_000 + b"}", "not JSON"),
    "lists in lists": (b"[" * 10_000, "not JSON"),
    "objects in objects": (b'{"v":' * 2500, "not JSON"),
    "more than a message": (b" " * (MAX_MESSAGE + 1), "more than"),
    "ids that are no list": (b'{"add": "1234567890123456"}', "not a list"),
    "ids in an object": (b'{"add": {"1234567890123456": 1}}', "not a list"),
    "an id that is a number": (add(7), "not a client id"),
    "an id that is a list": (add([]), "not a client id"),
    "an empty id": (add(""), "not a client id"),
    "an id that is too long": (add("a" * (MAX_ID + 1)), "not a client id"),
    "an id with a line end": (add("a\nb"), "not a client id"),
    "an id with an escape": (add("\x1b[2J"), "not a client id"),
    "an id of other letters": (add("\u0430\u0431"), "not a client id"),
    "an id of half a letter": (add("\ud800"), "not a client id"),
    "what to remove that is no id": (b'{"remove": [null]}', "not a client id"),
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_costs_its_connection_and_no_more(
    site: Site, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    said, why = NONSENSE[name]
    with site.stranger() as stranger:
        stranger.send(said)
        await read_to_the_end(stranger)
    check_told_once(site, caplog, why)
    assert "keepers=1 ids=1" in repr(site.router)
    await site.check()


@pytest.mark.parametrize("said", [b'{"v":1}', add("a"), b'{"arrival":"a"}', b"nonsense"])
@pytest.mark.parametrize("count", [1, 2, 200])
async def test_descriptors_that_nobody_asked_for_are_not_kept(
    site: Site, said: bytes, count: int
) -> None:
    before = descriptors()
    with site.stranger() as stranger, socket.socket() as handed_over:
        for _ in range(3):
            try:
                socket.send_fds(stranger, [said], [handed_over.fileno()] * count)
            except BrokenPipeError:
                break  # it was nonsense
            await wait_all_tasks_blocked()
    await until(lambda: "keepers=1" in repr(site.router))
    await wait_all_tasks_blocked()
    assert descriptors() == before
    await site.check()


async def test_who_says_nothing_is_dropped_in_time(
    site: Site, caplog: pytest.LogCaptureFixture, clock: MockClock
) -> None:
    with site.stranger() as stranger:
        await wait_all_tasks_blocked()
        clock.jump(REGISTRATION_DEADLINE_S)
        await read_to_the_end(stranger)
    check_told_once(site, caplog, "no registration within 5 s")
    await site.check()


async def test_who_comes_and_goes_is_no_news(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    before = descriptors()
    for _ in range(1000):
        site.stranger().close()
        await trio.lowlevel.checkpoint()
    await until(lambda: descriptors() == before)
    assert caplog.messages == []
    await site.check()


async def test_a_user_has_so_many_connections_and_no_more(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    strangers = [site.stranger() for _ in range(MAX_CALLERS_PER_USER)]
    await read_to_the_end(strangers[-1])
    check_told_once(site, caplog, "too many local connections")
    for stranger in strangers:
        stranger.close()
    await site.check()


async def test_a_user_has_so_many_keepers_and_no_more(site: Site) -> None:
    channels = [await connect_local(site.path) for _ in range(MAX_KEEPERS_PER_USER)]
    for channel in channels:
        channel.send_nowait({"v": 1})
    with trio.fail_after(5):
        while (message := await channels[-1].receive()) is not None:
            assert message.fields["error"] == "too many keepers"
    assert f"keepers={MAX_KEEPERS_PER_USER}" in repr(site.router)
    for channel in channels:
        channel.close()
    await site.check()


async def test_a_user_has_so_many_ids_and_no_more(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    channel = await connect_local(site.path)
    refused = 0
    for start in range(0, MAX_IDS_PER_USER + 512, 512):
        channel.send_nowait({"v": 1, "add": [f"{start + n:016}" for n in range(512)]})
        with trio.fail_after(5):
            while "refused" not in (message := await channel.receive()).fields:  # type: ignore[union-attr]
                pass
        assert message is not None
        refused += len(message.fields["refused"])
    assert refused == 512 + 1  # one is the honest keeper's
    assert f"ids={MAX_IDS_PER_USER}" in repr(site.router)
    assert len(caplog.messages) == FREE + 2, "a flood does not fill the log"
    channel.close()
    await until(lambda: "ids=1" in repr(site.router))
    await site.check()


async def test_an_id_of_somebody_else_cannot_be_taken_or_removed(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    channel = await connect_local(site.path)
    channel.send_nowait({"v": 1, "add": [ID.decode()], "remove": [ID.decode()]})
    with trio.fail_after(5):
        while (message := await channel.receive()) and "refused" not in message.fields:
            pass
    assert message is not None
    assert message.fields["refused"] == [ID.decode()]
    check_told_once(site, caplog, "wants another user's id")
    await site.check()
    channel.close()
    await until(lambda: "keepers=1" in repr(site.router))
    await site.check()


async def test_who_takes_none_of_his_connections_holds_few(site: Site) -> None:
    """And nobody else's wait for him."""
    with site.stranger() as stranger:
        stranger.send(add("idle"))
        await until(lambda: "ids=2" in repr(site.router))
        before = descriptors()
        delivered = 0
        verdict = Verdict.DELIVERED
        while verdict is Verdict.DELIVERED:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                verdict = site.router.deliver(b"idle", (theirs, b"preface"))
            delivered += 1
            assert delivered < 1000
        assert verdict is Verdict.LATER
        assert descriptors() == before
        await site.check()


MOST_AT_ONCE: Final = 32
"""Messages of one user that may be dealt with before somebody else has a turn."""


async def test_a_flood_of_messages_stops_nobody_else(site: Site) -> None:
    with site.stranger() as stranger:
        stranger.setblocking(False)
        flood = 0
        with suppress(BlockingIOError):
            while True:
                stranger.send(add(f"flood{flood}"))
                flood += 1
        assert flood > 2 * MOST_AT_ONCE
        known = most = 1
        for _ in range(2 * flood):  # he reads no answer, and is thrown out before the end
            await trio.lowlevel.checkpoint()
            before, known = known, len(site.router._owners)
            most = max(most, known)
            assert known - before <= MOST_AT_ONCE
        assert most > MOST_AT_ONCE
    await site.check()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_a_keeper_opens_sessions_for_nobody_but_its_user(runtime_dir: Path) -> None:
    """Even if his socket could be reached."""
    path = str(runtime_dir / "requests.sock")
    requests = socket.socket(socket.AF_UNIX)
    requests.bind(path)
    requests.listen()
    os.chmod(runtime_dir, 0o755)
    os.chmod(path, 0o666)
    os.seteuid(NOBODY)
    try:
        stranger = socket.socket(socket.AF_UNIX)
        stranger.connect(path)
    finally:
        os.seteuid(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Keeper().run, requests)
        with trio.fail_after(5):
            async with trio.SocketStream(trio.socket.from_stdlib_socket(stranger)) as stream:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(b"do=open\0")
                    await stream.send_eof()
                    assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()


# The keeper's end


BY_A_ROUTER: Final[dict[str, bytes]] = {
    "no JSON": b"not json",
    "a list": b"[]",
    "lists in lists": b"[" * 10_000,
    "a port that is none": b'{"port": "here"}',
    "a port that is a list": b'{"port": []}',
    "an infinite port": b'{"port": Infinity}',
    "a share that is none": b'{"replay_memory": null}',
    "an infinite share": b'{"replay_memory": 1e999}',
    "refusals that are no list": b'{"port": 1, "refused": 7}',
    "an id of half a letter": b'{"port": 1, "refused": ["\\ud800"]}',
    "an arrival of half a letter": b'{"arrival": "\\ud800"}',
    "more than a message": b" " * (MAX_MESSAGE + 1),
}


@pytest.mark.parametrize("name", BY_A_ROUTER)
async def test_a_router_that_talks_nonsense_is_left_and_tried_again(
    runtime_dir: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = str(runtime_dir / "router.sock")
    with bind_local(path, 0o600) as listener:
        registration = RouterRegistration(path, lambda *_: None, lambda _share: None)
        assert await registration.connect()
        router, _ = listener.accept()
        listener.setblocking(False)
        before = descriptors()
        with router, socket.socket() as handed_over:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(registration.run)
                socket.send_fds(router, [BY_A_ROUTER[name]], [handed_over.fileno()])
                with trio.fail_after(5):
                    await trio.lowlevel.wait_readable(listener)
                again, _ = listener.accept()
                with again:
                    # The socket that was handed over, and the new connection's two ends.
                    assert descriptors() == before + 1 + 2 - 1
                nursery.cancel_scope.cancel()
    assert any(message.startswith(f"router at {path}: ") for message in caplog.messages)


@pytest.mark.parametrize(
    "said",
    [
        b'{"port":1,"refused":[]}',
        b'{"replay_memory":1000}',
        b'{"of a newer":"router"}',
        b'{"arrival":"1234567890123456"}',
    ],
)
async def test_a_keeper_keeps_no_descriptors_but_its_arrivals(
    runtime_dir: Path, said: bytes
) -> None:
    path = str(runtime_dir / "router.sock")
    with bind_local(path, 0o600) as listener:
        registration = RouterRegistration(
            path, lambda _id, sock, _preface: sock.close(), lambda _share: None
        )
        assert await registration.connect()
        router, _ = listener.accept()
        no_socket = os.pipe()
        with router:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(registration.run)
                await wait_all_tasks_blocked()
                before = descriptors()
                socket.send_fds(router, [said], no_socket)
                await wait_all_tasks_blocked()
                # Who hands over what is no socket may lose his connection.
                assert descriptors() <= before
                nursery.cancel_scope.cancel()
        for end in no_socket:
            os.close(end)
