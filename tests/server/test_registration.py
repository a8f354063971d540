"""A keeper's registration with a router that comes, goes, is slow, or is a newer one."""

from __future__ import annotations

import math
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trioet.bootstrap.relay_line import MAX_HOST
from trioet.server.local import LocalChannel, bind_local
from trioet.server.registration import (
    FIRST_PAUSE_S,
    HUNG_UP_S,
    IDS_PER_MESSAGE,
    MAX_PAUSE_S,
    OFFER_AGAIN_S,
    PAUSE_SHARE,
    RELAYS_PER_MESSAGE,
    RESTART_S,
    RouterRegistration,
)
from trioet.server.router import GRACE_S
from trioet.wire.forward import Address
from waiting import until

ID = b"1234567890123456"


class Stage:
    """A registration, and the router's end of it, which the test plays."""

    def __init__(self, path: str, nursery: trio.Nursery) -> None:
        self.path = path
        self.nursery = nursery
        self.arrived: list[tuple[bytes, bytes]] = []
        self.shares: list[int] = []
        self.ended: list[bytes] = []
        self.registration = RouterRegistration(
            path, self._deliver, self.shares.append, self.ended.append
        )
        self.answers: list[bool] = []
        self.open()

    def _deliver(self, client_id: bytes, sock: socket.socket, preface: bytes) -> None:
        sock.close()
        self.arrived.append((client_id, preface))

    def open(self) -> None:
        self.listener = bind_local(self.path, 0o600)
        self.listener.setblocking(False)

    async def begin(self) -> None:
        assert await self.registration.connect()
        self.nursery.start_soon(self.registration.run)
        await self.accept()

    async def accept(self) -> None:
        with trio.fail_after(2 * MAX_PAUSE_S):
            await trio.lowlevel.wait_readable(self.listener)
        self.router = LocalChannel(self.listener.accept()[0])

    async def asked(self) -> dict[str, Any]:
        with trio.fail_after(5):
            message = await self.router.receive()
        assert message is not None
        return message.fields

    def answer(self, **more: object) -> None:
        self.router.send_nowait({"v": 1, "port": 2022, "refused": [], **more})

    def register(self, client_id: bytes = ID, relay_to: Address | None = None) -> None:
        """Begin to; what comes of it will be in ``answers``."""

        async def register() -> None:
            self.answers.append(await self.registration.register(client_id, relay_to))

        self.nursery.start_soon(register)

    async def registered(self, client_id: bytes = ID) -> None:
        self.register(client_id)
        assert (await self.asked())["add"] == [client_id.decode()]
        self.answer()
        await until(lambda: self.answers)
        assert self.answers.pop()

    def close(self) -> None:
        self.router.close()
        self.listener.close()


@pytest.fixture
async def stage(runtime_dir: Path) -> AsyncIterator[Stage]:
    async with trio.open_nursery() as nursery:
        made = Stage(str(runtime_dir / "router.sock"), nursery)
        await made.begin()
        yield made
        nursery.cancel_scope.cancel()
    made.close()


async def test_an_id_is_registered_when_the_router_says_so(stage: Stage) -> None:
    stage.register()
    assert await stage.asked() == {"v": 1, "add": [ID.decode()]}
    await wait_all_tasks_blocked()
    assert not stage.answers
    stage.answer()
    await until(lambda: stage.answers == [True])
    assert stage.registration.port == 2022


async def test_two_at_once_get_their_own_answers(stage: Stage) -> None:
    for client_id in (b"first", b"other"):
        stage.register(client_id)
        await stage.asked()
    stage.answer(refused=["first"])
    await until(lambda: stage.answers == [False])
    stage.answer()
    await until(lambda: stage.answers == [False, True])


async def test_the_answer_to_a_removal_is_nobody_elses(stage: Stage) -> None:
    await stage.registered(b"other")
    stage.registration.remove(b"other")
    assert await stage.asked() == {"v": 1, "remove": ["other"]}
    stage.register()
    await stage.asked()
    stage.answer()
    await wait_all_tasks_blocked()
    assert not stage.answers
    stage.answer(refused=[ID.decode()])
    await until(lambda: stage.answers == [False])


async def test_every_id_that_is_alive_comes_back_to_a_router_that_was_restarted(
    stage: Stage,
) -> None:
    """In messages small enough; an id that was removed meanwhile does not."""
    names = [f"{number:016}" for number in range(2 * IDS_PER_MESSAGE + 2)]
    for name in names:
        await stage.registered(name.encode())
    stage.close()
    stage.registration.remove(names.pop().encode())
    stage.registration.remove(names.pop(0).encode())
    stage.open()
    await stage.accept()
    came: list[str] = []
    while len(came) < len(names):
        message = await stage.asked()
        assert len(message["add"]) <= IDS_PER_MESSAGE
        came += message["add"]
        stage.answer()
    assert came == names


async def test_who_waits_for_a_router_that_goes_waits_no_longer(stage: Stage) -> None:
    """The session is open all the same: the id is registered as soon as one is back."""
    stage.register()
    await stage.asked()
    stage.close()
    await until(lambda: stage.answers == [True])
    stage.open()
    await stage.accept()
    assert await stage.asked() == {"v": 1, "add": [ID.decode()]}


async def test_who_waits_for_a_router_that_is_back_at_once_waits_no_longer(stage: Stage) -> None:
    """The new connection's answers are none to what was asked on the old one.

    There are many who wait, for which task is the first to hear of it is left to chance.
    """
    names = [b"%016d" % number for number in range(50)]
    for name in names:
        stage.register(name)
        await stage.asked()
    stage.router.close()
    await stage.accept()
    assert len((await stage.asked())["add"]) == len(names)
    stage.answer()
    await until(lambda: stage.answers == [True] * len(names))


class Returned:
    """A registration that is back, and finds that somebody has taken its id."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def begin(self) -> None:
        await self.stage.registered()
        self.stage.close()
        self.stage.open()
        await self.stage.accept()
        await self.offered()
        self.stage.answer(refused=[ID.decode()])

    async def offered(self) -> None:
        assert await self.stage.asked() == {"v": 1, "add": [ID.decode()]}

    async def nothing_is_offered(self) -> None:
        await trio.sleep(3 * OFFER_AGAIN_S)
        self.stage.register(b"other")
        assert await self.stage.asked() == {"v": 1, "add": ["other"]}


@pytest.fixture
async def returned(stage: Stage) -> Returned:
    made = Returned(stage)
    await made.begin()
    return made


async def test_an_id_that_was_taken_meanwhile_is_offered_until_it_is_ours(
    returned: Returned, autojump_clock: MockClock
) -> None:
    for refused in ([ID.decode()], [ID.decode()], []):
        await trio.sleep(OFFER_AGAIN_S)
        await returned.offered()
        returned.stage.answer(refused=refused)
    await returned.nothing_is_offered()
    assert OFFER_AGAIN_S <= GRACE_S / 2


async def test_where_nothing_was_refused_nobody_looks_at_the_clock(stage: Stage) -> None:
    await stage.registered()
    await wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf


async def test_an_id_that_is_said_to_be_free_again_is_offered_at_once(returned: Returned) -> None:
    returned.stage.router.send_nowait({"v": 1, "free": 1})
    await returned.offered()


async def test_an_id_whose_session_ended_is_offered_no_more(
    returned: Returned, autojump_clock: MockClock
) -> None:
    await trio.sleep(OFFER_AGAIN_S / 2)
    returned.stage.registration.remove(ID)
    assert await returned.stage.asked() == {"v": 1, "remove": [ID.decode()]}
    returned.stage.answer()
    await returned.nothing_is_offered()


async def test_while_the_router_is_away_nobody_waits_for_it(stage: Stage) -> None:
    stage.close()
    await until(lambda: "away" in repr(stage.registration))
    stage.register()
    await until(lambda: stage.answers == [True])
    stage.open()
    await stage.accept()
    assert await stage.asked() == {"v": 1, "add": [ID.decode()]}


@pytest.mark.parametrize("away_s", [0.3, 1.0, 3.4, 20.0, 3600.0])
async def test_a_router_that_was_away_is_found_soon_after_its_return(
    stage: Stage, autojump_clock: MockClock, away_s: float
) -> None:
    """The longer it was away, the longer it may take, and never long."""
    await stage.registered()
    stage.close()
    await trio.sleep(away_s)
    stage.open()
    begun = trio.current_time()
    await stage.accept()
    longest = min(max(FIRST_PAUSE_S, PAUSE_SHARE * away_s), MAX_PAUSE_S)
    assert trio.current_time() - begun <= longest
    assert await stage.asked() == {"v": 1, "add": [ID.decode()]}


async def looks_in_s() -> float:
    """Return after how many seconds, an hour from now, the router is looked for again."""
    await trio.sleep(3600)
    await wait_all_tasks_blocked()
    return trio.lowlevel.current_statistics().seconds_to_next_deadline


async def test_a_router_that_is_gone_for_long_is_not_looked_for_but_noticed(
    stage: Stage, autojump_clock: MockClock, runtime_dir: Path
) -> None:
    """Also when it makes its directory anew, and is not ready at once."""
    await stage.registered()
    stage.close()
    assert await looks_in_s() == math.inf
    shutil.rmtree(runtime_dir)
    assert await looks_in_s() == math.inf
    os.mkdir(runtime_dir, 0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as early:
        early.bind(stage.path)
        await trio.sleep(FIRST_PAUSE_S)
        early.listen()
        early.setblocking(False)
        stage.listener = early
        begun = trio.current_time()
        await stage.accept()
        assert trio.current_time() - begun <= FIRST_PAUSE_S
        assert await stage.asked() == {"v": 1, "add": [ID.decode()]}


async def test_a_router_that_hangs_up_at_once_is_not_asked_at_once_again(
    stage: Stage, autojump_clock: MockClock
) -> None:
    begun = trio.current_time()
    for _ in range(10):
        stage.router.close()
        await stage.accept()
    assert trio.current_time() - begun >= 10 * HUNG_UP_S


async def test_where_it_would_be_noticed_no_more_it_is_looked_for_again(
    stage: Stage, autojump_clock: MockClock, runtime_dir: Path
) -> None:
    stage.close()
    assert await looks_in_s() == math.inf
    shutil.rmtree(runtime_dir)
    os.mknod(runtime_dir)
    looked_in_s = await looks_in_s()
    os.unlink(runtime_dir)
    os.mkdir(runtime_dir, 0o700)
    assert looked_in_s <= MAX_PAUSE_S
    stage.open()
    await stage.accept()


async def test_what_is_there_and_cannot_be_reached_is_tried_again(
    stage: Stage, autojump_clock: MockClock
) -> None:
    """Here by the wrong kind of socket. It may be that we lack a descriptor for a while."""
    stage.close()
    os.unlink(stage.path)
    with socket.socket(socket.AF_UNIX) as stream:
        stream.bind(stage.path)
        stream.listen()
        assert await looks_in_s() <= MAX_PAUSE_S


async def test_where_it_would_not_be_noticed_it_is_looked_for(
    runtime_dir: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runtime_dir)
    async with trio.open_nursery() as nursery:
        stage = Stage("router.sock", nursery)
        await stage.begin()
        stage.close()
        assert await looks_in_s() <= MAX_PAUSE_S
        stage.open()
        await stage.accept()
        nursery.cancel_scope.cancel()
    stage.close()


async def test_a_router_that_is_there_is_back(stage: Stage) -> None:
    assert await stage.registration.is_back()


async def test_a_router_that_restarts_is_waited_for(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.close()
    await until(lambda: not stage.registration.is_connected)
    back: list[bool] = []

    async def ask() -> None:
        back.append(await stage.registration.is_back())

    stage.nursery.start_soon(ask)
    await trio.sleep(RESTART_S / 2)
    assert back == []
    stage.open()
    await until(lambda: back)
    assert back == [True]


async def test_a_router_that_is_gone_is_not_waited_for_long(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.close()
    await until(lambda: not stage.registration.is_connected)
    begun = trio.current_time()
    assert not await stage.registration.is_back()
    assert trio.current_time() - begun <= RESTART_S
    await trio.sleep(3600)
    begun = trio.current_time()
    assert not await stage.registration.is_back()
    assert trio.current_time() == begun, "gone for long: it is not waited for at all"
    stage.open()
    assert await stage.registration.is_back(), "who asks need not wait for the next try"
    assert trio.current_time() == begun


async def test_what_a_newer_router_adds_is_passed_over(stage: Stage) -> None:
    stage.router.send_nowait({"v": 2, "colour": "blue"})
    stage.register()
    await stage.asked()
    stage.answer(v=2, colour="blue")
    await until(lambda: stage.answers == [True])
    stage.router.send_nowait({"v": 2, "replay_memory": 1000, "colour": "blue"})
    await until(lambda: stage.shares == [1000])


async def test_an_arrival_brings_its_connection_and_what_was_read(stage: Stage) -> None:
    await stage.registered()
    ours, theirs = socket.socketpair()
    with ours:
        fields = {"v": 2, "arrival": ID.decode(), "colour": "blue"}
        assert stage.router.send_nowait(fields, b"preface\n\0", theirs.fileno())
        theirs.close()
        await until(lambda: stage.arrived == [(ID, b"preface\n\0")])
        assert ours.recv(1) == b"", "it was handed over, not copied"


RELAY_ID = b"relayrelayrelay1"
WHERE = Address("db1.internal", 2022)


async def test_a_relays_id_is_offered_with_where_it_leads_now_and_after_a_restart(
    stage: Stage,
) -> None:
    told = {
        "v": 1,
        "add": [RELAY_ID.decode()],
        "relays": {RELAY_ID.decode(): [WHERE.host, WHERE.port]},
    }
    stage.register(RELAY_ID, WHERE)
    assert await stage.asked() == told
    stage.answer(relaying="some")
    await until(lambda: stage.answers == [True])
    assert stage.registration.relaying == "some"
    await stage.registered()
    stage.close()
    stage.open()
    await stage.accept()
    assert await stage.asked() == {"v": 1, "add": [ID.decode()]}
    assert await stage.asked() == told
    stage.registration.remove(RELAY_ID)
    assert await stage.asked() == {"v": 1, "remove": [RELAY_ID.decode()]}


async def test_many_relays_with_long_names_fit_into_messages(stage: Stage) -> None:
    for number in range(2 * RELAYS_PER_MESSAGE):
        relay_id = b"relay%011d" % number
        stage.register(relay_id, Address("\udcff" * MAX_HOST, 65535))
        await stage.asked()
        stage.answer()
    await until(lambda: len(stage.answers) == 2 * RELAYS_PER_MESSAGE)
    stage.close()
    stage.open()
    await stage.accept()
    for _ in range(2):
        assert len((await stage.asked())["relays"]) == RELAYS_PER_MESSAGE


async def test_relays_that_a_router_ends_are_ended(stage: Stage) -> None:
    await stage.registered()
    stage.router.send_nowait({"v": 1, "end_relays": [RELAY_ID.decode()]})
    await until(lambda: stage.ended == [RELAY_ID])


async def test_relays_that_a_router_forbids_after_its_restart_are_ended(stage: Stage) -> None:
    stage.register(RELAY_ID, WHERE)
    await stage.asked()
    stage.answer()
    await until(lambda: stage.answers == [True])
    stage.close()
    stage.open()
    await stage.accept()
    await stage.asked()
    stage.answer(relaying="none", refused=[RELAY_ID.decode()])
    await until(lambda: stage.ended == [RELAY_ID])


async def test_cancelled_while_it_waits_the_id_stays_until_it_is_removed(stage: Stage) -> None:
    with trio.CancelScope() as scope:
        stage.nursery.start_soon(stage.asked)
        scope.cancel()
        await stage.registration.register(ID)
    assert scope.cancelled_caught
    assert "ids=1" in repr(stage.registration)
    stage.registration.remove(ID)
    assert "ids=0" in repr(stage.registration)
