"""A real `trioet web` in this process, on the sessions of a keeper that is another one."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ports import free_ports
from trioet.cli.web import KeeperSessions, web_key
from trioet.cli.web_options import read_options
from trioet.web.login import token_for
from trioet.web.options import WebOptions
from trioet.web.service import Service
from web_visitor import Browser


class WebHost:
    """One that serves, for a test."""

    def __init__(self, options: WebOptions, browser: Browser, scope: trio.CancelScope) -> None:
        self.options = options
        self.browser = browser
        self.url = ""
        self.scope = scope
        self.ended = trio.Event()


@asynccontextmanager
async def web_host(*arguments: str, port: int = 0) -> AsyncIterator[WebHost]:
    """Serve with that command line, ``-p`` left away; everything ends with the block."""
    port = port or free_ports(1)[0]
    key = web_key()
    options = read_options(["-p", str(port), *arguments])
    options = dataclasses.replace(options, token=token_for(options, key))
    urls: list[str] = []
    service = Service(options, KeeperSessions(options), key, urls.append)
    async with trio.open_nursery() as nursery:
        host = WebHost(options, Browser(port, options.path), trio.CancelScope())

        async def serve() -> None:
            with host.scope:
                await service.run()
            host.ended.set()

        nursery.start_soon(serve)
        with trio.fail_after(20):
            while not urls:  # noqa: ASYNC110 - announced by a call
                await trio.sleep(0.005)
        host.url = urls[0]
        yield host
        nursery.cancel_scope.cancel()


def python(code: str) -> list[str]:
    """The words of a command that runs this."""
    return ["--", sys.executable, "-c", code]


def sh(code: str) -> list[str]:
    """The words of a command that runs this."""
    return ["--", "/bin/sh", "-c", code]
