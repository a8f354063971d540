"""A real `trioet scon serve`, a backend for it, and a client whose connections can be cut."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final
from urllib.error import HTTPError

import trio

from ports import free_ports
from trioet.link.dial import dial
from trioet.link.line import Line
from trioet.scon.opening import open_scon_stream
from trioet.scon.stream import SconStream

PATIENCE_S: Final = 60.0


class Serve:
    """A process, or several of them one after the other on the same port."""

    def __init__(self, place: Path, name: str = "scon") -> None:
        self.place = place
        self.file = place / f"{name}.toml"
        self.port, self.manager, self.relay = free_ports(3)
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, backend: int, text: str = "", **top: object) -> None:
        """Write the configuration: one backend at that port, and what else is given."""
        given = {"tcp": f"127.0.0.1:{self.port}", "manager": f"127.0.0.1:{self.manager}", **top}
        lines = [f"{key} = {json.dumps(value)}" for key, value in given.items()]
        lines += [text, f'[[hosts]]\nname = "echo"\naddr = "127.0.0.1:{backend}"\n']
        self.file.write_text("\n".join(lines))

    async def start(self, **environment: str) -> None:
        """Start, and wait until it serves."""
        command = [sys.executable, "-m", "trioet.cli.main", "scon", "serve"]
        environment = {**os.environ, "TRIOET_RUNTIME_DIR": str(self.place), **environment}
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - it takes no time
                [*command, "--config", str(self.file)], env=environment, stderr=log, cwd=self.place
            )
        await self.until_healthy()

    async def until_healthy(self) -> None:
        with trio.fail_after(PATIENCE_S):
            while not await self.is_healthy():
                assert self.process is None or self.process.poll() is None, self.log
                await trio.sleep(0.02)

    async def is_healthy(self) -> bool:
        try:
            return (await self.get("/healthz"))[0] == 200
        except OSError:
            return False

    @property
    def log(self) -> str:
        return (self.place / "log").read_text()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def children(self) -> list[int]:
        """Its workers."""
        return [
            int(pid)
            for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        ]

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def ended(self) -> int:
        """Its exit status, when it has ended."""
        assert self.process is not None
        with trio.fail_after(PATIENCE_S):
            while self.process.poll() is None:  # noqa: ASYNC110 - there is no event
                await trio.sleep(0.02)
        return self.process.returncode

    async def get(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and text of a page of the management port."""
        url = f"http://127.0.0.1:{self.manager}{path}"
        request = urllib.request.Request(url, method=method, headers=headers or {})

        def ask() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                    return answer.status, answer.read().decode()
            except HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        return await trio.to_thread.run_sync(ask)

    async def figure(self, name: str) -> float:
        """A metric, summed over its labels."""
        _, page = await self.get("/metrics")
        lines = [line for line in page.splitlines() if line.partition("{")[0].split(" ")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def kill(self) -> None:
        """End it, and whoever came after it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)


@asynccontextmanager
async def serving(place: Path, name: str = "scon") -> AsyncIterator[Serve]:
    """One that is not started yet; whatever became of it has ended when the block has."""
    serve = Serve(place, name)
    try:
        yield serve
    finally:
        serve.kill()


class Redis:
    """A real redis-server, which keeps nothing on disk."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (self.port,) = free_ports(1)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it takes no time
            [*command, "--dir", str(self.place)], stdout=subprocess.DEVNULL
        )
        with trio.fail_after(PATIENCE_S):
            while not await answers(self.port):  # noqa: ASYNC110 - there is no event
                await trio.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)


async def answers(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True


@asynccontextmanager
async def balancer(ports: list[int]) -> AsyncIterator[int]:
    """A TCP balancer that knows nothing: each connection goes to the next proxy that answers."""
    turn = 0

    async def attend(client: trio.SocketStream) -> None:
        nonlocal turn
        for _ in ports:
            turn += 1
            try:
                proxy = await trio.open_tcp_stream("127.0.0.1", ports[turn % len(ports)])
                break
            except OSError:
                continue
        else:
            return
        async with proxy, trio.open_nursery() as nursery:
            nursery.start_soon(pump, client, proxy, nursery.cancel_scope)
            nursery.start_soon(pump, proxy, client, nursery.cancel_scope)

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, attend, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def pump(
    source: trio.SocketStream, target: trio.SocketStream, both: trio.CancelScope
) -> None:
    try:
        async for data in source:
            await target.send_all(data)
        await target.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        both.cancel()


@asynccontextmanager
async def echo(prefix: bytes = b"") -> AsyncIterator[int]:
    """A backend that says ``prefix``, and then all that it hears; its port."""

    async def attend(stream: trio.SocketStream) -> None:
        try:
            await stream.send_all(prefix) if prefix else None
            async for data in stream:
                await stream.send_all(data)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, attend, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


class Client:
    """A session, and the connections that it has had."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.lines: list[Line] = []
        self.hindered: trio.Event | None = None
        """If set: connections wait for it."""
        self.stream: SconStream

    async def dial(self) -> Line:
        if self.hindered is not None:
            await self.hindered.wait()
        port = self.ports[len(self.lines) % len(self.ports)]
        line = await dial("127.0.0.1", port)
        self.lines.append(line)
        return line

    def cut(self) -> None:
        """Close whatever connection it has."""
        for line in self.lines:
            line.close()

    async def say(self, data: bytes) -> None:
        """Say something; all of it comes back, or this fails."""
        await self.stream.send_all(data)
        await self.hear(data)

    async def hear(self, data: bytes) -> None:
        heard = b""
        with trio.fail_after(PATIENCE_S):
            while len(heard) < len(data):
                got = await self.stream.receive_some(len(data) - len(heard))
                assert got, f"the session ended after {heard!r}"
                heard += got
        assert heard == data


@asynccontextmanager
async def session(*ports: int, target: str = "echo") -> AsyncIterator[Client]:
    """A session; its connections go to these ports, one after the other."""
    client = Client(list(ports))
    async with open_scon_stream(
        "127.0.0.1", ports[0], target, dial=client.dial, close_timeout=PATIENCE_S
    ) as stream:
        client.stream = stream
        yield client
