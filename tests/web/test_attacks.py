"""What somebody tries who should not: each test is the attack."""

from __future__ import annotations

import hmac
import logging
import os
import re
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from subprocess import PIPE

import argon2
import pytest
import trio
from websockets.exceptions import InvalidStatus

from callers import Caller, ask, invitation
from certificates_in_files import Authority
from ports import free_ports
from trioet.cli.web_options import read_options
from trioet.errors import UsageError
from trioet.web import front, login, static_files
from trioet.web.limits import SESSIONS_AT_ONCE, Full, Rate, Seats
from trioet.web.login import FREE_FAILURES, LASTS_S, LockedOut, Login
from trioet.web.site import POLICY
from trioet.wire.handshake import connect_request_frame
from trioet.wire.messages import ConnectRequest
from trioet.wire.web_http import parse_head
from waiting import until
from web_hosts import WebHost, sh, web_host
from web_visitor import Browser

pytestmark = pytest.mark.usefixtures("runtime_dir")

CAT = sh("exec cat")
WRONG = {"user": "user", "password": "wrong"}
RIGHT = {"user": "user", "password": "secret"}


async def upgrade_status(host: WebHost, **how: object) -> int:
    """What a WebSocket is refused with; 101 if it is not."""
    try:
        async with host.browser.websocket(**how):  # type: ignore[arg-type]
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


# Other sites' pages


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://evil.example",
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:{port}.evil.example",
        "http://user@127.0.0.1:{port}",
        "http://127.0.0.1:{port}/",
        "file://",
        "garbage",
    ],
)
async def test_a_page_of_another_site_gets_nothing(origin: str) -> None:
    async with web_host("-w", *CAT) as host:
        origin = origin.format(port=host.browser.port)
        for place in ("api/session", "api/login", "api/logout"):
            reply = await host.browser.post(place, {}, {"Origin": origin})
            assert reply.status == 403
        assert await upgrade_status(host, origin=origin) == 403


async def test_a_page_without_an_origin_gets_nothing_either() -> None:
    async with web_host("-w", *CAT) as host:
        assert (await host.browser.post("api/session", {}, {"Origin": ""})).status == 403
        assert await upgrade_status(host, origin=None) == 403


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
async def test_a_form_cannot_ask(media_type: str) -> None:
    async with web_host("-w", *CAT) as host:
        reply = await host.browser.post("api/session", {}, {"Content-Type": media_type})
        assert reply.status == 415


async def test_get_changes_nothing() -> None:
    async with web_host("-w", *CAT) as host:
        for place in ("api/session", "api/login"):
            assert (await host.browser.get(place)).status == 404


async def test_the_origins_that_the_operator_names_may_connect() -> None:
    async with web_host("-w", "--ws-origin", r"https://(a|b)\.example", *CAT) as host:
        assert await upgrade_status(host, origin="https://a.example") == 101
        for origin in ("https://a.example.evil.example", "http://a.example", "https://xa.example"):
            assert await upgrade_status(host, origin=origin) == 403


# DNS rebinding


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "a b"])
async def test_a_name_that_was_made_to_lead_here_is_refused(name: str) -> None:
    async with web_host("-w", *CAT) as host:
        evil = Browser(host.browser.port, host=f"{name}:{host.browser.port}")
        for place in ("", "api/config", "healthz"):
            assert (await evil.get(place)).status in (400, 421)
        assert (await evil.post("api/session", {})).status in (400, 421)
        if name == "evil.example":
            host.browser.host = evil.host
            assert await upgrade_status(host) == 421


@pytest.mark.parametrize("name", ["localhost", "a.localhost", "127.0.0.1", "[::1]", "192.0.2.1"])
async def test_names_that_nobody_can_make_lead_here_are_fine(name: str) -> None:
    async with web_host(*CAT) as host:
        reply = await Browser(host.browser.port, host=name).get("healthz")
        assert (reply.status, reply.body) == (200, b"ok\n")


async def test_so_are_the_machines_and_the_operators() -> None:
    async with web_host("--hostname", "Term.Example", *CAT) as host:
        for name in ("term.example:443", "TERM.EXAMPLE", socket.gethostname()):
            reply = await Browser(host.browser.port, host=name).get("healthz")
            assert reply.status == 200


# What a browser is told about answers


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page that was built, with a secret beside it."""
    directory = tmp_path / "static"
    directory.mkdir()
    (directory / "index.html").write_text("<!DOCTYPE html><title>page</title>")
    (directory / "page.js").write_text("// " + "x" * 2000)
    (directory / "page.js.map").write_text("{}")
    (tmp_path / "secret.txt").write_text("secret")
    read = static_files.read_static_files
    monkeypatch.setattr("trioet.web.service.read_static_files", lambda: read(directory))
    return directory


async def test_no_inline_script_runs(page: Path) -> None:
    async with web_host(*CAT) as host:
        reply = await host.browser.get()
        assert reply.status == 200
        said = reply.fields["content-security-policy"].split("; ")
        policy = dict(part.split(maxsplit=1) for part in said)
        assert policy["script-src"] == "'self'"
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in POLICY


async def test_every_answer_is_guarded(page: Path) -> None:
    async with web_host(*CAT) as host:
        for place in ("", "page.js", "api/config", "no/such", "healthz"):
            fields = (await host.browser.get(place)).fields
            assert fields["x-content-type-options"] == "nosniff"
            assert fields["referrer-policy"] == "no-referrer"
            assert fields["x-frame-options"] == "DENY"
            assert fields["cross-origin-opener-policy"] == "same-origin"
            assert "access-control-allow-origin" not in fields
        assert (await host.browser.post("api/session", {})).fields["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "/../secret.txt", "page.js.map",
     "page.js/../../secret.txt", "/etc/passwd", "page.js%00", "\\..\\secret.txt", "index.html/"],
)  # fmt: skip
async def test_no_file_but_the_page_s_is_served(page: Path, path: str) -> None:
    async with web_host(*CAT) as host:
        reply = await host.browser.get(path)
        assert reply.status in (400, 404)
        assert b"secret" not in reply.body


async def test_the_page_is_sent_gzipped_and_only_when_it_changed(page: Path) -> None:
    async with web_host(*CAT) as host:
        packed = await host.browser.get("page.js", **{"Accept-Encoding": "br, gzip"})
        assert packed.fields["content-encoding"] == "gzip"
        assert len(packed.body) < 100
        plain = await host.browser.get("page.js")
        assert len(plain.body) == 2003
        again = await host.browser.get("page.js", **{"If-None-Match": plain.fields["etag"]})
        assert (again.status, again.body) == (304, b"")
        head = await host.browser.ask("HEAD", "page.js")
        assert (head.status, head.body) == (200, b"")


async def test_without_the_page_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("trioet.web.service.read_static_files", dict)
    async with web_host(*CAT) as host:
        reply = await host.browser.get()
        assert reply.status == 503
        assert b"npm" in reply.body


# Passwords and tokens


async def test_without_a_login_there_is_nothing_to_be_had() -> None:
    async with web_host("-w", "-c", "user:secret", *CAT) as host:
        assert (await host.browser.post("api/session", {})).status == 401
        assert await upgrade_status(host) == 401
        config = (await host.browser.get("api/config")).json
        assert config["login"] == "needed"
        assert config["ways"] == ["password"]
        assert "title" not in config


async def test_a_password_lets_in_by_a_cookie_that_no_script_and_no_other_site_has() -> None:
    async with web_host("-w", "-c", "user:secret", *CAT) as host:
        assert (await host.browser.post("api/login", WRONG)).status == 403
        assert host.browser.cookie == ""
        reply = await host.browser.post("api/login", RIGHT)
        assert reply.status == 200
        attributes = reply.fields["set-cookie"].split("; ")[1:]
        assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={LASTS_S}"} == set(attributes)
        assert (await host.browser.post("api/session", {})).status == 200
        assert await upgrade_status(host) == 101
        assert (await host.browser.get("api/config")).json["login"] == "done"
        logout = await host.browser.post("api/logout", {})
        assert "Max-Age=0" in logout.fields["set-cookie"]
        assert (await host.browser.post("api/session", {})).status == 401


async def test_a_login_outlives_a_restart_but_not_another_password() -> None:
    async with web_host("-c", "user:secret", *CAT) as host:
        await host.browser.post("api/login", RIGHT)
        port, cookie = host.browser.port, host.browser.cookie
    for password, status in (("secret", 200), ("other", 401)):
        async with web_host("-c", f"user:{password}", *CAT, port=port) as host:
            host.browser.cookie = cookie
            assert (await host.browser.post("api/session", {})).status == status


async def test_a_token_is_in_the_fragment_and_nowhere_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with web_host("-w", "--token", *CAT) as host:
        options = host.options
        config = (await host.browser.get("api/config")).json
        assert config["ways"] == ["token"]
        assert (await host.browser.post("api/login", {"token": "x" * 32})).status == 403
        # Somebody puts one into the address all the same:
        await host.browser.get(f"?token={options.token}")
        await host.browser.get(f"{options.token}/{options.token}")
    assert len(options.token) >= 32
    assert options.token not in caplog.text
    assert options.token not in repr(options)


async def test_the_link_with_the_token_lets_in() -> None:
    code = [sys.executable, "-m", "trioet.cli.main", "web", "-w", "--token", "-p", "0", *CAT]
    start = partial(trio.run_process, code, stdout=PIPE, stderr=PIPE, check=False)
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(start)
        assert process.stdout is not None
        assert process.stderr is not None
        said = b""
        with trio.fail_after(60):
            while not said.endswith(b"\n") and (more := await process.stdout.receive_some()):
                said += more
            process.send_signal(signal.SIGINT)
            errors = b"".join([bytes(part) async for part in process.stderr])
    found = re.search(rb"http://127\.0\.0\.1:\d+/#token=(\S{32,})\n", said)
    assert found, (said, errors)
    assert found[1] not in errors


async def test_a_guess_costs_time_and_a_right_one_amid_them_too() -> None:
    async with web_host("-c", "user:secret", *CAT) as host:
        for _ in range(FREE_FAILURES):
            assert (await host.browser.post("api/login", WRONG)).status == 403
        reply = await host.browser.post("api/login", RIGHT)
        assert reply.status == 429
        assert 1 <= int(reply.fields["retry-after"]) <= 300
        basic = {"Authorization": "Basic dXNlcjp3cm9uZw=="}
        assert (await host.browser.get("api/config", **basic)).status == 429


async def test_guesses_wait_longer_each_time(autojump_clock: trio.testing.MockClock) -> None:
    lockout = login.Lockout()
    waits = []
    for _ in range(FREE_FAILURES + 12):
        try:
            lockout.begin("192.0.2.1")
        except LockedOut as locked:
            waits.append(locked.seconds)
            await trio.sleep(locked.seconds)
            lockout.begin("192.0.2.1")
    assert waits == sorted(waits)
    assert waits[:3] == [1, 2, 4]
    assert waits[-1] == 300
    lockout.begin("192.0.2.2")
    await trio.sleep(3601)
    lockout.begin("192.0.2.1")
    lockout.succeeded("192.0.2.1")


async def test_who_has_a_password_guesses_others_no_faster(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked = Login({"ann": "one", "eve": "two"}, "", bytes(32))
    for _ in range(FREE_FAILURES - 1):
        assert not await asked.password_is_right("192.0.2.1", "ann", "guess")
        assert await asked.password_is_right("192.0.2.1", "eve", "two")
    assert not await asked.password_is_right("192.0.2.1", "ann", "guess")
    with pytest.raises(LockedOut):
        await asked.password_is_right("192.0.2.1", "ann", "guess")
    for _ in range(2 * FREE_FAILURES):  # but who mistypes his own is forgiven
        assert not await asked.password_is_right("192.0.2.2", "ann", "onw")
        assert await asked.password_is_right("192.0.2.2", "ann", "one")


# Behind a proxy


@pytest.fixture(params=["address", "unix"])
async def by_proxy(request: pytest.FixtureRequest, runtime_dir: Path) -> AsyncIterator[Browser]:
    """Somebody who comes by the operator's proxy."""
    unix = str(runtime_dir / "web.sock") if request.param == "unix" else ""
    where = ["--trusted-proxy", "unix", "--unix-socket", unix]
    where = where if unix else ["--trusted-proxy", "127.0.0.2"]
    async with web_host("-c", "user:secret", *where, *CAT) as host:
        yield replace(host.browser, local="127.0.0.2", unix=unix, host="term.localhost")


def by_way_of(*addresses: str, scheme: str = "") -> dict[str, str]:
    return {"X-Forwarded-For": ", ".join(addresses), "X-Forwarded-Proto": scheme}


async def test_behind_a_proxy_who_guesses_locks_out_himself_alone(by_proxy: Browser) -> None:
    for number in range(FREE_FAILURES):
        made_up = by_way_of(f"203.0.113.{number}", "198.51.100.1")
        assert (await by_proxy.post("api/login", WRONG, made_up)).status == 403
    for said in (by_way_of("198.51.100.1"), by_way_of("203.0.113.99", "198.51.100.1")):
        assert (await by_proxy.post("api/login", RIGHT, said)).status == 429
    assert (await by_proxy.post("api/login", RIGHT, by_way_of("198.51.100.2"))).status == 200


async def test_who_is_no_proxy_is_not_believed_whom_he_speaks_for() -> None:
    async with web_host("-c", "user:secret", "--trusted-proxy", "127.0.0.2", *CAT) as host:
        for number in range(FREE_FAILURES):
            said = by_way_of(f"198.51.100.{number}")
            assert (await host.browser.post("api/login", WRONG, said)).status == 403
        said = by_way_of("198.51.100.99", scheme="https")
        assert (await host.browser.post("api/login", RIGHT, said)).status == 429
    async with web_host("-c", "user:secret", *CAT) as host:
        reply = await host.browser.post("api/login", RIGHT, said)
        assert reply.status == 200, "what he says of the scheme is not heeded either"
        assert "Secure" not in reply.fields["set-cookie"]


async def test_a_proxy_that_speaks_tls_is_believed_that(by_proxy: Browser) -> None:
    https = by_way_of("198.51.100.1", scheme="https")
    plain = await by_proxy.post("api/login", RIGHT, https)
    assert plain.status == 403, "a page that came without TLS is another's"
    ours = {**https, "Origin": f"https://{by_proxy.authority}"}
    reply = await by_proxy.post("api/login", RIGHT, ours)
    assert reply.status == 200
    assert "; Secure" in reply.fields["set-cookie"]


async def test_one_behind_a_proxy_does_not_take_all_its_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(front, "MAX_CONNECTIONS_PER_SOURCE", 2)
    async with web_host("--trusted-proxy", "127.0.0.1", *CAT) as host, AsyncExitStack() as stack:
        greedy, other = by_way_of("198.51.100.1"), by_way_of("198.51.100.2")
        for _ in range(2):
            await stack.enter_async_context(host.browser.websocket(headers=greedy))
        assert await upgrade_status(host, headers=greedy) == 429
        assert (await host.browser.get("healthz", **greedy)).status == 429
        assert await upgrade_status(host, headers=other) == 101
        await stack.aclose()
        assert await upgrade_status(host, headers=greedy) == 101


async def test_many_addresses_do_not_fill_the_memory() -> None:
    lockout = login.Lockout()
    for number in range(login.MAX_SOURCES + 10):
        lockout.begin(str(number))
    assert len(vars(lockout)["_failures"]) == login.MAX_SOURCES


def test_a_cookie_cannot_be_made_or_kept_for_ever() -> None:
    now = [1000.0]
    ours = Login({"user": "secret"}, "", b"k" * 32, clock=lambda: now[0])
    cookie = ours.new_cookie()
    assert ours.cookie_is_right(cookie)
    until_text, _, seal = cookie.partition(".")
    later = f"{int(until_text) + 1}.{seal}"
    for forged in (later, "", ".", seal, f"{until_text}.", cookie + "0", "²." + seal, "9" * 99):
        assert not ours.cookie_is_right(forged)
    other = Login({"user": "secret"}, "", b"K" * 32, clock=lambda: now[0])
    assert not other.cookie_is_right(cookie)
    now[0] += LASTS_S
    assert not ours.cookie_is_right(cookie)


async def test_hashed_passwords_and_unknown_users(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("secret")
    ours = Login({"user": stored}, "", b"k" * 32)
    hashed: list[str] = []
    matches = login._hash_matches

    def counted(stored: str, password: str) -> bool:
        hashed.append(password)
        return matches(stored, password)

    monkeypatch.setattr(login, "_hash_matches", counted)
    assert await ours.password_is_right("a", "user", "secret")
    assert not await ours.password_is_right("a", "user", "wrong")
    assert not await ours.password_is_right("a", "nobody", "secret")
    assert not await ours.password_is_right("a", "user", stored)
    assert hashed == ["secret", "wrong", "secret", stored]
    head = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dXNlcjpzZWNyZXQ="
    for _ in range(2):  # the second time nothing is hashed
        assert await ours.knows(parse_head(head), "a", "c")
    assert len(hashed) == 5
    broken = Login({"user": "$argon2id$nonsense"}, "", b"k" * 32)
    assert not await broken.password_is_right("a", "user", "$argon2id$nonsense")


async def test_secrets_are_compared_in_a_time_that_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is said is compared by digests of one length, whole."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(login, "compare_digest", compare)
    asked = Login({"ann": "one"}, "token", bytes(32))
    assert await asked.password_is_right("a", "ann", "one")
    assert not await asked.password_is_right("b", "ann", "oneone")
    assert not await asked.password_is_right("b", "bob", "one")
    assert asked.token_is_right("a", "token")
    assert not asked.token_is_right("b", "")
    assert asked.cookie_is_right(asked.new_cookie())
    assert not asked.cookie_is_right(asked.new_cookie()[:-1])
    assert len(compared) == 7
    assert {len(digest) for pair in compared for digest in pair} == {32}


async def test_endless_passwords_are_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "x" * (login.MAX_SECRET + 1)
    asked = Login({"ann": argon2.PasswordHasher().hash(long)}, "", bytes(32))
    hashed: list[str] = []
    monkeypatch.setattr(login, "_hash_matches", lambda _, said: hashed.append(said))
    assert not await asked.password_is_right("a", "ann", long)
    assert not await asked.password_is_right("a", long, "x")
    assert hashed == []


async def test_a_token_outlives_a_restart_and_opens_nothing_else() -> None:
    async with web_host("--token", *CAT) as host:
        port, token = host.browser.port, host.options.token
        await host.browser.post("api/login", {"token": token})
        cookie = host.browser.cookie
    async with web_host("--token", *CAT, port=port) as host:
        host.browser.cookie = cookie
        assert (await host.browser.post("api/session", {})).status == 200
    for other in (["-w", "--token", *CAT], ["--token", "--", "/bin/sh"]):
        async with web_host(*other, port=port) as host:
            host.browser.cookie = cookie
            assert (await host.browser.post("api/session", {})).status == 401
            assert (await host.browser.post("api/login", {"token": token})).status == 403


@pytest.mark.parametrize("said", ["Basic ???", "Basic /w==", "Bearer x", "Basic", ""])
async def test_nonsense_in_authorization_is_no_password(said: str) -> None:
    ours = Login({"user": "secret"}, "", b"k" * 32)
    head = f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {said}".encode()
    assert not await ours.knows(parse_head(head), "a", "c")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_nobody_types_from_afar_without_saying_who_he_is(address: str) -> None:
    with pytest.raises(UsageError, match="lets everybody type"):
        read_options(["-w", "-a", address, *CAT])
    for who in (["-c", "user:secret"], ["--token"], ["-t", "--tls-ca-crt", "/ca"]):
        assert read_options(["-w", "-a", address, *who, *CAT]).permit_write
    assert not read_options(["-a", address, *CAT]).permit_write


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_this_machine_he_may(address: str) -> None:
    assert read_options(["-w", "-a", address, *CAT]).permit_write


def test_nothing_is_open_unless_said() -> None:
    options = read_options(CAT)
    assert options.address == "127.0.0.1"
    assert [options.permit_write, options.permit_arguments] == [False, False]


# TLS


async def test_tls_says_so_and_cookies_stay_on_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    files = ["-t", "--tls-crt", str(certificate), "--tls-key", str(key)]
    async with web_host(*files, "-c", "user:secret", *CAT) as host:
        host.browser.tls, host.browser.host = authority.client(), f"localhost:{host.browser.port}"
        reply = await host.browser.post("api/login", RIGHT)
        assert reply.status == 200
        assert "Secure" in reply.fields["set-cookie"].split("; ")
        assert "max-age" in reply.fields["strict-transport-security"]
        assert await upgrade_status(host) == 101
        plain = Browser(host.browser.port)
        with trio.fail_after(20), pytest.raises((AssertionError, OSError)):
            await plain.get()


async def test_certificates_are_read_again_and_broken_ones_not_taken(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    files = ["-t", "--tls-crt", str(certificate), "--tls-key", str(key)]

    async def serial(port: int) -> bytes:
        async with await trio.open_tcp_stream("127.0.0.1", port) as tcp:
            stream = trio.SSLStream(tcp, authority.client(), server_hostname="localhost")
            await stream.do_handshake()
            seen = stream.getpeercert(binary_form=True)
            assert isinstance(seen, bytes)
            return seen

    async with web_host(*files, *CAT) as host:
        port = host.browser.port
        before = await serial(port)
        certificate.write_text("nonsense")
        os.kill(os.getpid(), signal.SIGHUP)
        await trio.sleep(0.1)
        assert await serial(port) == before
        authority.issue("server")
        os.kill(os.getpid(), signal.SIGHUP)
        with trio.fail_after(10):
            while await serial(port) == before:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.01)


async def test_client_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other")
    certificate, key = authority.issue("server")
    files = ["--tls-crt", str(certificate), "--tls-key", str(key)]
    needs = ["--tls-ca-crt", str(authority.file)]
    async with web_host("-t", *files, *needs, *CAT) as host:
        browser = host.browser
        browser.host = f"localhost:{browser.port}"
        browser.tls = authority.client(authority.issue("client"))
        assert (await browser.get("healthz")).status == 200
        for shown in (None, stranger.issue("client")):
            browser.tls = authority.client(shown)
            with pytest.raises((AssertionError, trio.BrokenResourceError, ssl.SSLError)):
                await browser.get("healthz")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["-t", "--tls-crt", "/no/such"], "no certificate and key in /no/such"),
        (["-t", "--tls-crt", "CRT", "--tls-key", "KEY", "--tls-ca-crt", "/no"], "no certificates"),
    ],
)
async def test_files_that_are_not_there(tmp_path: Path, arguments: list[str], what: str) -> None:
    certificate, key = Authority(tmp_path).issue("server")
    names = {"CRT": str(certificate), "KEY": str(key)}
    arguments = [names.get(word, word) for word in arguments]
    process = await trio.run_process(
        [sys.executable, "-m", "trioet.cli.main", "web", "-p", "0", *arguments, *CAT],
        capture_stderr=True,
        check=False,
    )
    assert process.returncode == 255
    assert what in process.stderr.decode()


# Too much


async def test_an_endless_request_is_cut_short() -> None:
    async with web_host(*CAT) as host:
        endless = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000
        assert b" 431 " in (await host.browser.raw(endless))[:20]
        many = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n"
        assert b" 431 " in (await host.browser.raw(many))[:20]
        large = await host.browser.ask("POST", "api/login", b"", {"Content-Length": "1000000"})
        assert large.status == 413
        deep = await host.browser.ask("POST", "api/login", b"[" * 60_000)
        assert deep.status == 400


@pytest.mark.parametrize("dribbled", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: 9\r\n\r\nabc"])  # fmt: skip
async def test_a_slow_one_does_not_stay(dribbled: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "REQUEST_DEADLINE_S", 0.2)
    async with web_host(*CAT) as host:
        assert await host.browser.raw(dribbled) == b""


async def test_requests_follow_each_other_on_one_connection() -> None:
    async with web_host(*CAT) as host:
        one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
        answer = await host.browser.raw(one + b"\r\n" + one + b"Connection: close\r\n\r\n")
        assert answer.count(b"200 OK") == answer.count(b"\r\n\r\nok\n") == 2
        assert (await host.browser.raw(one.replace(b"1.1", b"1.0") + b"\r\n")).count(b"200") == 1


async def test_sessions_are_not_opened_faster_than_they_may_be() -> None:
    async with web_host("--", "/bin/true") as host:
        statuses = [
            (await host.browser.post("api/session", {})).status for _ in range(SESSIONS_AT_ONCE + 5)
        ]
        assert statuses.count(200) >= SESSIONS_AT_ONCE
        assert 503 in statuses


async def test_the_rate_of_each_address(autojump_clock: trio.testing.MockClock) -> None:
    rate = Rate(2, 1.0)
    for _ in range(2):
        rate.spend("192.0.2.1")
    with pytest.raises(Full):
        rate.spend("192.0.2.1")
    rate.spend("192.0.2.2")
    await trio.sleep(1.1)
    rate.spend("192.0.2.1")


def test_one_address_does_not_take_all_seats() -> None:
    seats = Seats(4, 2)
    seats.take("192.0.2.1")
    seats.take("192.0.2.1")
    with pytest.raises(Full):
        seats.take("192.0.2.1")
    for _ in range(2):
        seats.take("127.0.0.1")
    with pytest.raises(Full):
        seats.take("192.0.2.2")
    seats.leave("192.0.2.1")
    with seats.taken("192.0.2.2"):
        assert len(seats) == 4
    assert len(seats) == 3


async def test_a_stranger_reaches_no_session_but_a_guests(runtime_dir: Path) -> None:
    """The id and key of an ordinary session of the user's are of no use at the web's door."""
    port = free_ports(1)[0]
    async with web_host("-w", *CAT) as host, trio.open_nursery() as nursery:
        await host.browser.session()
        caller = Caller(nursery)
        request = caller.request(ports=(port, port))
        invitation(await ask(str(runtime_dir / "keeper.sock"), request))
        async with host.browser.websocket() as connection:
            client_id = caller.credentials.client_id.encode()
            await connection.send(connect_request_frame(ConnectRequest(client_id)))
            answer = await connection.recv()
            assert b"not registered" in bytes(answer)  # type: ignore[arg-type]
        nursery.cancel_scope.cancel()


async def test_a_unix_socket_is_its_owners(tmp_path: Path, runtime_dir: Path) -> None:
    path = runtime_dir / "web.sock"
    async with web_host("-w", "--unix-socket", str(path), *CAT):
        assert path.stat().st_mode & 0o777 == 0o600
        async with await trio.open_unix_socket(str(path)) as stream:
            await stream.send_all(b"GET /healthz HTTP/1.0\r\nHost: anything\r\n\r\n")
            assert b"200 OK" in await stream.receive_some()
    assert not path.exists()


async def test_the_key_of_cookies_is_private(runtime_dir: Path) -> None:
    async with web_host(*CAT):
        assert (runtime_dir / "web.key").stat().st_mode & 0o777 == 0o600
        assert (runtime_dir / "web.key").stat().st_size == 32


async def test_keys_of_sessions_are_in_no_log(
    runtime_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with web_host(*CAT) as host:
        _, passkey = await host.browser.session()
        assert passkey.decode() not in caplog.text
        assert passkey not in (runtime_dir / "keeper.log").read_bytes()
        assert not any(passkey in words for words in command_lines())
        await until(lambda: "a session for a visitor" in caplog.text)


def command_lines() -> list[bytes]:
    """Of all processes of this machine."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(process.read_bytes())
    return found
