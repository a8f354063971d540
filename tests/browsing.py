"""`trioet web`, a real Chromium that visits it, and a network between them that fails."""

from __future__ import annotations

import asyncio  # noqa: TID251 - Playwright uses it
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trioet
from page_files import skip_or_fail
from ports import free_ports
from trioet.demo.cutter import Cutter

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SOURCE = str(Path(trioet.__file__).parents[1])
PATIENCE_S = 60.0
LOOK_EVERY_MS = 50
SHELL = ("env", "PS1=$ ", "bash", "--norc", "--noprofile")

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

ALL_TEXT = """() => {
  const buffer = document.querySelector("#terminal").terminal.buffer.active;
  let text = "";
  for (let n = 0; n < buffer.length; n++) {
    const line = buffer.getLine(n);
    const next = buffer.getLine(n + 1);
    text += line.translateToString(!next?.isWrapped) + (next?.isWrapped ? "" : "\\n");
  }
  return text.trimEnd();
}"""
"""What the terminal shows and has shown."""


class Web:
    """One `trioet web`; it may be stopped and started again at the same port."""

    def __init__(
        self, runtime_dir: Path, options: tuple[str, ...], command: tuple[str, ...]
    ) -> None:
        self.port = free_ports(1)[0]
        self.log = runtime_dir / "web.log"
        self._options = options
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(runtime_dir),
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join([SOURCE, os.environ.get("PYTHONPATH", "")]),
            "TRIOET_RUNTIME_DIR": str(runtime_dir),
        }

    def start(self) -> None:
        trioet_web = (sys.executable, "-m", "trioet.cli.main", "web", "--port", str(self.port))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*trioet_web, *self._options, "--", *self._command],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                assert self._process.poll() is None, self.log.read_text()
                time.sleep(0.01)
            else:
                return
        raise AssertionError(self.log.read_text())

    def told(self, pattern: str) -> re.Match[str]:
        """Wait until it has said that, which may be after it has begun to serve."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := re.search(pattern, self.log.read_text())) is None:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)
        return found

    def fragment(self) -> str:
        """With --e2e: the part of the printed link that browsers send to nobody."""
        return self.told(r"#session=\S+")[0]

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE_S)
            self._process = None


class Wire:
    """A network to a port, on a thread of its own, for tests that are not async."""

    def __init__(self, port: int) -> None:
        self.cutter = Cutter(port)
        self.port = 0
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=[self._run])
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:
                self.port = await nursery.start(self.cutter.serve)
                self._ready.set()

    def cut(self, *, stay: bool = False) -> None:
        """Reset all connections; and, if it is to stay cut, all that come."""

        def cut() -> None:
            self.cutter.refuse = stay
            self.cutter.cut()

        trio.from_thread.run_sync(cut, trio_token=self._token)

    def mend(self) -> None:
        """Let connections through again."""
        self.cutter.refuse = False

    def close(self) -> None:
        trio.from_thread.run_sync(self._scope.cancel, trio_token=self._token)
        self._thread.join()


class Visit:
    """A page that is open, as its user sees it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on(
            "console",
            lambda said: (
                self.faults.append(said.text) if "Content Security Policy" in said.text else None
            ),
        )

    @property
    def text(self) -> str:
        shown: str = self.page.evaluate(ALL_TEXT)
        return shown

    def until(self, condition: str, argument: Any = None) -> None:  # noqa: ANN401 - any JSON
        """Wait until a condition, in JavaScript, holds."""
        from playwright.sync_api import TimeoutError  # noqa: A004 - there where this is called

        try:
            self.page.wait_for_function(
                condition, arg=argument, polling=LOOK_EVERY_MS, timeout=1000 * PATIENCE_S
            )
        except TimeoutError:
            shown = self.text[-2000:]
            raise AssertionError(
                f"waited for {argument!r}; shown is {shown!r}, and {self.notice()!r}"
            ) from None

    def until_shown(self, text: str) -> None:
        self.until(f"(text) => ({ALL_TEXT})().includes(text)", text)

    def until_ready(self) -> None:
        """Wait until the shell's prompt is there."""
        self.until_shown("$")

    def type(self, text: str) -> None:
        """Type, with Enter for each end of line."""
        for line in text.splitlines(keepends=True):
            self.page.keyboard.insert_text(line.rstrip("\n"))
            if line.endswith("\n"):
                self.page.keyboard.press("Enter")

    def run(self, command: str) -> None:
        """Run a command, and wait for its end."""
        mark = f"ran{time.monotonic_ns()}"
        self.type(f"{command}; echo {mark[:3]}''{mark[3:]}\n")
        self.until_shown(f"\n{mark}")

    def log_in(self, user: str, password: str) -> None:
        self.page.fill("#login [name=user]", user)
        self.page.fill("#login [name=password]", password)
        self.page.click("#login button.main")

    def notice(self) -> str:
        return self.page.locator("#notice").inner_text()

    def until_notice(self, text: str) -> None:
        self.until(
            "(text) => { const box = document.querySelector('#notice');"
            " return !box.hidden && box.textContent.includes(text) }",
            text,
        )

    def until_well(self) -> None:
        """Wait until nothing is said of a connection that is lost."""
        self.until(
            "() => document.querySelector('#notice').hidden"
            " && ['good', 'fair'].includes(document.querySelector('#quality').dataset.is)"
        )

    def paste(self, text: str) -> None:
        """Paste as the browser does when its user presses Ctrl+V."""
        self.page.evaluate(
            """(text) => {
              const clipboardData = new DataTransfer();
              clipboardData.setData("text/plain", text);
              document.querySelector("#terminal textarea").dispatchEvent(
                new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }),
              );
            }""",
            text,
        )

    def stored(self) -> dict[str, str]:
        """What lies in sessionStorage."""
        found: dict[str, str] = json.loads(
            self.page.evaluate("JSON.stringify({...sessionStorage})")
        )
        return found


@contextmanager
def _asyncio_as_it_was() -> Iterator[None]:
    """Once trio-asyncio is imported every new loop is one of its own, which is of no use here."""
    policy = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(policy)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own, without anything of its user's."""
    # The same engine without what draws windows, which takes half of the time.
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if program is None:
        skip_or_fail("needs chromium-headless-shell, or chromium, on PATH")
    if not (Path(trioet.__file__).parent / "web/static/index.html").exists():
        skip_or_fail("needs the page: install trioet where npm is, or run hatch build")
    sync_api = pytest.importorskip("playwright.sync_api")
    with _asyncio_as_it_was(), sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()
