"""`trioet share`: let others look on at this session, in their browsers.

On a terminal the link is shown on the alternate screen, and the keeper shows nobody what is
written meanwhile: so it is neither in anybody's scrollback, nor seen by who looks on already.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import re
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from trioet.cli.ending import ENDING
from trioet.cli.keeper_answer import granted
from trioet.cli.output import Printing
from trioet.cli.qr import qr_text
from trioet.cli.terminal import ask_keeper
from trioet.errors import LocalError, StepFailed, UsageError
from trioet.server.pages import pages
from trioet.server.share_request import (
    MAX_EXPIRES_S,
    AnyShareRequest,
    RevokeRequest,
    ShareRequest,
    SharesRequest,
    ShownRequest,
)

EXPIRES_S = 3600
LOOK_EVERY_S = 0.5
"""While the link is shown, how often it is looked whether somebody has opened it."""

NO_SIGNAL = b"\0"
"""_POSIX_VDISABLE: no key makes that signal."""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
HINT = "Any key takes it off the screen, and it stays good; Ctrl-C makes it void."
ENTER, LEAVE = "\x1b[?1049h\x1b[H\x1b[2J", "\x1b[?1049l"

NOBODY_SERVES = (
    "no `trioet web` of yours runs here, by which browsers come",
    "start one, here, and leave it running: trioet web --shares -a ADDRESS",
)


def main(argv: list[str]) -> int:
    """Do what is asked; return 0.

    Raises:
      UsageError: that makes no sense.
      StepFailed: it cannot be done.
    """
    options = _parser().parse_args(argv)
    session = os.environ.get("TRIOET_SESSION", "")
    if not session:
        hint = "run it in a shell of the session that is to be shared"
        raise StepFailed("share", "this is no trioet session ($TRIOET_SESSION is not set)", hint)
    if options.list:
        shares = _ask(SharesRequest(session))["shares"]
        with Printing():
            _print_shares(shares, as_json=options.json)
    elif options.revoke is not None:
        revoked = _ask(RevokeRequest(session, _share_number(options.revoke)))["revoked"]
        with Printing():
            print(f"revoked: {', '.join(map(str, revoked)) or 'there is nothing to revoke'}")
    else:
        _share(session, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trioet share",
        description="Let others look on at this session: prints a link for one browser, which "
        "comes by a running `trioet web`. They see what is written from now on.",
        epilog="Without --write they only see. The size of the terminal stays yours.",
    )
    parser.add_argument("-w", "--write", action="store_true", help="let them type, too")
    parser.add_argument(
        "--expires",
        metavar="TIME",
        default="1h",
        help="when link and looking on end: 90s, 30m, 1h (default), 2d",
    )
    parser.add_argument(
        "--port", type=int, metavar="N", help="of several `trioet web`, the one on that port"
    )
    parser.add_argument(
        "--url", help="how browsers reach your `trioet web`, as by a proxy: https://NAME/PATH/"
    )
    parser.add_argument("--no-qr", action="store_true", help="print the link alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--list", action="store_true", help="who is watching, and open links")
    parser.add_argument("--revoke", metavar="N|all", help="end one of them, or all, at once")
    return parser


def _share(session: str, options: argparse.Namespace) -> None:
    expires_s = parse_time(options.expires)
    page = _page(options)
    shows = sys.stdout.isatty() and not options.json
    request = ShareRequest(session, options.write, expires_s, hide=shows)
    answer = _ask(request)
    number = answer["number"]
    link = f"{page}#share={answer['ticket']}/{answer['key']}"
    if options.json:
        told = {"number": number, "url": link, "write": options.write, "expires_s": expires_s}
        with Printing():
            print(json.dumps(told))
        return
    if not shows:
        with Printing():
            print(link)
        return
    what = "type in" if options.write else "look on at"
    heading = f"Whoever opens this link first can {what} this session for {options.expires}:"
    _show(session, number, screen(heading, link, _warning(page), with_code=not options.no_qr))


def screen(heading: str, link: str, warning: str, *, with_code: bool) -> str:
    """What is shown: on 24 rows it just fits, with more it is easier on the eye."""
    columns, rows = shutil.get_terminal_size()
    needed = [heading, link, HINT]
    room = rows - sum(_rows(line, columns) for line in needed)
    code = qr_text(link, columns, room) if with_code else []
    room -= len(code)
    lines = [heading, link, *code]
    if warning and room >= _rows(warning, columns):
        lines.append(warning)
        room -= _rows(warning, columns)
    if room >= 3:
        lines[1:2] = ["", link, ""]
        lines.append("")
    return "\n".join([*lines, HINT])


def _rows(line: str, columns: int) -> int:
    return 1 + (len(line) - 1) // columns


def _show(session: str, number: int, text: str) -> None:
    """Show the link until a key is pressed, or it was opened, or is void."""
    state = "link"
    with _ended_in_order(), _keys() as keys:
        try:
            sys.stdout.write(ENTER + text)
            sys.stdout.flush()
            while state == "link" and not select.select([keys], [], [], LOOK_EVERY_S)[0]:
                state = _state(session, number)
        finally:
            sys.stdout.write(LEAVE)
            sys.stdout.flush()
        termios.tcflush(keys, termios.TCIFLUSH)
        if state:
            _ask(ShownRequest(session, number))
    match state:
        case "":
            said = "is over"
        case "link":
            said = "has a link that nobody has opened yet"
        case _:
            said = "has a viewer"
    with Printing():
        print(f"trioet: share {number} {said}; trioet share --list, --revoke {number}")


def _state(session: str, number: int) -> str:
    """What became of a share; empty when it is over."""
    shares = _ask(SharesRequest(session))["shares"]
    return next((str(share["state"]) for share in shares if share["number"] == number), "")


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """What ends a program raises LocalError: the terminal is to be given back."""

    def end(number: int, _frame: object) -> None:
        raise LocalError(f"ended by {signal.Signals(number).name}")

    numbers = [each for each in ENDING if signal.getsignal(each) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _keys() -> Iterator[int]:
    """The terminal, which tells each key at once and echoes none. Ctrl-Z is a key like others:
    a link is not to stay on the screen of who is stopped.

    Raises:
      StepFailed: there is no terminal to read keys from.
    """
    try:
        descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        what = f"no key can be read here that takes the link off the screen: {error.strerror}"
        hint = "into a pipe goes the link alone: trioet share | cat"
        raise StepFailed("share", what, hint) from error
    try:
        before = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor)
        mode = termios.tcgetattr(descriptor)
        mode[6][termios.VSUSP] = mode[6][termios.VQUIT] = NO_SIGNAL
        termios.tcsetattr(descriptor, termios.TCSANOW, mode)
        try:
            yield descriptor
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
    finally:
        os.close(descriptor)


def _print_shares(shares: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(shares))
        return
    if not shares:
        print("nobody is watching, and there are no open links")
    states = {"link": "link, not opened", "watching": "watching", "away": "away"}
    for share in shares:
        may = "may type" if share["write"] else "read-only"
        who = f" from {share['from']}" if share["from"] else ""
        left = format_time(share["expires_s"])
        print(f"{share['number']}  {states.get(share['state'], '?')}{who}, {may}, {left} left")


def _page(options: argparse.Namespace) -> str:
    """The address of the page, without a fragment."""
    if options.url:
        try:
            parts = urlsplit(options.url)
        except ValueError as error:
            raise UsageError(f"--url {options.url}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.fragment:
            raise UsageError(f"--url {options.url}: an address is https://NAME/PATH/")
        return options.url if parts.path else f"{options.url}/"
    found = [page for page in pages() if urlsplit(page).scheme]
    if options.port is not None:
        found = [page for page in found if urlsplit(page).port == options.port]
        if not found:
            what = f"no `trioet web` of yours serves on port {options.port}"
            raise StepFailed("share", what, NOBODY_SERVES[1])
    if not found:
        raise StepFailed("share", *NOBODY_SERVES)
    return min(found, key=_is_local)


def _is_local(page: str) -> bool:
    host = urlsplit(page).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _warning(page: str) -> str:
    if _is_local(page):
        return "Only browsers on this machine reach that: trioet web -a ADDRESS, or --url."
    if urlsplit(page).scheme == "http":
        return "Without TLS (trioet web -t) whoever is on the way can take part."
    return ""


def _share_number(text: str) -> int | None:
    if text == "all":
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 10**9):
        raise UsageError(f"--revoke {text}: the number of a share, or all")
    return int(text)


def parse_time(text: str) -> int:
    """Seconds of a time like 90s, 30m, 1h, 2d.

    Raises:
      UsageError: it is none, or too long.
    """
    match = re.fullmatch(r"([0-9]{1,8})([smhd])", text)
    seconds = int(match[1]) * UNITS[match[2]] if match else 0
    if not 0 < seconds <= MAX_EXPIRES_S:
        most = format_time(MAX_EXPIRES_S)
        raise UsageError(f"--expires {text}: a time is 90s, 30m, 1h or 2d, and {most} at most")
    return seconds


def format_time(seconds: int) -> str:
    """A time in its largest unit, and not more precisely."""
    for unit, size in reversed(UNITS.items()):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return "0s"


def _ask(request: AnyShareRequest) -> dict[str, Any]:
    older = StepFailed(
        "share",
        "the keeper of this session is an older trioet's, which cannot share",
        "a new one comes with the first session after all of these have ended",
    )
    return granted(ask_keeper(request.encode()), older)
