"""Looking on at a session: a real keeper, a real pty, links from end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from callers import ask, refusal
from onlookers import Onlooker, Theatre, open_box, theatre
from trioet.errors import ForgedPacket
from trioet.link.room import WINDOW
from trioet.server.share_request import (
    RevokeRequest,
    ShareRequest,
    SharesRequest,
    ShownRequest,
    TakeRequest,
)
from trioet.server.shares import EXPIRED, MAX_SHARES, REVOKED
from trioet.session.shell import CHUNK
from trioet.session.tape import CLEARED, MAX_TAPE
from trioet.session.viewer import MAX_TYPED, OVER
from trioet.wire.channels import ChannelOpen, encode_channel
from trioet.wire.messages import WindowSize, encode_terminal_info
from trioet.wire.packet import PacketType
from waiting import until


@pytest.fixture
async def stage(runtime_dir: Path, free_tcp_port: int) -> AsyncIterator[Theatre]:
    async with theatre(runtime_dir, free_tcp_port) as stage:
        yield stage


# Looking on


async def test_a_viewer_sees_what_is_written_from_the_share_on(stage: Theatre) -> None:
    stage.owner.type(b"before\n")
    await stage.owner.until_shown(b"before")
    link = await stage.share()
    stage.owner.type(b"meanwhile\n")
    await stage.owner.until_shown(b"meanwhile")
    onlooker = Onlooker(stage.nursery, await stage.take(link))
    await onlooker.until_shown(b"meanwhile")
    stage.owner.type(b"after\n")
    await onlooker.until_shown(b"after")
    assert onlooker.shown == CLEARED + b"meanwhile\r\nafter\r\n"


async def test_several_see_the_same_and_are_listed(stage: Theatre) -> None:
    one, two = await stage.look_on(), await stage.look_on(write=True)
    stage.owner.type(b"hello\n")
    for onlooker in (one, two):
        await onlooker.until_shown(b"hello")
    link = await stage.share()
    told = [(each["number"], each["state"], each["write"]) for each in await stage.shares()]
    assert told == [(1, "watching", False), (2, "watching", True), (3, "link", False)]
    assert link["number"] == 3
    assert (await stage.shares())[0]["from"] == "192.0.2.7"
    assert 3590 < (await stage.shares())[0]["expires_s"] <= 3600


async def test_who_is_away_is_told_and_comes_back_at_the_byte(stage: Theatre) -> None:
    onlooker = await stage.look_on()
    stage.owner.type(b"one\n")
    await onlooker.until_shown(b"one")
    for number in range(5):
        onlooker.cut()
        stage.owner.type(b"line %d\n" % number)
        await onlooker.until_shown(b"line %d" % number)
    assert onlooker.shown.count(CLEARED) == 1
    onlooker.scope.cancel()
    await until(lambda: not onlooker.wire.attached)
    share = stage.keeper._shares._shares[0]
    await until(lambda: share.state == "away")
    assert (await stage.shares())[0]["state"] == "away"


async def test_the_owners_size_is_told_and_rules(stage: Theatre) -> None:
    def resize(rows: int, columns: int) -> None:
        size = encode_terminal_info(WindowSize(rows, columns))
        stage.owner.link.send(PacketType.TERMINAL_INFO, size)

    resize(30, 100)
    onlooker = await stage.look_on()
    await until(lambda: onlooker.sizes == [WindowSize(30, 100)])
    resize(40, 120)
    await until(lambda: onlooker.sizes[-1] == WindowSize(40, 120))
    onlooker.wire.send(PacketType.TERMINAL_INFO, encode_terminal_info(WindowSize(5, 5)))
    await onlooker.heard()
    assert onlooker.sizes == [WindowSize(30, 100), WindowSize(40, 120)]


async def test_a_full_screen_program_draws_for_who_comes_later(
    runtime_dir: Path, free_tcp_port: int
) -> None:
    code = b"trap 'printf drawn' WINCH; echo ready; while :; do sleep 0.05; done"
    async with theatre(runtime_dir, free_tcp_port, code) as stage:
        onlooker = await stage.look_on()
        await onlooker.until_shown(b"drawn")


async def test_the_end_of_the_session_is_told_behind_its_last_output(
    runtime_dir: Path, free_tcp_port: int
) -> None:
    code = b"echo ready; read line; seq 1 5000; exit 3"
    async with theatre(runtime_dir, free_tcp_port, code) as stage:
        onlooker = await stage.look_on()
        link = await stage.share()
        stage.owner.type(b"\n")
        await until(lambda: onlooker.over, 20)
        assert onlooker.over == OVER
        assert onlooker.shown.endswith(b"4999\r\n5000\r\n")
        assert (await stage.owner.until_over()).status == 3
        assert "used already" in await stage.refused(TakeRequest(link["ticket"]))


async def test_a_viewer_who_leaves_is_gone(stage: Theatre) -> None:
    onlooker = await stage.look_on()
    onlooker.leave()
    await until(lambda: not len(stage.keeper._shares))
    assert await stage.shares() == []


# Links


async def test_a_link_is_for_one_browser(stage: Theatre) -> None:
    link = await stage.share()
    answer = await stage.ask(TakeRequest(link["ticket"]))
    assert "used already" in await stage.refused(TakeRequest(link["ticket"]))
    box = open_box(link["key"], answer)
    assert box["write"] is False
    with pytest.raises(ForgedPacket):
        open_box("0" * 32, answer)
    assert box["passkey"] not in str(answer)


async def test_a_ticket_that_is_none_is_refused(stage: Theatre) -> None:
    await stage.share()
    assert "used already" in await stage.refused(TakeRequest("0" * 16))


async def test_a_link_that_was_revoked_is_void(stage: Theatre) -> None:
    link = await stage.share()
    assert await stage.revoke(link["number"]) == [link["number"]]
    assert "revoked" in await stage.refused(TakeRequest(link["ticket"]))
    assert "no share 1" in await stage.refused(RevokeRequest(stage.name, 1))


async def test_a_link_ends_with_its_time_and_so_does_its_viewer(stage: Theatre) -> None:
    link = await stage.share(expires_s=1)
    onlooker = await stage.look_on(expires_s=1)
    await until(lambda: onlooker.over, 20)
    assert onlooker.over == EXPIRED
    assert "over" in await stage.refused(TakeRequest(link["ticket"]))
    assert await stage.shares() == []
    await until(lambda: onlooker.lost, 20)


async def test_there_are_no_more_shares_than_there_may_be(stage: Theatre) -> None:
    links = [await stage.share() for _ in range(MAX_SHARES)]
    assert "limit" in await stage.refused(ShareRequest(stage.name))
    await stage.revoke(links[0]["number"])
    await stage.share()


async def test_of_a_session_that_is_none_nothing_is_shared(stage: Theatre) -> None:
    for request in (ShareRequest("1.99"), SharesRequest("1.99"), RevokeRequest("1.99")):
        assert "there is no session 1.99" in await stage.refused(request)


async def test_a_command_on_pipes_has_nothing_to_look_at(
    runtime_dir: Path, free_tcp_port: int
) -> None:
    async with theatre(runtime_dir, free_tcp_port) as stage:
        caller = type(stage.owner)(stage.nursery)
        await ask(stage.path, caller.request(ports=(stage.port, stage.port)))
        caller.begin(stage.port, b'echo "[$TRIOET_SESSION]"; cat', pty=False)
        await caller.until_shown(b"]")
        name = caller.shown.strip(b"[]\n").decode()
        assert "no terminal" in await stage.refused(ShareRequest(name))


# Attacks


async def test_a_revoked_viewer_hears_nothing_more_at_once(stage: Theatre) -> None:
    gone, stays = await stage.look_on(), await stage.look_on()
    await stage.revoke(1)
    stage.owner.type(b"secret\n")
    await stays.until_shown(b"secret")
    await until(lambda: gone.lost, 20)
    assert gone.over == REVOKED
    assert b"secret" not in gone.shown
    assert [share["number"] for share in await stage.shares()] == [2]


async def test_a_viewer_who_is_away_while_it_is_revoked_does_not_come_back(stage: Theatre) -> None:
    onlooker = await stage.look_on()
    onlooker.scope.cancel()
    await until(lambda: not onlooker.wire.attached)
    stage.owner.type(b"secret\n")
    await stage.owner.until_shown(b"secret")
    assert await stage.revoke() == [1]
    onlooker.scope = trio.CancelScope()
    stage.nursery.start_soon(onlooker._keep_connected)
    await until(lambda: onlooker.lost, 20)
    assert b"secret" not in onlooker.shown


async def test_who_may_only_look_cannot_type(stage: Theatre) -> None:
    onlooker = await stage.look_on()
    for _ in range(2 * MAX_TYPED // 4096):
        onlooker.type(b"x" * 4095 + b"\n")
    await onlooker.heard()
    stage.owner.type(b"mine\n")
    await onlooker.until_shown(b"mine")
    assert b"x" not in onlooker.shown
    assert b"x" not in stage.owner.shown.partition(b"ready")[2]


async def test_who_may_type_does_and_no_longer_when_revoked(stage: Theatre) -> None:
    onlooker = await stage.look_on(write=True)
    assert onlooker.box["write"] is True
    onlooker.type(b"theirs\n")
    await stage.owner.until_shown(b"theirs")
    await stage.revoke()
    onlooker.type(b"later\n")
    await until(lambda: onlooker.lost, 20)
    stage.owner.type(b"mine\n")
    await stage.owner.until_shown(b"mine")
    assert b"later" not in stage.owner.shown


async def test_viewers_get_no_tunnels(stage: Theatre) -> None:
    onlooker = await stage.look_on(write=True)
    line = onlooker.wire.lines[0]
    message = encode_channel(ChannelOpen(1, 0, None, 1 << 18))
    onlooker.wire.send(PacketType.CHANNEL, message)
    await until(lambda: line not in onlooker.wire.lines)
    stage.owner.type(b"on\n")
    await stage.owner.until_shown(b"on")


async def test_a_viewer_who_takes_nothing_slows_nobody_and_skips(
    runtime_dir: Path, free_tcp_port: int
) -> None:
    code = b"stty -echo; echo ready; read line; seq 1 100000; echo done; exec cat"
    async with theatre(runtime_dir, free_tcp_port, code) as stage:
        stalled, quick = await stage.look_on(), await stage.look_on()
        stalled.stalled = True
        stage.owner.type(b"\n")
        await until(lambda: b"done" in stage.owner.inbox.payloads[-1], 60)
        await quick.until_shown(b"done")
        assert b"done" not in stalled.shown
        kept = len(stalled.shown)
        assert kept < WINDOW + CHUNK
        stalled.grant(kept)
        stalled.stalled = False
        await stalled.until_shown(b"done")
        assert stalled.shown.count(CLEARED) >= 2
        assert len(stalled.shown) < kept + MAX_TAPE


async def test_who_knows_the_id_alone_comes_to_nothing(stage: Theatre) -> None:
    onlooker = await stage.look_on()
    thief = Onlooker(stage.nursery, {**onlooker.box, "passkey": "0" * 32})
    stage.owner.type(b"secret\n")
    await onlooker.until_shown(b"secret")
    assert thief.packets == []
    thief.scope.cancel()


# The curtain


def asking(stage: Theatre, runtime_dir: Path, after: str) -> subprocess.Popen[bytes]:
    """A process that asks for a share behind the curtain, and then does something."""
    code = (
        "import sys; from trioet.cli.terminal import ask_keeper; "
        "from trioet.server.share_request import ShareRequest, ShownRequest; "
        f"request = ShareRequest({stage.name!r}, hide=True); "
        "print(ask_keeper(request.encode()).decode(), flush=True); "
        f"sys.stdin.readline(); {after}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TRIOET_RUNTIME_DIR": str(runtime_dir)},
    )


@pytest.mark.parametrize("kept", [True, False])
async def test_what_is_written_behind_the_curtain_is_seen_by_the_owner_alone(
    stage: Theatre, runtime_dir: Path, kept: bool
) -> None:
    onlooker = await stage.look_on()
    shown = f"ask_keeper(ShownRequest({stage.name!r}, 2).encode())"
    process = asking(stage, runtime_dir, shown if kept else "sys.exit()")
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        line = await trio.to_thread.run_sync(process.stdout.readline)
        link = json.loads(line.partition(b":")[2])
        stage.owner.type(b"the link\n")
        await stage.owner.until_shown(b"the link")
        process.stdin.write(b"\n")
        process.stdin.close()
        await trio.to_thread.run_sync(process.wait)
    stage.owner.type(b"and on\n")
    if kept:
        await onlooker.until_shown(b"and on")
    else:
        audience = stage.keeper._shares._shares[0].audience
        await until(lambda: "curtains=0" in repr(audience))
        stage.owner.type(b"and later\n")
        await onlooker.until_shown(b"and later")
    assert b"the link" not in onlooker.shown
    if kept:
        await stage.take(link)
    else:
        assert "revoked" in await stage.refused(TakeRequest(link["ticket"]))


async def test_requests_of_these_that_make_no_sense_are_refused(stage: Theatre) -> None:
    for request in (b"v=1\0do=take\0ticket=x\0", b"v=1\0do=share\0session=\0", b"v=1\0do=shown\0"):
        assert refusal(await ask(stage.path, request))["step"] == "keeper"
    assert "no share 7" in await stage.refused(ShownRequest(stage.name, 7))
