"""The demo for people: a shell, and a line that counts what it survived."""

from __future__ import annotations

import trio

from trioet.client.app import Client
from trioet.client.console import Console, open_console
from trioet.client.wish import Wish
from trioet.demo.footer import Footer
from trioet.demo.stage import Stage, open_stage
from trioet.link.dial import dial

REFRESH_S = 0.5


async def show(cut_every_s: float) -> int:
    """Run the user's shell over a link that is cut; return its exit status."""
    print("trioet: setting up ssh server, router and keeper on this machine …", flush=True)
    async with open_stage() as stage:
        invitation = await stage.invite()
        with open_console(reserved_rows=1) as console:
            wish = Wish(
                client_id=invitation.client_id.encode(),
                passkey=invitation.passkey.encode(),
                host="this machine",
                dial=lambda: dial("127.0.0.1", stage.port),
                environment={},
            )
            client = Client(wish, console, lambda data: _write(console, data))
            rows, columns = console.window_size()[:2]
            footer = Footer(rows + 1, columns)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_count, console, footer, stage, client)
                nursery.start_soon(stage.cutter.cut_every, cut_every_s)
                try:
                    status = await client.run()
                finally:
                    _write(console, footer.close())
                nursery.cancel_scope.cancel()
        print(f"trioet: {_figures(stage, client)}. Nothing was lost.")
    return status


async def _count(console: Console, footer: Footer, stage: Stage, client: Client) -> None:
    _write(console, footer.open())
    size = console.window_size()
    while True:
        if console.window_size() != size:
            size = console.window_size()
            _write(console, footer.resize(size[0] + 1, size[1]))
        _write(console, footer.draw(f" trioet demo · {_figures(stage, client)} · exit ends it"))
        await trio.sleep(REFRESH_S)


def _figures(stage: Stage, client: Client) -> str:
    replayed = client.link.bytes_replayed
    return f"{stage.cutter.cuts} cuts survived, {replayed} bytes replayed"


def _write(console: Console, data: bytes) -> None:
    console.write_nowait(data)
