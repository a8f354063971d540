"""SOCKS, as the server speaks it: an application says where a connection shall lead.

Version 5 without authentication (RFC 1928), version 4 and its extension 4a, which takes
names (https://www.openssh.com/txt/socks4.protocol, socks4a.protocol); of each the command
CONNECT. The first byte says which::

    application                            server
    5, methods it can               ->
                                    <-     5, method 0: no authentication
    5, CONNECT, address, port       ->
                                    <-     5, reply, address, port

    4, CONNECT, port, address, user ->
                                    <-     0, reply, port, address

Then the connection belongs to the application and its destination. Whatever is asked is
known after less than 1 KiB, or refused.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from trioet.errors import PeerError
from trioet.wire.forward import Address
from trioet.wire.reach import Failure

SOCKS5: Final = 5
SOCKS4: Final = 4

NO_AUTHENTICATION: Final = 0x00
NO_ACCEPTABLE_METHOD: Final = 0xFF

CONNECT: Final = 1
COMMANDS: Final = {2: "BIND", 3: "UDP ASSOCIATE"}
"""Those that exist and that we do not serve, RFC 1928 section 4; SOCKS 4 has BIND alone."""

IPV4: Final = 1
DOMAIN_NAME: Final = 3
IPV6: Final = 4
"""Types of an address, RFC 1928 section 5."""

SUCCEEDED: Final = 0x00
COMMAND_NOT_SUPPORTED: Final = 0x07
ADDRESS_TYPE_NOT_SUPPORTED: Final = 0x08
"""Replies that no :class:`Failure` stands for, RFC 1928 section 6."""

GRANTED4: Final = 0x5A
REJECTED4: Final = 0x5B
"""SOCKS 4 knows no reasons but those that have to do with its user id."""

UNBOUND: Final = bytes(4 + 2)
"""0.0.0.0:0: the far side's end of the connection is its own business."""

MAX_NAME: Final = 255
"""Bytes of a host's name; SOCKS 5 cannot say more."""
MAX_LABEL: Final = 63
"""Bytes between two dots of it, RFC 1035 section 2.3.4."""
MAX_USER_ID: Final = 512
"""Bytes of SOCKS 4's user id, which nobody reads."""

_NAME: Final = re.compile(rb"[0-9A-Za-z._:%-]+")
"""Names, and the numbers that some applications send as names: ``fe80::1%eth0``."""


REPLIES: Final[dict[Failure, int]] = {
    Failure.REFUSED: 0x05,
    Failure.NETWORK_UNREACHABLE: 0x03,
    Failure.HOST_UNREACHABLE: 0x04,
    Failure.NO_SUCH_HOST: 0x04,
    # 0x06 is "TTL expired": a packet that went through too many routers. Nobody answered.
    Failure.TIMED_OUT: 0x04,
    Failure.NOT_ALLOWED: 0x02,
    Failure.GENERAL: 0x01,
}
"""RFC 1928 section 6."""


class SocksError(PeerError):
    """An application asks for what is not served here, or does not speak SOCKS.

    ``reply``: all that is still to be sent before its connection is closed; may be empty.
    """

    def __init__(self, what: str, reply: bytes = b"") -> None:
        super().__init__(what)
        self.reply = reply


class SocksServer:
    """Read what one application asks for, and word the answers.

    Feed it until the destination is known, sending what :meth:`take_reply` has after each
    time. Then connect, send what :meth:`succeed` or :meth:`fail` returns, and, if it
    succeeded, pass on what :meth:`rest` returns and all that follows.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._reply = b""
        self._version = 0
        self._destination: Address | None = None
        self._reading = self._read()

    def feed(self, data: bytes) -> Address | None:
        """Take bytes from the application; return the destination once it is known.

        Raises:
          SocksError: this will not be a connection. Send the error's ``reply`` and close;
              do not feed it again.
        """
        self._pending += data
        if self._destination is None:
            try:
                next(self._reading)
            except StopIteration as read:
                self._destination = read.value
        return self._destination

    def take_reply(self) -> bytes:
        """Return what is to be sent now, once; often nothing."""
        reply, self._reply = self._reply, b""
        return reply

    def rest(self) -> bytes:
        """Return, once, what came behind the request. Applications need not wait for the answer."""
        rest = bytes(self._pending)
        self._pending.clear()
        return rest

    def succeed(self) -> bytes:
        """The answer that says: connected. Empty unless the destination is known."""
        return self._answer(SUCCEEDED) if self._destination else b""

    def fail(self, why: Failure) -> bytes:
        """The answer that says: not connected, and why. Empty unless the destination is known."""
        return self._answer(REPLIES[why]) if self._destination else b""

    def _answer(self, reply: int) -> bytes:
        if self._version == SOCKS4:
            return bytes((0, REJECTED4 if reply else GRANTED4)) + UNBOUND
        return bytes((SOCKS5, reply, 0, IPV4)) + UNBOUND

    def _refusal(self, what: str, reply: int) -> SocksError:
        return SocksError(what, self.take_reply() + self._answer(reply))

    # What follows are generators that yield where they need more bytes.

    def _read(self) -> Generator[None, None, Address]:
        (self._version,) = yield from self._take(1)
        if self._version == SOCKS5:
            yield from self._read_methods()
            host, port = yield from self._read_request5()
        elif self._version == SOCKS4:
            host, port = yield from self._read_request4()
        else:
            raise SocksError(f"{_guess(self._version)} came; this port speaks SOCKS 5, 4a and 4")
        if port == 0:
            raise self._refusal(f"SOCKS: {host} has no port 0", REPLIES[Failure.REFUSED])
        return Address(host, port)

    def _read_methods(self) -> Generator[None, None, None]:
        (count,) = yield from self._take(1)
        methods = yield from self._take(count)
        if NO_AUTHENTICATION not in methods:
            raise SocksError(
                "SOCKS: the application insists on authentication; configure it to use none",
                bytes((SOCKS5, NO_ACCEPTABLE_METHOD)),
            )
        self._reply = bytes((SOCKS5, NO_AUTHENTICATION))

    def _read_request5(self) -> Generator[None, None, tuple[str, int]]:
        version, command, _reserved, kind = yield from self._take(4)
        if version != SOCKS5:
            raise self._refusal(
                f"SOCKS 5: a request of version {version}", REPLIES[Failure.GENERAL]
            )
        self._check_command(command)
        if kind == IPV4:
            host = str(IPv4Address((yield from self._take(4))))
        elif kind == IPV6:
            host = str(IPv6Address((yield from self._take(16))))
        elif kind == DOMAIN_NAME:
            (length,) = yield from self._take(1)
            host = self._checked_name((yield from self._take(length)))
        else:
            raise self._refusal(
                f"SOCKS 5: address type {kind} does not exist", ADDRESS_TYPE_NOT_SUPPORTED
            )
        port = yield from self._take(2)
        return host, int.from_bytes(port, "big")

    def _read_request4(self) -> Generator[None, None, tuple[str, int]]:
        head = yield from self._take(1 + 2 + 4)
        command, port, address = head[0], int.from_bytes(head[1:3], "big"), head[3:]
        self._check_command(command)
        yield from self._take_text("a user id", MAX_USER_ID)
        # 4a: an address that no host has, 0.0.0.x, says that a name follows.
        if not any(address[:3]) and address[3]:
            name = yield from self._take_text("a name", MAX_NAME)
            return self._checked_name(name), port
        return str(IPv4Address(address)), port

    def _check_command(self, command: int) -> None:
        if command != CONNECT:
            what = COMMANDS.get(command, f"command {command}")
            raise self._refusal(f"SOCKS: {what} is not served, only CONNECT", COMMAND_NOT_SUPPORTED)

    def _checked_name(self, name: bytes) -> str:
        labels = name.removesuffix(b".").split(b".")
        if not _NAME.fullmatch(name) or not all(0 < len(label) <= MAX_LABEL for label in labels):
            raise self._refusal(
                f"SOCKS: {ascii(name)[1:]} cannot be the name of a host", REPLIES[Failure.GENERAL]
            )
        return name.decode("ascii")

    def _take(self, count: int) -> Generator[None, None, bytes]:
        while len(self._pending) < count:
            yield
        taken = bytes(self._pending[:count])
        del self._pending[:count]
        return taken

    def _take_text(self, what: str, limit: int) -> Generator[None, None, bytes]:
        """What stands before the next NUL."""
        while (end := self._pending.find(0, 0, limit + 1)) < 0:
            if len(self._pending) > limit:
                raise self._refusal(
                    f"SOCKS 4: {what} of more than {limit} bytes", REPLIES[Failure.GENERAL]
                )
            yield
        text = yield from self._take(end + 1)
        return text[:-1]


def _guess(first: int) -> str:
    """What begins with this byte, as far as one byte tells."""
    if chr(first).isascii() and chr(first).isalpha():
        return "an HTTP request"
    if first == 0x16:  # a handshake record, RFC 8446 section 5.1
        return "a TLS handshake"
    return f"the byte {first:#04x}"
