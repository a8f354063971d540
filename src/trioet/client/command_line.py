"""What the user types behind ~C: a line of ours, which opens tunnels or closes them."""

from __future__ import annotations

from collections import deque
from typing import Final

from trioet.client.console import Console
from trioet.client.escapes import EscapeCommand
from trioet.client.screen import Screen
from trioet.client.tunnels import ClientTunnels
from trioet.errors import UsageError
from trioet.wire.forward_specs import (
    SESSION_HELP,
    Add,
    Cancel,
    Help,
    parse_session_command,
)

PROMPT: Final = "\r\ntrioet> "
INTERRUPT: Final = b"\x03"
"""Ctrl-C in the line gives it up."""

NOTHING_THERE: Final = "no tunnel listens there; ~# lists them"


class CommandLine:
    """Reads such a line from the console, and does what it says."""

    def __init__(
        self, console: Console, screen: Screen, tunnels: ClientTunnels, *, gateway_ports: bool
    ) -> None:
        self._console = console
        self._screen = screen
        self._tunnels = tunnels
        self._gateway_ports = gateway_ports

    async def follow(self, line: bytes) -> None:
        """Read a line, of which ``line`` is there already, and do what it says.

        What the program prints waits so long. Cancellation leaves the terminal to be restored
        by its owner.
        """
        async with self._screen.held():
            self._console.enter_line_mode()
            self._console.notice(PROMPT, end="")
            while not line.endswith((b"\n", b"\r")):
                data = await self._console.read()
                if not data or INTERRUPT in data:
                    line = b""
                    break
                line += data
            self._console.leave_line_mode()
        try:
            command = parse_session_command(
                line.decode(errors="replace"), gateway_ports=self._gateway_ports
            )
        except UsageError as error:
            self._console.notice(f"trioet: {error}")
            return
        match command:
            case Add(forward):
                self._tunnels.add(forward)
            case Cancel():
                closed = self._tunnels.cancel(command.means)
                what = f"closed {', '.join(map(str, closed))}" if closed else NOTHING_THERE
                self._console.notice(f"trioet: {what}")
            case Help():
                self._console.notice(SESSION_HELP)


def take_line(parts: deque[bytes | EscapeCommand]) -> bytes:
    """What was typed behind ~C at once, up to the end of the line; the rest stays."""
    line = b""
    while parts and isinstance(part := parts.popleft(), bytes):
        text, newline, rest = part.partition(b"\r")
        line += text + newline
        if newline:
            if rest:
                parts.appendleft(rest)
            break
    return line
