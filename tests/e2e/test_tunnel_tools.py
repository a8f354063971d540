"""What people use tunnels for: real programs, through a real session."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trio

from farside import FarSide
from ports import free_ports
from tunnelled import connect_when_open, datagram_server, session

pytestmark = pytest.mark.e2e

ADDRESS = "192.0.2.53"
BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome")


def program(*names: str) -> str:
    """The path of the first that is installed."""
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"needs {' or '.join(names)}")


async def output(*command: str | Path, env: Mapping[str, str] | None = None) -> str:
    """Run a program to its end; return what it printed."""
    with trio.fail_after(60):
        run = partial(trio.run_process, capture_stdout=True, capture_stderr=True, check=False)
        done = await run(command, env={**os.environ, **(env or {})})
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return bytes(done.stdout).decode()


class Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A web server of files, its directory and its port."""
    directory = tmp_path / "site"
    directory.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=directory)) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield directory, server.server_address[1]
        server.shutdown()
        serving.join()


# curl


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_curl_downloads_through_a_forward(
    far_side: FarSide, site: tuple[Path, int], free_port: int, option: str
) -> None:
    curl = program("curl")
    directory, port = site
    data = os.urandom(3_000_000)
    (directory / "file").write_bytes(data)
    got = directory.with_name("got")
    async with session(far_side, option, f"{free_port}:localhost:{port}"):
        await (await connect_when_open(free_port)).aclose()
        await output(curl, "-sSf", "-o", got, f"http://localhost:{free_port}/file")
    assert got.read_bytes() == data


@pytest.mark.parametrize("proxy", ["socks4a", "socks5", "socks5h"])
async def test_curl_goes_through_socks(
    far_side: FarSide, site: tuple[Path, int], free_port: int, proxy: str
) -> None:
    curl = program("curl")
    directory, port = site
    (directory / "file").write_text("hello")
    async with session(far_side, "-D", str(free_port)):
        await (await connect_when_open(free_port)).aclose()
        through = ["-x", f"{proxy}://127.0.0.1:{free_port}", "--noproxy", ""]
        many = [f"http://localhost:{port}/file?[1-20]", "--parallel"]
        assert await output(curl, "-sSf", *through, *many) == "hello" * 20


async def test_curl_says_that_the_destination_refuses(
    far_side: FarSide,
) -> None:
    curl = program("curl")
    proxy, nobody = free_ports(2)
    async with session(far_side, "-D", str(proxy)):
        await (await connect_when_open(proxy)).aclose()
        through = ["-x", f"socks5h://127.0.0.1:{proxy}", "--noproxy", ""]
        url = f"http://localhost:{nobody}/"
        failed = await trio.run_process(
            [curl, "-sS", *through, url], capture_stderr=True, check=False
        )
        assert b"(5)" in failed.stderr  # RFC 1928: connection refused


# ssh, git


async def test_ssh_runs_in_a_tunnel(far_side: FarSide, free_port: int) -> None:
    ssh = program("ssh")
    sshd = far_side.sshd
    async with session(far_side, "-t", f"{free_port}:{sshd.port}"):
        await (await connect_when_open(free_port)).aclose()
        there = ["-F", str(sshd.ssh_config_path), "-p", str(free_port)]
        alias = ["-o", f"HostKeyAlias=[127.0.0.1]:{sshd.port}", sshd.host_alias]
        command = "head -c 2000000 /dev/zero | tee /dev/stderr | sha256sum"
        said = await output(ssh, *there, *alias, command)
    assert said.split()[0] == hashlib.sha256(bytes(2_000_000)).hexdigest()


async def test_git_clones_over_http_through_socks(
    far_side: FarSide, site: tuple[Path, int], free_port: int, tmp_path: Path
) -> None:
    git = program("git")
    directory, port = site
    script = """set -e
        git init -q work; cd work
        head -c 200000 /dev/urandom >blob; git add blob
        git -c user.name=n -c user.email=e@example.org commit -qm first
        git clone -q --bare . ../repository.git; cd ../repository.git; git update-server-info"""
    alone = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    await trio.run_process(["sh", "-c", script], cwd=directory, env={**os.environ, **alone})
    clone = tmp_path / "clone"
    async with session(far_side, "-D", str(free_port)):
        await (await connect_when_open(free_port)).aclose()
        proxy = f"http.proxy=socks5h://127.0.0.1:{free_port}"
        url = f"http://localhost:{port}/repository.git"
        await output(git, "-c", proxy, "clone", "-q", url, clone, env={**alone, "no_proxy": ""})
    assert (clone / "blob").read_bytes() == (directory / "work" / "blob").read_bytes()


# Data bases


@pytest.fixture
def redis(runtime_dir: Path) -> Iterator[Path]:
    """The Unix socket of a data base."""
    path = runtime_dir / "redis"
    settings = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(runtime_dir)]
    with subprocess.Popen([program("redis-server"), *settings], stdout=subprocess.DEVNULL) as run:
        while not path.exists():
            assert run.poll() is None
        yield path
        run.terminate()


async def test_redis_at_a_unix_socket_through_a_port(
    far_side: FarSide, redis: Path, free_port: int
) -> None:
    client = program("redis-cli")
    async with session(far_side, "-L", f"{free_port}:{redis}"):
        await (await connect_when_open(free_port)).aclose()
        ask = partial(output, client, "-p", str(free_port))
        assert await ask("set", "word", "x" * 100_000) == "OK\n"
        assert await ask("get", "word") == "x" * 100_000 + "\n"
        answers = await ask("-r", "10000", "incr", "counter")
        assert answers.split() == [str(number) for number in range(1, 10_001)]


# DNS over UDP


def resolve(query: bytes) -> bytes:
    """Answer every question for an address with ADDRESS, as a name server does (RFC 1035)."""
    end = query.index(b"\0", 12) + 5
    head = query[:2] + struct.pack("!HHHHH", 0x8580, 1, 1, 0, 0)
    record = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + bytes(map(int, ADDRESS.split(".")))
    return head + query[12:end] + record


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_dig_asks_a_name_server_by_udp(
    far_side: FarSide, free_port: int, option: str
) -> None:
    dig = program("dig")
    async with datagram_server(resolve) as port:
        forward = f"{free_port}:127.0.0.1:{port}/udp"
        async with session(far_side, option, forward) as person:
            await person.run(b"true")  # by then it is bound
            ask = ["@127.0.0.1", "-p", str(free_port), "+short", "+tries=5", "+noedns"]
            for name in ("a.example", "b.example"):
                assert await output(dig, *ask, name) == f"{ADDRESS}\n"


# A browser


async def test_a_browser_shows_a_page_through_socks(
    far_side: FarSide, site: tuple[Path, int], free_port: int, tmp_path: Path
) -> None:
    browser = program(*BROWSERS)
    directory, port = site
    (directory / "page.html").write_text(
        "<p id=p>empty</p><script>fetch('word').then(a => a.text())"
        ".then(text => p.textContent = text + 42)</script>"
    )
    (directory / "word").write_text("fetched ")
    async with session(far_side, "-D", str(free_port)):
        await (await connect_when_open(free_port)).aclose()
        page = await output(
            browser,
            *("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"),
            f"--proxy-server=socks5://127.0.0.1:{free_port}",
            "--proxy-bypass-list=<-loopback>",
            *("--virtual-time-budget=5000", "--dump-dom"),
            f"http://localhost:{port}/page.html",
        )
    assert "fetched 42" in page
