"""The pages of real GoTTY and ttyd, in a real browser, with `trioet web` behind their WebSocket."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from browsing import PATIENCE_S
from fixtures_web import MakeVisit, MakeWeb
from ports import free_ports

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.interop]

WRITABLE = {"gotty": "-w", "ttyd": "-W"}

TO_OURS = """
  const Real = WebSocket;
  window.said = "";
  window.WebSocket = class extends Real {
    constructor(url, ...protocols) {
      const to = new URL(url, location.href);
      [to.port, to.pathname] = [PORT, "/ws"];
      super(to, ...protocols);
      this.addEventListener("message", ({ data }) => {
        const text = typeof data === "string" ? data : new TextDecoder().decode(data);
        if (typeof data === "string" && text[0] === "1") window.said += atob(text.slice(1));
        if (typeof data !== "string" && text[0] === "0") window.said += text.slice(1);
      });
      this.addEventListener("close", ({ code, reason }) => (window.ended ??= [code, reason]));
    }
  };
"""
"""Their page has all from its own server, but for the terminal."""


@contextmanager
def page_of(program: str) -> Iterator[int]:
    """Serve it; says at which port."""
    if shutil.which(program) is None:
        pytest.skip(f"needs {program} on PATH")
    port = free_ports(1)[0]
    process = subprocess.Popen(
        [program, WRITABLE[program], "-p", str(port), "false"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    deadline = time.monotonic() + PATIENCE_S
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("program", WRITABLE)
def test_their_own_page_works_and_hears_the_end(
    program: str, make_web: MakeWeb, visit: MakeVisit
) -> None:
    code = "stty size; read line; echo heard $line; seq 20000; exit 3"
    with page_of(program) as port:
        origin = f"http://127.0.0.1:{port}"
        web = make_web("-w", "--ws-origin", origin, command=("/bin/sh", "-c", code))
        seen = visit(web.port, "healthz")
        seen.page.add_init_script(TO_OURS.replace("PORT", str(web.port)))
        seen.page.goto(f"{origin}/")
        seen.page.wait_for_function("/[1-9][0-9]* [1-9][0-9]*\\r\\n/.test(window.said)")
        seen.page.locator("textarea").first.focus()
        seen.page.keyboard.type("hello there")
        seen.page.keyboard.press("Enter")
        seen.page.wait_for_function("window.ended")
        assert seen.page.evaluate("window.ended") == [1000, "exit status 3"]
        said = seen.page.evaluate("window.said")
        assert "heard hello there\r\n" in said
        assert said.endswith("\n19999\r\n20000\r\n")
