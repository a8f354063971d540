"""`trioet web --e2e`: one session, whose key is in the link and nowhere else."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import trio

from farside import FarSide
from trioet.cli.web_options import read_options
from trioet.errors import StepFailed, UsageError
from web_hosts import WebHost, sh, web_host
from web_visitor import Visitor

pytestmark = pytest.mark.usefixtures("runtime_dir")

CAT = sh("stty -echo; echo ready; exec cat")


def secret(host: WebHost) -> tuple[bytes, bytes]:
    """The id and the key that the link has."""
    name, _, words = urlsplit(host.url).fragment.partition("=")
    assert name == "session"
    client_id, _, passkey = words.encode().partition(b"/")
    return client_id, passkey


async def test_the_link_that_is_printed_leads_to_the_session() -> None:
    async with web_host("-w", "--e2e", *CAT) as host, trio.open_nursery() as nursery:
        visitor = Visitor(host.browser, nursery, secret(host))
        visitor.begin()
        await visitor.until_shown(b"ready")
        visitor.type(b"hello\r")
        await visitor.until_shown(b"hello")
        nursery.cancel_scope.cancel()


async def test_it_ends_with_the_session() -> None:
    async with web_host("--e2e", *sh("echo bye; exit 3")) as host, trio.open_nursery() as nursery:
        visitor = Visitor(host.browser, nursery, secret(host))
        visitor.begin()
        assert (await visitor.until_over()).status == 3
        with trio.fail_after(20):
            await host.ended.wait()
        assert b"bye" in visitor.shown
        nursery.cancel_scope.cancel()


async def test_on_another_host_the_key_goes_there_by_ssh(far_side: FarSide) -> None:
    config = str(far_side.sshd.ssh_config_path)
    options = ["-w", "--e2e", "--connect", far_side.sshd.host_alias, "-F", config]
    async with web_host(*options, *CAT) as host, trio.open_nursery() as nursery:
        visitor = Visitor(host.browser, nursery, secret(host))
        visitor.begin()
        await visitor.until_shown(b"ready")
        nursery.cancel_scope.cancel()


async def test_nobody_gets_a_session_or_a_key_by_asking() -> None:
    async with web_host("-w", "--e2e", *CAT) as host:
        client_id, passkey = secret(host)
        replies = [
            await host.browser.post("api/session", {"arguments": []}),
            *[await host.browser.get(place) for place in ("", "api/config", "page.js")],
        ]
        assert replies[0].status == 503
        assert "there is one session here" in replies[0].json["error"]
        for reply in replies:
            assert passkey not in reply.body
            assert client_id not in reply.body
        for subprotocol in ("webtty", "tty"):
            with pytest.raises(Exception, match="HTTP 4"):
                async with host.browser.websocket(subprotocol):
                    pass


async def test_who_has_another_key_sees_nothing() -> None:
    async with web_host("-w", "--e2e", *CAT) as host, trio.open_nursery() as nursery:
        stranger = Visitor(host.browser, nursery, (secret(host)[0], b"x" * 32))
        stranger.begin()
        visitor = Visitor(host.browser, nursery, secret(host))
        visitor.begin()
        await visitor.until_shown(b"ready")
        assert stranger.shown == b""
        nursery.cancel_scope.cancel()


async def test_without_a_session_nothing_is_served(far_side: FarSide) -> None:
    (far_side.sshd.directory / "authorized_keys").write_text("")
    config = str(far_side.sshd.ssh_config_path)
    with pytest.raises(ExceptionGroup) as failed:
        async with web_host("--e2e", "--connect", far_side.sshd.host_alias, "-F", config):
            pass
    assert failed.group_contains(StepFailed, match="could not reach a shell")


@pytest.mark.parametrize("option", ["--token", "--permit-arguments", "--reconnect", "--print-unit"])
def test_what_one_session_cannot_have_is_refused(option: str) -> None:
    with pytest.raises(UsageError, match=f"{option} and --e2e"):
        read_options(["--e2e", option, "--", "sh"])


def test_who_has_the_key_may_type_from_anywhere() -> None:
    assert read_options(["--e2e", "-w", "-a", "0.0.0.0", "--", "sh"]).e2e
