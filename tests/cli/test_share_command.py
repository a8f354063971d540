"""`trioet share`: its options, the QR code, where it finds the page; and its screen, on a pty."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import segno
import trio

import trioet
from onlookers import Theatre, theatre
from trioet.cli import share
from trioet.cli.qr import qr_lines, qr_text
from trioet.errors import StepFailed, UsageError
from trioet.server.pages import pages, published_page
from trioet.server.share_request import TakeRequest
from waiting import until

SOURCE = str(Path(trioet.__file__).parents[1])
PAGE = "http://192.0.2.1:8080/x/"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("30d", 2592000)]
)
def test_times(text: str, seconds: int) -> None:
    assert share.parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "0s", "-1h", "1.5h", "31d", "1w", "9" * 9 + "s"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--expires"):
        share.parse_time(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (3599, "59m"), (7300, "2h"), (2592000, "30d")]
)
def test_times_as_they_are_told(seconds: int, text: str) -> None:
    assert share.format_time(seconds) == text


def test_the_code_is_the_one_that_was_meant() -> None:
    link = f"{PAGE}#share={'a' * 16}/{'b' * 32}"
    dark = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}
    rows: list[list[int]] = []
    for line in qr_lines(link):
        rows += [[dark[block][half] for block in line] for half in (0, 1)]
    wanted = [list(row) for row in segno.make(link, error="l", micro=False).matrix_iter(border=2)]
    assert [[int(bool(module)) for module in row] for row in wanted] == rows[: len(wanted)]


def test_a_code_that_does_not_fit_is_left_away() -> None:
    lines = qr_lines(PAGE, 1)
    columns, rows = len(lines[0]), len(lines)
    assert len(qr_text(PAGE, columns, rows)) == rows
    assert not qr_text(PAGE, columns - 1, rows)
    assert not qr_text(PAGE, columns, rows - 1)
    assert len(qr_text(PAGE, columns + 2, rows + 1)) == rows + 1


@pytest.mark.parametrize("rows", [24, 25, 27, 40])
def test_on_a_small_terminal_all_of_it_fits(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", str(rows))
    link = f"http://192.168.100.101:8080/#share={'a' * 16}/{'b' * 32}"
    lines = share.screen("heading", link, "a warning", with_code=True).split("\n")
    assert sum("█" in line for line in lines) >= 20
    assert sum(1 if "█" in line else max(1, -(-len(line) // 80)) for line in lines) <= rows
    assert ("a warning" in lines) == (rows > 25)
    assert "█" not in share.screen("heading", link, "", with_code=False)


def test_pages_are_known_while_they_are_served(runtime_dir: Path) -> None:
    assert pages() == []
    with published_page() as publish:
        assert pages() == [""][:0]
        publish(PAGE)
        assert pages() == [PAGE]
    assert pages() == []
    left = runtime_dir / "web-1.page"
    left.write_text(PAGE)
    assert pages() == []
    assert not left.exists()


def options(*argv: str) -> str:
    return share._page(share._parser().parse_args(argv))


def test_which_page(runtime_dir: Path) -> None:
    with pytest.raises(StepFailed, match="no `trioet web`"):
        options()
    with published_page() as publish:
        publish(PAGE)
        assert options() == PAGE
        assert options("--port", "8080") == PAGE
        with pytest.raises(StepFailed, match="port 9"):
            options("--port", "9")
    assert runtime_dir
    assert options("--url", "https://name.example") == "https://name.example/"
    assert options("--url", "https://name.example/a") == "https://name.example/a"
    for url in (
        "name.example",
        "ftp://name.example/",
        "https:///x",
        "https://name.example/#x",
        "http://[",
    ):
        with pytest.raises(UsageError, match="--url"):
            options("--url", url)


def test_warnings() -> None:
    assert "this machine" in share._warning("http://127.0.0.1:8080/")
    assert "this machine" in share._warning("https://localhost/")
    assert "TLS" in share._warning("http://name.example/")
    assert not share._warning("https://name.example/")


def test_outside_of_a_session_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIOET_SESSION", raising=False)
    with pytest.raises(StepFailed, match="no trioet session"):
        share.main([])


def test_the_numbers_of_revoke() -> None:
    assert share._share_number("all") is None
    assert share._share_number("12") == 12
    for text in ("", "0", "-1", "x", "1" * 20):
        with pytest.raises(UsageError, match="--revoke"):
            share._share_number(text)


# On a terminal


def shell(runtime_dir: Path) -> bytes:
    """A command: a shell in which `share` is there."""
    paths = os.pathsep.join([SOURCE, os.environ.get("PYTHONPATH", "")])
    start = runtime_dir / "bashrc"
    start.write_text(
        f"export TRIOET_RUNTIME_DIR={runtime_dir} PYTHONPATH={paths} PS1='$ '\n"
        f'share() {{ {sys.executable} -m trioet.cli.main share "$@"; }}\n'
    )
    return f"stty rows 60 columns 100; echo ready; exec bash --rcfile {start} -i".encode()


class Screen:
    """The owner's."""

    def __init__(self, stage: Theatre) -> None:
        self.stage = stage

    async def run(self, line: bytes, text: bytes) -> bytes:
        """Type a line; return what is shown from then on, when that has this in it."""
        before = len(self.stage.owner.shown)
        self.stage.owner.type(line)
        await until(lambda: text in self.stage.owner.shown[before:], 30)
        return self.stage.owner.shown[before:]


def link_in(shown: bytes) -> tuple[str, str]:
    found = re.search(rb"http://192\.0\.2\.1:8080/x/#share=(\w{16})/(\w{32})", shown)
    assert found, shown
    return found[1].decode(), found[2].decode()


async def test_the_link_is_shown_to_the_owner_alone(runtime_dir: Path, free_tcp_port: int) -> None:
    command = shell(runtime_dir)
    with published_page() as publish:
        publish(PAGE)
        async with theatre(runtime_dir, free_tcp_port, command) as stage:
            screen = Screen(stage)
            onlooker = await stage.look_on()
            shown = await screen.run(b"share --write\n", b"Ctrl-C makes it void")
            ticket, key = link_in(shown)
            assert "▄".encode() in shown
            after = await screen.run(b"q", b"that nobody has opened yet")
            assert b"\x1b[?1049l" in after
            await onlooker.until_shown(b"that nobody has opened yet")
            assert key.encode() not in onlooker.shown
            assert b"1049" not in onlooker.shown
            told = await screen.run(b"share --list\n", b"link, not opened")
            assert b"1  watching from 192.0.2.7, read-only, " in told
            assert b"2  link, not opened, may type, " in told
            box = await stage.take({"ticket": ticket, "key": key})
            assert box["write"] is True

            ticket, _ = link_in(await screen.run(b"share\n", b"Ctrl-C makes it void"))
            await screen.run(b"\x03", b"\x1b[?1049l")
            await until(lambda: "2" in repr(stage.keeper._shares))
            assert "revoked" in await stage.refused(TakeRequest(ticket))

            ticket, key = link_in(await screen.run(b"share\n", b"Ctrl-C makes it void"))
            await stage.take({"ticket": ticket, "key": key})
            await until(lambda: b"share 4 has a viewer" in stage.owner.shown)

            await screen.run(b"share --revoke all\n", b"revoked: 1, 2, 4")
            assert await stage.shares() == []
            await screen.run(b"share --list\n", b"nobody is watching")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_takes_the_link_off_the_screen_and_makes_it_void(
    runtime_dir: Path, free_tcp_port: int, number: signal.Signals
) -> None:
    with published_page() as publish:
        publish(PAGE)
        async with theatre(runtime_dir, free_tcp_port, shell(runtime_dir)) as stage:
            screen = Screen(stage)
            share = f"exec {sys.executable} -m trioet.cli.main share".encode()
            line = b"(echo p''id=$BASHPID.; " + share + b"); echo status''=$?.\n"
            shown = await screen.run(line, b"Ctrl-C makes it void")
            found = re.search(rb"pid=([0-9]+)\.", shown)
            assert found, shown
            before = len(stage.owner.shown)
            os.kill(int(found[1]), number)
            status = 130 if number == signal.SIGINT else 255
            await until(lambda: b"status=%d." % status in stage.owner.shown[before:], 30)
            assert b"\x1b[?1049l" in stage.owner.shown[before:]
            await until(lambda: len(stage.keeper._shares) == 0)


async def test_who_shares_is_not_stopped_before_the_link(
    runtime_dir: Path, free_tcp_port: int
) -> None:
    with published_page() as publish:
        publish(PAGE)
        async with theatre(runtime_dir, free_tcp_port, shell(runtime_dir)) as stage:
            screen = Screen(stage)
            for key in (b"\x1a", b"\x1c"):
                await screen.run(b"share\n", b"Ctrl-C makes it void")
                after = await screen.run(key, b"that nobody has opened yet")
                assert b"\x1b[?1049l" in after


async def test_without_a_terminal_for_keys_it_says_how_else(
    runtime_dir: Path, free_tcp_port: int
) -> None:
    with published_page() as publish:
        publish(PAGE)
        async with theatre(runtime_dir, free_tcp_port, shell(runtime_dir)) as stage:
            line = f"setsid -w {sys.executable} -m trioet.cli.main share; echo status''=$?.\n"
            shown = await Screen(stage).run(line.encode(), b"status=255.")
            assert b"trioet share | cat" in shown
            assert b"Traceback" not in shown
            await until(lambda: len(stage.keeper._shares) == 0)


async def test_in_a_pipe_the_link_is_all_that_is_printed(
    runtime_dir: Path, free_tcp_port: int
) -> None:
    async with theatre(runtime_dir, free_tcp_port) as stage:
        environment = {**os.environ, "TRIOET_SESSION": stage.name}
        command = [sys.executable, "-m", "trioet.cli.main", "share", "--url", PAGE]
        for more in ([], ["--json"]):
            done = await trio.run_process(
                [*command, *more], env=environment, capture_stdout=True, stdin=subprocess.DEVNULL
            )
            link = json.loads(done.stdout)["url"] if more else done.stdout.decode().strip()
            ticket, key = link_in(link.encode())
            await stage.take({"ticket": ticket, "key": key})
