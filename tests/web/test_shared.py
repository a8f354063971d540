"""Links to shared sessions at `trioet web`: what a browser gets for one, and may do then."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from websockets.exceptions import InvalidStatus

from onlookers import open_box
from trioet.cli.terminal import ask_keeper
from trioet.server.request import INVITED
from trioet.server.share_request import AnyShareRequest, RevokeRequest, ShareRequest
from trioet.web.limits import SESSIONS_AT_ONCE
from trioet.wire.messages import InitialPayload
from web_hosts import WebHost, sh, web_host
from web_visitor import Browser, Visitor

pytestmark = pytest.mark.usefixtures("runtime_dir")

SHELL = sh('stty -echo; echo "[$TRIOET_SESSION] ready"; exec cat')
FEATURES = ("acks", "over", "channels", "quiet", "size")


async def ask(request: AnyShareRequest) -> dict[str, Any]:
    answer = await trio.to_thread.run_sync(ask_keeper, request.encode())
    assert answer.startswith(INVITED), answer
    told: dict[str, Any] = json.loads(answer.removeprefix(INVITED))
    return told


@asynccontextmanager
async def session(
    host: WebHost, browser: Browser | None = None
) -> AsyncIterator[tuple[Visitor, str]]:
    """A visitor with a session, and its name."""
    async with trio.open_nursery() as nursery:
        made = browser or host.browser
        visitor = Visitor(made, nursery, await made.session())
        visitor.begin()
        await visitor.until_shown(b"ready")
        yield visitor, visitor.shown.partition(b"[")[2].partition(b"]")[0].decode()
        nursery.cancel_scope.cancel()


async def take(browser: Browser, link: dict[str, Any]) -> tuple[bytes, bytes]:
    """What a page does with a link."""
    reply = await browser.post("api/share", {"ticket": link["ticket"]})
    assert reply.status == 200, reply
    assert reply.fields["cache-control"] == "no-store"
    box = open_box(link["key"], reply.json)
    return box["id"].encode(), box["passkey"].encode()


async def test_a_link_is_good_for_one_browser_through_the_websocket() -> None:
    async with web_host("-w", *SHELL) as host, session(host) as (owner, name):
        link = await ask(ShareRequest(name))
        other = Browser(host.browser.port)
        async with trio.open_nursery() as nursery:
            viewer = Visitor(other, nursery, await take(other, link))
            viewer.begin(InitialPayload(features=FEATURES))
            owner.type(b"hello\r")
            await viewer.until_shown(b"hello")
            viewer.type(b"mine\r")
            reply = await other.post("api/share", {"ticket": link["ticket"]})
            assert reply.status == 404
            assert "used already" in reply.json["error"]
            await ask(RevokeRequest(name))
            assert "owner" in (await viewer.until_over()).reason
            nursery.cancel_scope.cancel()
        assert b"mine" not in owner.shown


async def test_a_link_is_a_login_for_that_session_and_for_nothing_else() -> None:
    async with web_host("-w", "-c", "user:secret", *SHELL) as host:
        known = Browser(host.browser.port)
        await known.post("api/login", {"user": "user", "password": "secret"})
        async with session(host, known) as (owner, name):
            link = await ask(ShareRequest(name))
            other = Browser(host.browser.port)
            with pytest.raises(InvalidStatus):
                async with other.websocket():
                    pass
            async with trio.open_nursery() as nursery:
                viewer = Visitor(other, nursery, await take(other, link))
                assert other.cookie
                viewer.begin(InitialPayload(features=FEATURES))
                owner.type(b"hello\r")
                await viewer.until_shown(b"hello")
                nursery.cancel_scope.cancel()
            assert (await other.post("api/session", {"arguments": []})).status == 401
            assert (await other.get("api/config")).json["login"] == "needed"
            forged = Browser(host.browser.port, cookie=other.cookie.replace("pass-", ""))
            with pytest.raises(InvalidStatus):
                async with forged.websocket():
                    pass
            assert (await forged.post("api/session", {"arguments": []})).status == 401


async def test_other_sites_pages_take_no_links() -> None:
    async with web_host("-w", *SHELL) as host, session(host) as (_, name):
        link = await ask(ShareRequest(name))
        ticket = {"ticket": link["ticket"]}
        evil = {"Origin": "http://evil.example"}
        assert (await host.browser.post("api/share", ticket, evil)).status == 403
        assert (await host.browser.post("api/share", ticket, {"Origin": ""})).status == 403
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await host.browser.post("api/share", ticket, form)).status == 415
        await take(host.browser, link)


@pytest.mark.parametrize("ticket", ["", "0" * 16, "0" * 15 + "\n", "\0" * 16, "ü" * 16, "0" * 9999])
async def test_tickets_that_are_none(ticket: str) -> None:
    async with web_host("-w", *SHELL) as host:
        assert (await host.browser.post("api/share", {"ticket": ticket})).status in (404, 503)
        for value in (None, 7, [ticket]):
            assert (await host.browser.post("api/share", {"ticket": value})).status == 400


async def test_who_tries_many_is_made_to_wait() -> None:
    async with web_host("-w", *SHELL) as host:
        wrong = {"ticket": "0" * 16}
        statuses = [
            (await host.browser.post("api/share", wrong)).status
            for _ in range(SESSIONS_AT_ONCE + 5)
        ]
        assert statuses[0] == 404
        assert 429 in statuses


async def test_with_shares_alone_nothing_is_run() -> None:
    async with web_host("--shares") as host:
        reply = await host.browser.post("api/session", {"arguments": []})
        assert (reply.status, "shared sessions only" in reply.json["error"]) == (404, True)
        for subprotocol in ("webtty", "tty"):
            with pytest.raises(InvalidStatus):
                async with host.browser.websocket(subprotocol):
                    pass
        assert (await host.browser.get("api/config")).status == 200
