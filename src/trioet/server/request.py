"""What `trioet terminal` asks of its user's keeper, and how the keeper answers.

A request is a block like an environment: records ``name=value``, each followed by a zero
byte, ``env`` once for each variable; then end of file. The answer is one line, which the
terminal hands to its client as it is: ``TRIOET:``, ``TRIOET-RELAY:`` or ``TRIOET-ERROR:``,
and JSON. Both sides pass over what they do not know, so that a newer one can talk to an older.

Imports next to nothing, for the terminal's sake.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from trioet.bootstrap.credentials import Credentials, is_client_id, is_passkey
from trioet.bootstrap.relay_line import is_port, is_relay_host
from trioet.errors import MessageError

VERSION = 1

INVITED = b"TRIOET:"
RELAYING = b"TRIOET-RELAY:"
REFUSED = b"TRIOET-ERROR:"
"""How an answer begins."""

STATUS = f"v={VERSION}\0do=status\0".encode()
"""Asks how the keeper is; one that does not know it yet refuses, and so is alive. The answer's
JSON holds its ``version``, the number of its ``sessions``, the ``ports`` it listens on, and of each
of its ``routers`` the ``socket``, the ``port``, and whether it is ``connected``."""


MAX_HOST = 255
"""Characters in the name of a host (RFC 1035 allows 253)."""


class OpenRequest:
    """A request for a session; ``ports`` are where the keeper may listen without a router.

    With ``destination``, a host and a port, the session is there: this keeper is ET's jumphost.
    """

    __slots__ = (
        "credentials",
        "destination",
        "environment",
        "kill_others",
        "ports",
        "router_socket",
        "term",
    )

    def __init__(
        self,
        credentials: Credentials,
        term: str,
        environment: Mapping[bytes, bytes],
        *,
        router_socket: str = "",
        ports: tuple[int, int] | None = None,
        kill_others: bool = False,
        destination: tuple[str, int] | None = None,
    ) -> None:
        self.credentials = credentials
        self.term = term
        self.environment = environment
        self.router_socket = router_socket
        self.ports = ports
        self.kill_others = kill_others
        self.destination = destination

    @property
    def sshd(self) -> dict[str, object] | None:
        """Where the sshd listens that the terminal came by (SSH_CONNECTION, ssh(1)), as this
        machine sees it; None if that is not known."""
        match self.environment.get(b"SSH_CONNECTION", b"").split():
            case [_, _, host, port] if host.isascii() and host != b"UNKNOWN" and is_port(port):
                return {"host": host.decode(), "port": int(port)}
        return None

    def encode(self) -> bytes:
        """The request as it goes over the keeper's socket."""
        host, port = self.destination or ("", "")
        fields = {
            "v": str(VERSION),
            # An older keeper must not take a jump for a session of its own.
            "do": "jump" if self.destination else "open",
            "id": self.credentials.client_id,
            "passkey": self.credentials.passkey,
            "term": self.term,
            "router_socket": self.router_socket,
            "ports": "-".join(map(str, self.ports or ())),
            "kill_others": "yes" if self.kill_others else "",
            "host": host,
            "port": str(port),
        }
        records = [os.fsencode(f"{name}={value}") for name, value in fields.items()]
        records += [b"env=%b=%b" % variable for variable in self.environment.items()]
        return b"\0".join([*records, b""])


class RelayRequest:
    """A request for a relay to ``host``; ``ports`` are as an :class:`OpenRequest`'s."""

    __slots__ = ("host", "port", "ports", "router_socket")

    def __init__(
        self,
        host: str,
        port: int,
        *,
        router_socket: str = "",
        ports: tuple[int, int] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.router_socket = router_socket
        self.ports = ports

    def encode(self) -> bytes:
        """The request as it goes over the keeper's socket."""
        fields = {
            "v": str(VERSION),
            "do": "relay",
            "host": self.host,
            "port": str(self.port),
            "router_socket": self.router_socket,
            "ports": "-".join(map(str, self.ports or ())),
        }
        records = [os.fsencode(f"{name}={value}") for name, value in fields.items()]
        return b"\0".join([*records, b""])


def parse_request(data: bytes) -> OpenRequest | RelayRequest:
    """Parse a request.

    Raises:
      MessageError: it is none, or of a kind this keeper does not know.
    """
    fields: dict[bytes, bytes] = {}
    environment: dict[bytes, bytes] = {}
    for record in data.split(b"\0")[:-1]:
        name, equals, value = record.partition(b"=")
        if not equals:
            raise MessageError("a request with a record that is no name=value")
        if name == b"env":
            variable, _, contents = value.partition(b"=")
            environment[variable] = contents
        else:
            fields[name] = value
    if fields.get(b"do") == b"relay":
        return _relay_request(fields)
    if fields.get(b"do") not in (b"open", b"jump"):
        raise MessageError("a request that this keeper does not know; is it an older trioet's?")
    client_id, passkey = fields.get(b"id", b""), fields.get(b"passkey", b"")
    if not is_client_id(client_id):
        raise MessageError("a client id has 16 letters and digits")
    if not is_passkey(passkey):
        raise MessageError("a passkey has 32 letters and digits")
    return OpenRequest(
        Credentials(client_id.decode(), passkey.decode()),
        os.fsdecode(fields.get(b"term", b"")),
        environment,
        router_socket=os.fsdecode(fields.get(b"router_socket", b"")),
        ports=_ports(fields.get(b"ports", b"")),
        kill_others=fields.get(b"kill_others") == b"yes",
        destination=_destination(fields) if fields[b"do"] == b"jump" else None,
    )


def _relay_request(fields: Mapping[bytes, bytes]) -> RelayRequest:
    host, port = fields.get(b"host", b""), fields.get(b"port", b"")
    if not is_relay_host(host):
        raise MessageError("a relay leads to a host, by its name or address")
    if not is_port(port):
        raise MessageError("a relay leads to a port from 1 to 65535")
    return RelayRequest(
        os.fsdecode(host),
        int(port),
        router_socket=os.fsdecode(fields.get(b"router_socket", b"")),
        ports=_ports(fields.get(b"ports", b"")),
    )


def _destination(fields: Mapping[bytes, bytes]) -> tuple[str, int]:
    host, port = fields.get(b"host", b""), fields.get(b"port", b"")
    if not (0 < len(host) <= MAX_HOST and all(0x20 < byte < 0x7F for byte in host)):
        raise MessageError("a jump to a host whose name is none")
    if not (port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise MessageError("a jump to a port that is none")
    return host.decode(), int(port)


def _ports(text: bytes) -> tuple[int, int] | None:
    if not text:
        return None
    first, _, last = text.partition(b"-")
    if not (first.isdigit() and last.isdigit() and len(text) <= 11):
        raise MessageError("ports that are no range")
    ports = int(first), int(last)
    if not 0 < ports[0] <= ports[1] < 65536:
        raise MessageError("ports that are no range")
    return ports
