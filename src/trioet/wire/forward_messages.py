"""The messages of forwarding as frozen dataclasses, to and from protobuf.

Eternal Terminal's, of which one message has three uses (specification 1.2, 5), and those
that two trioets use. What they make of each other is said in channels.py and
et_channels.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from trioet.errors import MessageError
from trioet.wire.forward import LOOPBACK, Address, Endpoint, Forward, Side, UnixPath, Variable
from trioet.wire.pb import ETerminal_pb2, trioet_pb2
from trioet.wire.protobuf import check_has, parse

MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Listen:
    """What the server is to listen on for its client. ``number`` is the client's choice."""

    number: int
    endpoint: Endpoint | Variable
    dynamic: bool = False
    datagrams: bool = False


@dataclass(frozen=True, slots=True)
class Listening:
    """What came of a Listen: the port that it has, 0 for none; or why it does not listen."""

    number: int
    port: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class ForwardRequest:
    """ET's PORT_FORWARD_DESTINATION_REQUEST: somebody connected (5.3)."""

    fd: int
    destination: Endpoint


@dataclass(frozen=True, slots=True)
class ForwardResponse:
    """ET's answer: the socket id of the channel, or an error."""

    fd: int
    socket: int = 0
    error: bytes | None = None


@dataclass(frozen=True, slots=True)
class ForwardData:
    """ET's data, or its end: ``closed``, or an error (5.4)."""

    from_source: bool
    socket: int
    data: bytes = b""
    closed: bool = False
    error: bytes | None = None


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _port(number: int, least: int = 0) -> int:
    if not least <= number <= MAX_PORT:
        raise MessageError(f"port {number}")
    return number


# Between two trioets


def _fill(message: trioet_pb2.Endpoint, endpoint: Endpoint | Variable) -> None:
    match endpoint:
        case Address(host, port):
            message.host = _bytes(host)
            message.port = port
        case UnixPath(path):
            message.path = _bytes(path)
        case _:
            message.variable = _bytes(endpoint.name)


def _endpoint(message: trioet_pb2.Endpoint, least_port: int) -> Endpoint | Variable:
    told = {field.name for field, _ in message.ListFields()}
    if told - {"port"} == {"host"}:
        return Address(_text(message.host), _port(message.port, least_port))
    if told == {"path"} and message.path.startswith(b"/"):
        return UnixPath(_text(message.path))
    if told == {"variable"}:
        return Variable(_text(message.variable))
    raise MessageError(f"an endpoint of {', '.join(sorted(told)) or 'nothing'}")


def fill_listen(message: trioet_pb2.Listen, listen: Listen) -> None:
    """Write a Listen into its protobuf message."""
    message.number = listen.number
    _fill(message.endpoint, listen.endpoint)
    message.dynamic = listen.dynamic
    message.datagrams = listen.datagrams


def read_listen(message: trioet_pb2.Listen) -> Listen:
    """Read a Listen from its protobuf message.

    Raises:
      MessageError: it does not say where.
    """
    endpoint = _endpoint(message.endpoint, 0)
    return Listen(message.number, endpoint, message.dynamic, message.datagrams)


def encode_listen(listen: Listen) -> bytes:
    message = trioet_pb2.Listen()
    fill_listen(message, listen)
    return message.SerializeToString()


def decode_listen(data: bytes) -> Listen:
    """Parse a Listen.

    Raises:
      MessageError: not a Listen, or without a place.
    """
    return read_listen(parse(trioet_pb2.Listen(), data))


def encode_listening(listening: Listening) -> bytes:
    message = trioet_pb2.Listening(port=listening.port)
    if listening.error:
        message.error = _bytes(listening.error)
    return message.SerializeToString()


def decode_listening(number: int, data: bytes) -> Listening:
    """Parse what came of the Listen with that number.

    Raises:
      MessageError: not a Listening.
    """
    message = parse(trioet_pb2.Listening(), data)
    return Listening(number, _port(message.port), message.error.decode(errors="replace"))


def encode_channel_open(
    listen: int, destination: Endpoint | None, credit: int, datagrams: bool
) -> bytes:
    message = trioet_pb2.ChannelOpen(listen=listen, credit=credit, datagrams=datagrams)
    if destination is not None:
        _fill(message.destination, destination)
    return message.SerializeToString()


def decode_channel_open(data: bytes) -> tuple[int, Endpoint | None, int, bool]:
    """Parse a ChannelOpen: listen, destination, credit, datagrams.

    Raises:
      MessageError: not a ChannelOpen, or one that leads nowhere.
    """
    message = parse(trioet_pb2.ChannelOpen(), data)
    destination = _endpoint(message.destination, 1) if message.HasField("destination") else None
    if isinstance(destination, Variable):
        raise MessageError("a ChannelOpen that leads to a variable")
    return message.listen, destination, message.credit, message.datagrams


# Eternal Terminal's


def _fill_et(message: ETerminal_pb2.SocketEndpoint, endpoint: Endpoint) -> None:
    match endpoint:
        case Address(host, port):
            message.port = port
            if host != LOOPBACK:
                message.name = _bytes(host)
        case _:
            message.name = _bytes(endpoint.path)


def _et_endpoint(message: ETerminal_pb2.SocketEndpoint) -> Endpoint:
    """With a port it is TCP, else a Unix socket (5.3)."""
    if message.HasField("port"):
        return Address(_text(message.name) or LOOPBACK, _port(message.port))
    if not message.name.startswith(b"/"):
        raise MessageError("an endpoint with neither port nor path")
    return UnixPath(_text(message.name))


def fill_reverse_tunnel(message: ETerminal_pb2.PortForwardSourceRequest, forward: Forward) -> None:
    """Write a remote forward as ET asks for it (5.1). It must be one that ET has."""
    assert forward.destination is not None, "ET has no SOCKS"
    _fill_et(message.destination, forward.destination)
    listen = forward.listen
    match listen:
        case Variable(name):
            message.environmentvariable = _bytes(name)
        case Address(host, port):
            message.source.name = _bytes(host)
            message.source.port = port
        case _:
            message.source.name = _bytes(listen.path)


def read_reverse_tunnels(
    messages: Iterable[ETerminal_pb2.PortForwardSourceRequest],
) -> tuple[Forward, ...]:
    """The tunnels that a real `et` asks its server for.

    Raises:
      MessageError: one that says neither where to listen nor a variable, or both.
    """
    found = []
    for message in messages:
        listen: Endpoint | Variable
        if message.HasField("source") == bool(message.environmentvariable):
            raise MessageError("a tunnel with a source and a variable, or neither")
        if message.environmentvariable:
            listen = Variable(_text(message.environmentvariable))
        else:
            listen = _et_endpoint(message.source)
        found.append(Forward(Side.REMOTE, listen, _et_endpoint(message.destination)))
    return tuple(found)


def encode_forward_request(request: ForwardRequest) -> bytes:
    message = ETerminal_pb2.PortForwardDestinationRequest(fd=request.fd)
    _fill_et(message.destination, request.destination)
    return message.SerializeToString()


def decode_forward_request(data: bytes) -> ForwardRequest:
    """Parse ET's request for a connection.

    Raises:
      MessageError: not such a request, or it leads nowhere.
    """
    message = parse(ETerminal_pb2.PortForwardDestinationRequest(), data)
    if not message.HasField("fd"):
        raise MessageError("a request for a connection without its fd")
    return ForwardRequest(message.fd, _et_endpoint(message.destination))


def encode_forward_response(response: ForwardResponse) -> bytes:
    message = ETerminal_pb2.PortForwardDestinationResponse(clientfd=response.fd)
    if response.error is None:
        message.socketid = response.socket
    else:
        message.error = response.error
    return message.SerializeToString()


def decode_forward_response(data: bytes) -> ForwardResponse:
    """Parse ET's answer to a request for a connection.

    Raises:
      MessageError: not such an answer.
    """
    message = parse(ETerminal_pb2.PortForwardDestinationResponse(), data)
    check_has(message, "clientfd", ("socketid", "error"))
    error = message.error if message.HasField("error") else None
    return ForwardResponse(message.clientfd, message.socketid, error)


def encode_forward_data(data: ForwardData) -> bytes:
    message = ETerminal_pb2.PortForwardData(
        sourcetodestination=data.from_source, socketid=data.socket
    )
    if data.closed:
        message.closed = True
    elif data.error is not None:
        message.error = data.error
    else:
        message.buffer = data.data
    return message.SerializeToString()


def decode_forward_data(payload: bytes) -> ForwardData:
    """Parse ET's data of a channel, or its end.

    Raises:
      MessageError: neither.
    """
    message = parse(ETerminal_pb2.PortForwardData(), payload)
    check_has(message, "sourcetodestination socketid", ("buffer", "error", "closed"))
    return ForwardData(
        message.sourcetodestination,
        message.socketid,
        message.buffer,
        message.HasField("closed"),
        message.error if message.HasField("error") else None,
    )
