"""ET's messages of forwarding, to the byte (specification 5, and as recorded); and that none
of them passes for another, for the type of a packet travels unsealed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioet.errors import MessageError
from trioet.wire import forward_messages as f
from trioet.wire import messages as m
from trioet.wire.forward import Address, Forward, Side, UnixPath, Variable
from trioet.wire.pb import ETerminal_pb2

int32 = st.integers(-(2**31), 2**31 - 1)
sockets = st.integers(0, 2**31 - 1)
names = st.text(min_size=1, max_size=12).filter(lambda name: name != "localhost")
ports = st.integers(0, 65535)
endpoints = (
    st.builds(Address, st.just("localhost") | names, ports)
    | st.builds(UnixPath, names.map("/{}".format))
)  # fmt: skip
requests = st.builds(f.ForwardRequest, int32, endpoints)
responses = st.builds(f.ForwardResponse, int32, sockets) | st.builds(
    f.ForwardResponse, int32, error=st.binary(max_size=40)
)
data = st.builds(f.ForwardData, st.booleans(), int32, st.binary(min_size=1, max_size=80))
ends = st.builds(f.ForwardData, st.booleans(), int32, closed=st.just(True))
errors = st.builds(f.ForwardData, st.booleans(), int32, error=st.binary(max_size=40))

RECORDED = [
    (
        "request",
        "0a0410858e01100c",
        f.decode_forward_request,
        f.encode_forward_request,
        f.ForwardRequest(12, Address("localhost", 18181)),
    ),
    (
        "response",
        "080c10e78aaddc06",
        f.decode_forward_response,
        f.encode_forward_response,
        f.ForwardResponse(12, 1804289383),
    ),
    (
        "refused",
        "080c1a194f7065726174696f6e206e6f7720696e2070726f6772657373",
        f.decode_forward_response,
        f.encode_forward_response,
        f.ForwardResponse(12, error=b"Operation now in progress"),
    ),
    (
        "from the source",
        "080110e78aaddc061a0770696e672d410a",
        f.decode_forward_data,
        f.encode_forward_data,
        f.ForwardData(True, 1804289383, b"ping-A\n"),
    ),
    (
        "to the source",
        "080010e78aaddc061a0c6563686f3a70696e672d410a",
        f.decode_forward_data,
        f.encode_forward_data,
        f.ForwardData(False, 1804289383, b"echo:ping-A\n"),
    ),
    (
        "closed",
        "080010c6c7ec93032801",
        f.decode_forward_data,
        f.encode_forward_data,
        f.ForwardData(False, 846930886, closed=True),
    ),
]


@pytest.mark.parametrize(
    ("hexadecimal", "decode", "encode", "message"),
    [case[1:] for case in RECORDED],
    ids=[case[0] for case in RECORDED],
)
def test_what_real_programs_said_is_understood_and_said_alike(
    hexadecimal: str,
    decode: Callable[[bytes], object],
    encode: Callable[[object], bytes],
    message: object,
) -> None:
    assert decode(bytes.fromhex(hexadecimal)) == message
    assert encode(message).hex() == hexadecimal


@given(requests)
def test_a_request(request: f.ForwardRequest) -> None:
    assert f.decode_forward_request(f.encode_forward_request(request)) == request


@given(responses)
def test_a_response(response: f.ForwardResponse) -> None:
    assert f.decode_forward_response(f.encode_forward_response(response)) == response


@given(data | ends | errors)
def test_data(said: f.ForwardData) -> None:
    assert f.decode_forward_data(f.encode_forward_data(said)) == said


PAYLOADS: dict[str, st.SearchStrategy[bytes]] = {
    "request": requests.map(f.encode_forward_request),
    "response": responses.map(f.encode_forward_response),
    "data": data.map(f.encode_forward_data),
    "closed": ends.map(f.encode_forward_data),
    "error": errors.map(f.encode_forward_data),
    "typing": st.binary(max_size=80).map(m.encode_terminal_buffer),
    "size": st.builds(m.WindowSize, *[st.integers(0, 65535)] * 4).map(m.encode_terminal_info),
    "count": st.integers(0, 2**64 - 1).map(m.encode_count),
    "nothing": st.just(b""),
}


def _no_count(payload: bytes) -> None:
    # The link has no other use for it: any other than an empty one is an error there.
    if payload and m.decode_count(payload) is None:
        raise MessageError("no count")


READERS: dict[str, Callable[[bytes], object]] = {
    "request": f.decode_forward_request,
    "response": f.decode_forward_response,
    "data": f.decode_forward_data,
    "closed": f.decode_forward_data,
    "error": f.decode_forward_data,
    "typing": m.decode_terminal_buffer,
}


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        (said, understood)
        for said in PAYLOADS
        for understood in READERS
        if READERS[understood] is not READERS.get(said)
    ],
)
@settings(max_examples=30)
@given(strategy=st.data())
def test_none_passes_for_another(said: str, understood: str, strategy: st.DataObject) -> None:
    payload = strategy.draw(PAYLOADS[said])
    with pytest.raises(MessageError):
        READERS[understood](payload)


@given(st.sampled_from(list(READERS.values())), st.binary(max_size=80))
def test_any_bytes_are_understood_or_refused(
    decode: Callable[[bytes], object], payload: bytes
) -> None:
    with suppress(MessageError):
        decode(payload)


# What the first packet asks for

listens = endpoints | st.builds(Variable, names)
tunnels = st.builds(Forward, st.just(Side.REMOTE), listens, endpoints)


@given(st.lists(tunnels, max_size=3).map(tuple))
def test_reverse_tunnels_of_a_real_et(asked: tuple[Forward, ...]) -> None:
    said = m.encode_initial_payload(m.InitialPayload(reverse_tunnels=asked))
    assert m.decode_initial_payload(said).reverse_tunnels == asked


@given(st.lists(st.builds(f.Listen, sockets, listens, st.booleans(), st.booleans()), max_size=3))
def test_listens_between_two_trioets(asked: list[f.Listen]) -> None:
    said = m.encode_initial_payload(m.InitialPayload(listens=tuple(asked)))
    assert m.decode_initial_payload(said).listens == tuple(asked)


def test_a_session_may_be_there_for_its_tunnels_alone() -> None:
    wish = m.InitialPayload(exec=m.Exec(nothing=True))
    assert m.decode_initial_payload(m.encode_initial_payload(wish)) == wish


def test_the_recorded_wish_for_a_reverse_tunnel() -> None:
    recorded = bytes.fromhex("080012170a0f0a096c6f63616c686f7374108e8e011204108f8e01")
    wish = Forward(Side.REMOTE, Address("localhost", 18190), Address("localhost", 18191))
    assert m.decode_initial_payload(recorded).reverse_tunnels == (wish,)
    said = m.encode_initial_payload(m.InitialPayload(reverse_tunnels=(wish,)))
    assert said == recorded


SOURCE = ETerminal_pb2.SocketEndpoint(name=b"localhost", port=1)
PATH = ETerminal_pb2.SocketEndpoint(name=b"/run/s")


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (
            ETerminal_pb2.PortForwardSourceRequest(
                source=SOURCE, destination=PATH, environmentvariable=b"A"
            ),
            "a source and a variable, or neither",
        ),
        (
            ETerminal_pb2.PortForwardSourceRequest(destination=PATH),
            "a source and a variable, or neither",
        ),
        (
            ETerminal_pb2.PortForwardSourceRequest(source=SOURCE),
            "neither port nor path",
        ),
        (
            ETerminal_pb2.PortForwardSourceRequest(
                source=ETerminal_pb2.SocketEndpoint(name=b"run/s"), destination=PATH
            ),
            "neither port nor path",
        ),
        (
            ETerminal_pb2.PortForwardSourceRequest(
                source=ETerminal_pb2.SocketEndpoint(port=-1), destination=PATH
            ),
            "port -1",
        ),
    ],
    ids=["both", "neither", "no destination", "no path", "no port"],
)
def test_a_tunnel_that_makes_no_sense_is_refused(
    asked: ETerminal_pb2.PortForwardSourceRequest, complaint: str
) -> None:
    with pytest.raises(MessageError, match=complaint):
        list(f.read_reverse_tunnels([asked]))


def test_a_port_has_its_host_beside_it_only_where_et_needs_it() -> None:
    for host, told in (("localhost", b""), ("db", b"db")):
        message = ETerminal_pb2.PortForwardDestinationRequest()
        request = f.ForwardRequest(1, Address(host, 5432))
        message.ParseFromString(f.encode_forward_request(request))
        assert message.destination.name == told


def test_a_request_without_its_fd_is_refused() -> None:
    with pytest.raises(MessageError, match="without its fd"):
        f.decode_forward_request(bytes.fromhex("0a0410858e01"))
